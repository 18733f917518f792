//! Who has the logs now: a running server, or nobody, and then this process opens them.

use anyhow::anyhow;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::admin::{AdminToken, Export, Imported, LogList, LogStat, Logs, TokenError};
use crate::cli::client::{AdminClient, AdminError};
use crate::cli::settings::Place;
use crate::config::Config;
use crate::metrics::RetainedMetrics;
use crate::retained::{Most, Retained};
use crate::server;
use crate::store::{Store, StoreError};

pub(super) enum Keeper {
    Server(Box<AdminClient>),
    Store(Logs, Store),
}

impl Keeper {
    pub(super) async fn find(place: &Place) -> anyhow::Result<Self> {
        let config = place.load()?;
        let client = match AdminToken::load(&config.data) {
            Ok(token) => AdminClient::new(config.admin.site(), token),
            // No server has ever run on this folder.
            Err(TokenError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
                return open(&config);
            }
            Err(error) => return Err(error.into()),
        };
        match client.get::<serde_json::Value>("/v1/logs").await {
            Ok(_) => Ok(Self::Server(Box::new(client))),
            // Nobody is there, or somebody else: then the store tells whether a server holds it.
            Err(absent @ (AdminError::Absent(_) | AdminError::Token(_) | AdminError::Foreign(_))) => {
                open(&config).map_err(|error| match error.downcast_ref::<StoreError>() {
                    Some(StoreError::InUse(_)) => anyhow!("{absent}"),
                    _ => error,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn list(&self) -> anyhow::Result<LogList> {
        match self {
            Self::Server(client) => Ok(client.get("/v1/logs").await?),
            Self::Store(logs, _) => Ok(logs.list()),
        }
    }

    pub(super) async fn stat(&self, name: &str) -> anyhow::Result<LogStat> {
        match self {
            Self::Server(client) => Ok(client.get(&path(name)?).await?),
            Self::Store(logs, _) => Ok(logs.stat(name)?),
        }
    }

    pub(super) async fn export(
        &self,
        name: &str,
        wanted: &Export,
        write: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Server(client) => {
                client.download(&format!("{}/export{}", path(name)?, wanted.query()), write).await
            }
            Self::Store(logs, _) => {
                let mut written = Ok(());
                logs.export(name, wanted, &mut |chunk| {
                    written = write(&chunk);
                    written.is_ok()
                })?;
                Ok(written?)
            }
        }
    }

    pub(super) async fn import(
        &self,
        name: &str,
        mut pieces: mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> anyhow::Result<Imported> {
        match self {
            Self::Server(client) => {
                let pieces =
                    stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
                let body = axum::body::Body::from_stream(pieces);
                Ok(client.upload(&format!("{}/import", path(name)?), body).await?)
            }
            Self::Store(logs, store) => {
                // Else what a crash left in the logs only would be passed over with what is imported.
                Retained::load(store.clone(), Most::ALL, RetainedMetrics::default())?;
                let mut import = logs.import(name)?;
                while let Some(piece) = pieces.recv().await {
                    import.take(&piece?).await?;
                }
                Ok(import.finish().await?)
            }
        }
    }

    /// Lets the store go, in order.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Store(logs, store) => {
                drop(logs);
                Ok(store.close()?)
            }
        }
    }
}

fn open(config: &Config) -> anyhow::Result<Keeper> {
    if !config.data.is_dir() {
        return Err(anyhow!(
            "the data folder {} does not exist: `weir init` makes one, --data or --config names another",
            config.data.display()
        ));
    }
    let mut options = server::store_options(config);
    // Retention is the router's: it knows what consumers have not read yet.
    for log in &mut options.logs {
        (log.max_age, log.max_bytes, log.max_messages) = (None, None, None);
    }
    let store = Store::open(&config.data, options)?;
    Ok(Keeper::Store(Logs::new(store.clone(), &config.logs), store))
}

/// Names are letters, digits and hyphens: what is not cannot be one, and must not become a part of the path.
fn path(name: &str) -> anyhow::Result<String> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(anyhow!("no log is named {name:?}; `weir log list` shows the names"));
    }
    Ok(format!("/v1/logs/{name}"))
}

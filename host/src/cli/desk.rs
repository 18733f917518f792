//! Where the operator's verbs are served: at a running server's admin listener, or, while none holds the data
//! folder, by the store itself.

use std::io::ErrorKind;

use anyhow::anyhow;

use super::client::{AdminClient, AdminError};
use super::settings::Place;
use crate::accounts::{self, Accounts, KeyInfo};
use crate::admin::{AdminToken, CreatedKey, KeyRequest, NotDone, RevokedKey, TokenError};
use crate::config::Config;
use crate::store::{Store, StoreError, StoreOptions};

/// The admin listener of the running server.
pub(super) fn server(place: &Place) -> anyhow::Result<AdminClient> {
    let config = place.load()?;
    Ok(AdminClient::new(config.admin.site(), AdminToken::load(&config.data).map_err(explain)?))
}

fn explain(error: TokenError) -> anyhow::Error {
    match &error {
        TokenError::Io { error: io, file } if io.kind() == ErrorKind::NotFound => anyhow!(
            "there is no {}: `weir serve` makes it when it starts; --data or --config tells where it is",
            file.display()
        ),
        _ => error.into(),
    }
}

/// Who keeps the keys now.
pub(super) enum Keeper {
    Server(Box<AdminClient>),
    Store(Box<Accounts>, Store),
}

impl Keeper {
    pub(super) async fn find(place: &Place) -> anyhow::Result<Self> {
        let config = place.load()?;
        let client = match AdminToken::load(&config.data) {
            Ok(token) => AdminClient::new(config.admin.site(), token),
            // No server has ever run on this folder.
            Err(TokenError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                return Self::open(&config).map_err(anyhow::Error::from_boxed);
            }
            Err(error) => return Err(error.into()),
        };
        match client.get::<serde_json::Value>("/v1/keys").await {
            Ok(_) => Ok(Self::Server(Box::new(client))),
            // Nobody is there, or somebody else: then the store tells whether a server holds it.
            Err(absent @ (AdminError::Absent(_) | AdminError::Token(_) | AdminError::Foreign(_))) => {
                Self::open(&config).map_err(|error| match error.downcast_ref::<StoreError>() {
                    Some(StoreError::InUse(_)) => anyhow!("{absent}"),
                    _ => anyhow::Error::from_boxed(error),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The store, which no server may hold.
    pub(super) fn open(config: &Config) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        if !config.data.is_dir() {
            let folder = config.data.display();
            return Err(format!("the data folder {folder} does not exist: `weir init` makes one, --data or --config names another").into());
        }
        let store = Store::open(&config.data, StoreOptions { logs: Vec::new(), ..StoreOptions::default() })?;
        let accounts = Accounts::open(Box::new(store.table(accounts::TABLE)?))?
            .limited(config.accounts.clone())
            .with_configurations(store.table(accounts::tenta::CONFIGURATIONS)?)?;
        Ok(Self::Store(Box::new(accounts), store))
    }

    pub(super) async fn create(&self, request: KeyRequest) -> anyhow::Result<CreatedKey> {
        match self {
            Self::Server(client) => Ok(client.create_key(&request).await?),
            Self::Store(accounts, _) => {
                let new = request.into_new_key().map_err(anyhow::Error::msg)?;
                let (key, info) = accounts.create_key(new)?;
                Ok(CreatedKey { key, info })
            }
        }
    }

    /// Asks the server, or does it to the store.
    pub(super) async fn account<T: serde::de::DeserializeOwned>(
        &self,
        (method, path): (&str, &str),
        body: &(impl serde::Serialize + Sync),
        store: impl FnOnce(&Accounts) -> Result<T, NotDone>,
    ) -> anyhow::Result<T> {
        match self {
            Self::Server(client) => Ok(client.ask(method, path, serde_json::to_vec(body)?).await?),
            Self::Store(accounts, _) => Ok(store(accounts)?),
        }
    }

    pub(super) async fn list(&self) -> anyhow::Result<Vec<KeyInfo>> {
        #[derive(serde::Deserialize)]
        struct Keys {
            keys: Vec<KeyInfo>,
        }
        match self {
            Self::Server(client) => Ok(client.get::<Keys>("/v1/keys").await?.keys),
            Self::Store(accounts, _) => Ok(accounts.list()),
        }
    }

    pub(super) async fn revoke(&self, id: &str) -> anyhow::Result<RevokedKey> {
        match self {
            Self::Server(client) => Ok(client.revoke_key(id).await?),
            Self::Store(accounts, _) => Ok(RevokedKey { connections_closed: 0, info: accounts.revoke(id)? }),
        }
    }

    /// Lets the store go, in order.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Server(_) => Ok(()),
            Self::Store(accounts, store) => {
                drop(accounts);
                store.close().map_err(|error| anyhow!("{error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A folder whose admin listener would be on an address where nobody listens, or nobody of ours.
    fn place(folder: &Path, admin: std::net::SocketAddr) -> Place {
        Place { config: None, data: Some(folder.join("data")), admin: Some(admin) }
    }

    fn request() -> KeyRequest {
        KeyRequest { name: "a".into(), origin: "page".into(), ..KeyRequest::default() }
    }

    async fn nobody() -> std::net::SocketAddr {
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn keys_work_before_the_first_start() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), nobody().await);
        let error = Keeper::find(&place).await.err().unwrap().to_string();
        assert!(error.contains("data does not exist: `weir init` makes one"), "{error}");
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let keeper = Keeper::find(&place).await.unwrap();
        let made = keeper.create(request()).await.unwrap();
        keeper.close().unwrap();
        // Now as after a server that has run and ended.
        AdminToken::load_or_create(&folder.path().join("data")).unwrap();
        let keeper = Keeper::find(&place).await.unwrap();
        assert_eq!(keeper.list().await.unwrap(), std::slice::from_ref(&made.info));
        assert!(keeper.revoke(&made.info.id).await.unwrap().info.revoked_us.is_some());
        keeper.close().unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_a_server_holds_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        AdminToken::load_or_create(&data).unwrap();
        let _held = Store::open(&data, StoreOptions { logs: Vec::new(), ..StoreOptions::default() }).unwrap();
        let error = Keeper::find(&place(folder.path(), nobody().await)).await.err().unwrap().to_string();
        assert!(error.contains("no server answers on 127.0.0.1:"), "{error}");

        let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = stranger.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = stranger.accept().await {
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example\r\n").await;
            }
        });
        let error = Keeper::find(&place(folder.path(), address)).await.err().unwrap().to_string();
        assert!(error.contains("is no weir admin listener"), "{error}");
    }
}

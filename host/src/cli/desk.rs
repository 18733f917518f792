//! Where the operator's verbs are served: at a running server's admin listener, or, while none holds the data
//! folder, by the store itself.

use std::io::ErrorKind;

use anyhow::anyhow;

use super::client::{AdminClient, AdminError};
use super::settings::{Place, reachable};
use crate::accounts::{self, Accounts, KeyInfo};
use crate::admin::{AdminToken, CreatedKey, KeyRequest, RevokedKey, TokenError};
use crate::config::Config;
use crate::store::{Store, StoreError, StoreOptions};

/// The admin listener of the running server.
pub(super) fn server(place: &Place) -> anyhow::Result<AdminClient> {
    let config = place.load()?;
    Ok(AdminClient::new(reachable(config.admin.listen), AdminToken::load(&config.data).map_err(explain)?))
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
    Server(AdminClient),
    Store(Accounts, Store),
}

impl Keeper {
    pub(super) async fn find(place: &Place) -> anyhow::Result<Self> {
        let config = place.load()?;
        let client = match AdminToken::load(&config.data) {
            Ok(token) => AdminClient::new(reachable(config.admin.listen), token),
            // No server has ever run on this folder.
            Err(TokenError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
                return Self::open(&config).map_err(anyhow::Error::from_boxed);
            }
            Err(error) => return Err(error.into()),
        };
        match client.get::<serde_json::Value>("/v1/keys").await {
            Ok(_) => Ok(Self::Server(client)),
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

    fn open(config: &Config) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        if !config.data.is_dir() {
            let folder = config.data.display();
            return Err(format!("the data folder {folder} does not exist: `weir init` makes one, --data or --config names another").into());
        }
        let store = Store::open(&config.data, StoreOptions { logs: Vec::new(), ..StoreOptions::default() })?;
        let accounts = Accounts::open(Box::new(store.table(accounts::TABLE)?))?;
        Ok(Self::Store(accounts, store))
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

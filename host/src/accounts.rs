//! Accounts that the router keeps: API keys and logins (names with passwords) of devices, pages, sensors and services;
//! tenants, which these and users belong to; for the gateway of rooms, users with their API keys, their rooms, and the
//! endpoints of these; and for tenta's clients users, networks and sensors, see [`tenta`].
//!
//! A key reads `weir_ID_SECRET`. It is shown once, when it is made; kept is the SHA-256 of the secret, which
//! has 160 random bits, so that neither a slow hash nor a salt would add anything. Whoever presents a key is
//! answered from memory: looked up by id, compared in constant time, on the same path whether the id is
//! unknown or the secret wrong. Every change is on disk before it is answered.

mod codes;
mod directory;
mod endpoints;
mod error;
mod key;
mod keys;
mod kept;
mod login;
mod logins;
pub mod password;
mod record;
mod records;
mod rooms;
mod tenants;
pub mod tenta;
mod text;
mod users;

pub use endpoints::{Endpoint, EndpointInfo, NewEndpoint};
pub use error::AccountsError;
pub use key::{KeyInfo, KeyState, NewKey};
pub use login::{LoginInfo, LoginPassword};
pub use logins::{LOGIN_CHANGED, LOGINS, is_login};
pub use records::Records;
pub use rooms::{NewRoom, Room, RoomInfo, RoomName, Unique};
pub use tenants::{MAIN, Tenant};
pub use users::{KeyKind, NewUser, User, UserInfo, UserKey, UserName};

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::config::AccountLimits;
use crate::message::now_us;
use directory::Directory;
use kept::Kept;
use logins::Logins;
use record::Record;

/// Name of the store's table that holds accounts.
pub const TABLE: &str = "accounts";

/// The realm of API keys.
pub const KEYS: &str = "keys";

/// One account with its rights. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// [`KEYS`], [`LOGINS`] or [`tenta::SENSORS`]; more may come.
    pub realm: &'static str,
    /// Unique in its realm.
    pub id: String,
    /// The tenant that it belongs to.
    pub tenant: String,
    /// One topic level, not unique: becomes the principal's name.
    pub name: String,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: String,
    /// Patterns of topics to publish to, `{principal}` and `{tenant}` not yet replaced; at most 64.
    pub publish: Vec<String>,
    /// Patterns of topics to subscribe to, likewise.
    pub subscribe: Vec<String>,
    /// As the operator set them; 1 KiB in all.
    pub attributes: Vec<(String, String)>,
    /// Unix microseconds.
    pub created_us: u64,
    /// Unix microseconds; none = never.
    pub expires_us: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    hash: [u8; 32],
    revoked_us: Option<u64>,
}

impl Entry {
    fn is_valid(&self, now_us: u64) -> bool {
        self.revoked_us.is_none() && self.account.expires_us.is_none_or(|end| now_us < end)
    }
}

/// All accounts, in memory over a table of the store.
pub struct Accounts {
    records: Box<dyn Records>,
    limits: AccountLimits,
    keys: RwLock<HashMap<String, Entry>>,
    logins: RwLock<Logins>,
    directory: RwLock<Directory>,
    tenta: tenta::All,
    /// One change at a time: memory and disk must agree on the order.
    changing: Mutex<()>,
    revision: watch::Sender<u64>,
    departures: watch::Sender<u64>,
}

impl Accounts {
    /// Loads all accounts. A record that cannot be read is left alone, and what it stood for does not work.
    pub fn open(records: Box<dyn Records>) -> Result<Self, AccountsError> {
        let (mut keys, mut logins, mut directory) = (HashMap::new(), Logins::default(), Directory::default());
        let unread = |name: &[u8], error: &dyn std::fmt::Display| {
            tracing::error!(record = %name.escape_ascii(), %error, "an account cannot be read and is left out");
        };
        let (mut kept, mut of_tenta) = (Vec::new(), Vec::new());
        for (name, value) in records.load().map_err(AccountsError::Store)? {
            if Logins::is_name(&name) {
                if let Err(error) = logins.load(&name, &value) {
                    unread(&name, &error);
                }
                continue;
            }
            if tenta::is_record(&name) {
                of_tenta.push((name, value));
                continue;
            }
            if !name.starts_with(b"keys/") && Kept::is_name(&name) {
                match Kept::decode(&name, &value) {
                    Ok(record) => kept.push((name, record)),
                    Err(error) => unread(&name, &error),
                }
                continue;
            }
            match Record::decode(&name, &value) {
                Ok((id, record)) => drop(keys.insert(id.clone(), record.into_entry(id))),
                Err(error) => unread(&name, &error),
            }
        }
        // Whoever owns comes before what is owned.
        kept.sort_by_key(|(_, record)| record.rank());
        for (name, record) in kept {
            if let Err(orphan) = directory.insert(record) {
                unread(&name, &orphan);
            }
        }
        Ok(Self {
            records,
            limits: AccountLimits::default(),
            keys: RwLock::new(keys),
            logins: RwLock::new(logins),
            directory: RwLock::new(directory),
            tenta: tenta::All::load(of_tenta, unread),
            changing: Mutex::default(),
            revision: watch::Sender::new(1),
            departures: watch::Sender::new(1),
        })
    }

    /// With other bounds than the defaults. What is kept already stays, also over them.
    #[must_use]
    pub fn limited(self, limits: AccountLimits) -> Self {
        Self { limits, ..self }
    }

    /// Whether a session may rest on this account: that of a key or a login that works, or `endpoint:ID` of an
    /// endpoint that there is.
    pub fn holds(&self, account: &str) -> bool {
        match account.strip_prefix(endpoints::ACCOUNT_PREFIX) {
            Some(id) => self.directory.read().has_endpoint_id(id),
            None => self.proven(account).is_some(),
        }
    }

    /// The account of this id that a secret may have proven: a key's or a login's, which tell apart by their ids.
    pub fn proven(&self, id: &str) -> Option<Arc<Account>> {
        self.lookup(if is_login(id) { LOGINS } else { KEYS }, id)
    }

    /// The account of this id; none if there is no such, or it is expired or revoked.
    pub fn lookup(&self, realm: &str, id: &str) -> Option<Arc<Account>> {
        match realm {
            KEYS => {
                let keys = self.keys.read();
                let entry = keys.get(id).filter(|entry| entry.is_valid(now_us()));
                entry.map(|entry| Arc::clone(&entry.account))
            }
            LOGINS => self.logins.read().of_id(id, now_us()),
            tenta::SENSORS => self.tenta().sensor(id.parse().ok()?).map(|(_, account)| account),
            _ => None,
        }
    }

    /// Writes all changes in one step, some = set, none = removed. Nothing is changed if this fails.
    fn apply(&self, changes: &[Change]) -> Result<(), AccountsError> {
        self.records.apply(changes).map_err(AccountsError::Store)
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Grows with every change of keys and tenants; part of the key of cached permissions.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Hears of every change of keys and tenants.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn departed(&self) {
        self.departures.send_modify(|count| *count += 1);
    }

    /// Hears when endpoints are deleted, by themselves or with their room or user. Their sessions do not
    /// [`hold`](Self::holds) any more; nobody else's permissions change.
    pub fn departures(&self) -> watch::Receiver<u64> {
        self.departures.subscribe()
    }
}

/// The name of a record, and its new value; none = it is removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

impl std::fmt::Debug for Accounts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (keys, revision) = (self.keys.read().len(), self.revision());
        out.debug_struct("Accounts").field("keys", &keys).field("revision", &revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod tests;

//! Accounts that the router keeps. So far one realm: API keys, for devices, pages, sensors and services.
//!
//! A key reads `weir_ID_SECRET`. It is shown once, when it is made; kept is the SHA-256 of the secret, which
//! has 160 random bits, so that neither a slow hash nor a salt would add anything. Whoever presents a key is
//! answered from memory: looked up by id, compared in constant time, on the same path whether the id is
//! unknown or the secret wrong. Every change is on disk before it is answered.

mod error;
mod key;
mod record;
mod records;

pub use error::AccountsError;
pub use key::{KeyInfo, KeyState, NewKey};
pub use records::Records;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::message::now_us;
use record::Record;

/// Name of the store's table that holds accounts.
pub const TABLE: &str = "accounts";

/// The realm of API keys.
pub const KEYS: &str = "keys";

/// One account with its rights. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// [`KEYS`]; more may come.
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
    keys: RwLock<HashMap<String, Entry>>,
    /// One change at a time: memory and disk must agree on the order.
    changing: Mutex<()>,
    revision: watch::Sender<u64>,
}

impl Accounts {
    /// Loads all accounts. A record that cannot be read is left alone and its key does not work.
    pub fn open(records: Box<dyn Records>) -> Result<Self, AccountsError> {
        let mut keys = HashMap::new();
        for (name, value) in records.load().map_err(AccountsError::Store)? {
            match Record::decode(&name, &value) {
                Ok((id, record)) => drop(keys.insert(id.clone(), record.into_entry(id))),
                Err(error) => {
                    tracing::error!(record = %name.escape_ascii(), %error, "an account cannot be read and is left out");
                }
            }
        }
        let keys = RwLock::new(keys);
        Ok(Self { records, keys, changing: Mutex::default(), revision: watch::Sender::new(1) })
    }

    /// The account that a presented key proves; none if it is unknown, wrong, expired or revoked. Takes about
    /// a microsecond and never blocks.
    pub fn verify(&self, presented: &[u8]) -> Option<Arc<Account>> {
        let (id, secret) = key::split(presented).unwrap_or(("", presented));
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let keys = self.keys.read();
        let entry = keys.get(id);
        // An unknown id is compared too, with what no secret hashes to, so that it takes the same path.
        let same = entry.map_or(&[0; 32], |entry| &entry.hash).ct_eq(&hash);
        entry
            .filter(|entry| bool::from(same) && entry.is_valid(now_us()))
            .map(|entry| Arc::clone(&entry.account))
    }

    /// The account of this id; none if there is no such, or it is expired or revoked.
    pub fn lookup(&self, realm: &str, id: &str) -> Option<Arc<Account>> {
        let keys = self.keys.read();
        let entry = keys.get(id).filter(|entry| realm == KEYS && entry.is_valid(now_us()));
        entry.map(|entry| Arc::clone(&entry.account))
    }

    /// Makes a key. The text is to be shown once and kept nowhere. Blocks until it is on disk.
    pub fn create_key(&self, new: NewKey) -> Result<(String, KeyInfo), AccountsError> {
        let now = now_us();
        new.check(now)?;
        let _changing = self.changing.lock();
        let (id, secret) = self.fresh_key()?;
        let entry = Entry {
            account: Arc::new(new.into_account(id.clone(), now)),
            hash: Sha256::digest(secret.as_bytes()).into(),
            revoked_us: None,
        };
        self.save(&entry)?;
        let info = KeyInfo::new(&entry, now);
        self.keys.write().insert(id.clone(), entry);
        self.changed();
        Ok((key::text(&id, &secret), info))
    }

    fn fresh_key(&self) -> Result<(String, String), AccountsError> {
        loop {
            let (id, secret) = key::random()?;
            if !self.keys.read().contains_key(&id) {
                return Ok((id, secret));
            }
        }
    }

    /// All keys, oldest first, expired and revoked ones too.
    pub fn list(&self) -> Vec<KeyInfo> {
        let now = now_us();
        let mut all: Vec<_> = self.keys.read().values().map(|entry| KeyInfo::new(entry, now)).collect();
        all.sort_by(|a, b| (a.created_us, &a.id).cmp(&(b.created_us, &b.id)));
        all
    }

    /// Takes a key back, for good. It counts from now on even if the disk refuses (`Err(Store)`); then it
    /// must be repeated before the next start. Who calls this closes the sessions of the account. Blocks.
    pub fn revoke(&self, id: &str) -> Result<KeyInfo, AccountsError> {
        let _changing = self.changing.lock();
        let now = now_us();
        {
            let mut keys = self.keys.write();
            let entry = keys.get_mut(id).ok_or_else(|| AccountsError::UnknownKey(id.to_owned()))?;
            entry.revoked_us.get_or_insert(now);
        }
        self.changed();
        let keys = self.keys.read();
        let entry = keys.get(id).ok_or_else(|| AccountsError::UnknownKey(id.to_owned()))?;
        self.save(entry)?;
        Ok(KeyInfo::new(entry, now))
    }

    fn save(&self, entry: &Entry) -> Result<(), AccountsError> {
        let (name, value) = Record::encode(entry)?;
        self.records.save(&name, &value).map_err(AccountsError::Store)
    }

    fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Grows with every change; part of the key of cached permissions.
    pub fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Hears of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (keys, revision) = (self.keys.read().len(), self.revision());
        out.debug_struct("Accounts").field("keys", &keys).field("revision", &revision).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

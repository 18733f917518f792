//! API keys: proving, making, listing and taking them back.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::record::Record;
use super::{Account, Accounts, AccountsError, Entry, KeyInfo, NewKey, key};
use crate::message::now_us;

impl Accounts {
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

    /// Makes a key. The text is to be shown once and kept nowhere. Blocks until it is on disk.
    pub fn create_key(&self, new: NewKey) -> Result<(String, KeyInfo), AccountsError> {
        let now = now_us();
        new.check(now)?;
        let _changing = self.changing.lock();
        if !self.has_tenant(new.tenant()) {
            return Err(AccountsError::unknown("tenant", new.tenant()));
        }
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
}

//! How an account lies in the store: under `keys/ID`, as one JSON object whose `v` is the format's version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Account, AccountsError, Entry, KEYS};

/// The only format so far.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    v: u32,
    tenant: String,
    name: String,
    origin: String,
    publish: Vec<String>,
    subscribe: Vec<String>,
    attributes: Vec<(String, String)>,
    created_us: u64,
    expires_us: Option<u64>,
    revoked_us: Option<u64>,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    sha256: String,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("its name is not keys/ID")]
    Name,
    #[error("its format {0} is not known to this version")]
    Version(u32),
    #[error("its hash is not 64 hexadecimal digits")]
    Hash,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Record {
    pub(super) fn encode(entry: &Entry) -> Result<(Vec<u8>, Vec<u8>), AccountsError> {
        let account = Account::clone(&entry.account);
        let record = Self {
            v: VERSION,
            tenant: account.tenant,
            name: account.name,
            origin: account.origin,
            publish: account.publish,
            subscribe: account.subscribe,
            attributes: account.attributes,
            created_us: account.created_us,
            expires_us: account.expires_us,
            revoked_us: entry.revoked_us,
            sha256: entry.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let value = serde_json::to_vec(&record).map_err(|error| AccountsError::Store(error.into()))?;
        Ok((format!("{KEYS}/{}", account.id).into_bytes(), value))
    }

    /// The id, and the record with a sound hash.
    pub(super) fn decode(name: &[u8], value: &[u8]) -> Result<(String, Self), RecordError> {
        let name = std::str::from_utf8(name).map_err(|_| RecordError::Name)?;
        let id = name.strip_prefix("keys/").ok_or(RecordError::Name)?;
        let record: Self = serde_json::from_slice(value)?;
        if record.v != VERSION {
            return Err(RecordError::Version(record.v));
        }
        record.hash().ok_or(RecordError::Hash)?;
        Ok((id.to_owned(), record))
    }

    fn hash(&self) -> Option<[u8; 32]> {
        let mut hash = [0; 32];
        if self.sha256.len() != 64 {
            return None;
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(self.sha256.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(hash)
    }

    pub(super) fn into_entry(self, id: String) -> Entry {
        // `decode` has seen that the hash is sound; an all-zero one would match no secret.
        let hash = self.hash().unwrap_or_default();
        let account = Account {
            realm: KEYS,
            id,
            tenant: self.tenant,
            name: self.name,
            origin: self.origin,
            publish: self.publish,
            subscribe: self.subscribe,
            attributes: self.attributes,
            created_us: self.created_us,
            expires_us: self.expires_us,
        };
        Entry { account: Arc::new(account), hash, revoked_us: self.revoked_us }
    }
}

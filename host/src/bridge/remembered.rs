//! What the session at the broker is subscribed to, and what reads the logs: the next configuration may want less, and the
//! broker and the logs would go on to keep messages for it.

use serde::{Deserialize, Serialize};

use crate::store::{StorageSpace, StoreError, Write};

const KEY: &[u8] = b"session";

/// As it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Remembered {
    /// Whose session it is: the broker, and the client identifier.
    pub(super) of: String,
    /// What it is subscribed to.
    pub(super) filters: Vec<String>,
    /// Names of durable consumers.
    pub(super) consumers: Vec<String>,
}

impl Remembered {
    /// Blocks. What cannot be read was written by another version, and is nothing.
    pub(super) fn load(space: &StorageSpace) -> Result<Self, StoreError> {
        let pair = space.get(KEY)?;
        Ok(pair.and_then(|pair| serde_json::from_slice(&pair.value).ok()).unwrap_or_default())
    }

    /// Blocks. It is on the disk.
    pub(super) fn save(&self, space: &StorageSpace) -> Result<(), StoreError> {
        let value = serde_json::to_vec(self).unwrap_or_default();
        space.commit(&[Write::Put { key: KEY.to_vec(), value, expires_us: None }], &[])?;
        space.flush()
    }
}

//! Plain tables, for accounts and the like: small, rarely written, each write on the disk before it returns.

use super::database::SharedDatabase;
use super::error::StoreError;
use super::keys::{self, INLINE_BYTES};

/// Keys and values of a table.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// A named table; clones share it.
#[derive(Clone, Debug)]
pub struct Table {
    database: SharedDatabase,
    tree: String,
}

impl Table {
    pub(super) fn open(database: SharedDatabase, name: &str) -> Result<Self, StoreError> {
        let tree = keys::table_tree(name);
        database.tree(&tree, |_| Ok(()))?;
        Ok(Self { database, tree })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.database.tree(&self.tree, |tree| tree.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Creates or replaces; durable when it returns. Values: at most 24 KiB.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if value.len() > INLINE_BYTES {
            return Err(StoreError::TooLarge {
                what: "a table's value",
                bytes: value.len(),
                most: INLINE_BYTES,
            });
        }
        self.database.tree(&self.tree, |tree| tree.insert(key, value))?;
        self.database.sync()
    }

    /// Removes; durable when it returns. False when there was nothing.
    pub fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        let removed = self.database.tree(&self.tree, |tree| tree.remove(key))?.is_some();
        if removed {
            self.database.sync()?;
        }
        Ok(removed)
    }

    /// Sets (`Some`) and removes (`None`) several in one step; durable when it returns. After a crash all or none
    /// of it is there. Values: at most 24 KiB.
    pub fn change(&self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) if value.len() > INLINE_BYTES => {
                    let (what, bytes) = ("a table's value", value.len());
                    return Err(StoreError::TooLarge { what, bytes, most: INLINE_BYTES });
                }
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.database.tree(&self.tree, |tree| tree.apply_batch(batch.clone()))?;
        self.database.sync()
    }

    /// Pairs with `from` <= key < `to`, ascending, or descending when `reverse`; the first `most` of them.
    pub fn range(&self, from: &[u8], to: &[u8], reverse: bool, most: usize) -> Result<Rows, StoreError> {
        if from >= to {
            return Ok(Rows::new());
        }
        let pair = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            entry.map(|(key, value)| (key.to_vec(), value.to_vec()))
        };
        self.database.tree(&self.tree, |tree| {
            let range = tree.range(from..to);
            if reverse {
                range.rev().take(most).map(pair).collect()
            } else {
                range.take(most).map(pair).collect()
            }
        })
    }

    /// All pairs, in order of their keys.
    pub fn iter(&self) -> Result<Rows, StoreError> {
        self.database.tree(&self.tree, |tree| {
            tree.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }
}

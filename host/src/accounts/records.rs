//! What accounts need of a store.

use crate::store::{Rows, Table};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A durable map. Calls block.
pub trait Records: Send + Sync {
    /// All keys and values.
    fn load(&self) -> Result<Rows, Failure>;

    /// Sets a value; on disk when it returns.
    fn save(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// Sets and removes several in one step; on disk when it returns, all or nothing.
    fn apply(&self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), Failure>;
}

impl Records for Table {
    fn load(&self) -> Result<Rows, Failure> {
        Ok(self.iter()?)
    }

    fn save(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.put(key, value)?)
    }

    fn apply(&self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), Failure> {
        Ok(self.change(changes)?)
    }
}

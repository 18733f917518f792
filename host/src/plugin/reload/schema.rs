//! Which schema each binding's state has, where it lies, and where the one before it is kept.

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::LoadError;
use crate::store::{Store, StoreError, Table};

/// The table in the store: file stem, `.`, binding name → [`Entry`] as JSON.
const TABLE: &str = "plugin-schemas";
/// How long a flush may take before a space that is to be dropped stays a while longer.
const FLUSH: Duration = Duration::from_secs(1);

/// Where a binding's state lies, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number that the code which wrote it gave; 0 = it gave none.
    pub schema: u32,
    /// Name of the space in the store.
    pub space: String,
    /// Copies that were ever made: each has a name of its own.
    pub copies: u64,
    /// As it was before the last migration.
    pub backup: Option<Backup>,
    /// Spaces that nobody needs any more and that are still there.
    pub dropped: Vec<String>,
}

/// State as it was before a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Its number.
    pub schema: u32,
    /// Its space.
    pub space: String,
    /// End of the error budget's window, Unix microseconds: then it goes.
    pub until_us: u64,
}

impl Entry {
    fn new(space: &str) -> Self {
        Self { schema: 0, space: space.to_owned(), copies: 0, backup: None, dropped: Vec::new() }
    }

    /// After a migration to `schema`, with a copy of this name.
    pub fn migrated(mut self, schema: u32, until_us: u64) -> Self {
        self.copies += 1;
        let copy = Self::copy_name(&self.space, self.copies);
        let space = std::mem::replace(&mut self.space, copy);
        let before = self.backup.replace(Backup { schema: self.schema, space, until_us });
        self.dropped.extend(before.map(|backup| backup.space));
        self.schema = schema;
        self
    }

    /// After going back to the state before the last migration. None: it is not there.
    pub fn restored(mut self) -> Option<Self> {
        let Backup { schema, space, .. } = self.backup.take()?;
        self.dropped.push(std::mem::replace(&mut self.space, space));
        self.schema = schema;
        Some(self)
    }

    /// `STEM.NAME`, or `STEM.NAME.COPY`: neither stems nor names have a dot.
    fn copy_name(space: &str, copy: u64) -> String {
        let base: Vec<_> = space.splitn(3, '.').take(2).collect();
        format!("{}.{copy}", base.join("."))
    }
}

/// The schemas of all bindings that ever gave a number.
pub struct Schemas {
    table: Table,
    entries: BTreeMap<String, Entry>,
}

impl Schemas {
    /// What the store remembers.
    pub fn open(store: &Store) -> Result<Self, LoadError> {
        let state = |error: StoreError| LoadError::State(error.to_string());
        let table = store.table(TABLE).map_err(state)?;
        let mut entries = BTreeMap::new();
        for (key, entry) in table.iter().map_err(state)? {
            let wrong = |what: String| LoadError::State(format!("the schema of {what} is not understood"));
            let key = String::from_utf8(key).map_err(|_| wrong("a binding".into()))?;
            let entry = serde_json::from_slice(&entry).map_err(|_| wrong(key.clone()))?;
            entries.insert(key, entry);
        }
        Ok(Self { table, entries })
    }

    /// Of a binding that never gave one: number 0, in the space of this name.
    pub fn get(&self, key: &str) -> Entry {
        self.entries.get(key).cloned().unwrap_or_else(|| Entry::new(key))
    }

    /// Whether a number was ever given.
    pub fn knows(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Remembers; on the disk when it returns.
    pub fn put(&mut self, key: &str, entry: Entry) -> Result<(), LoadError> {
        let state = |error: String| LoadError::State(error);
        let text = serde_json::to_vec(&entry).map_err(|error| state(error.to_string()))?;
        self.table.put(key.as_bytes(), &text).map_err(|error| state(error.to_string()))?;
        self.entries.insert(key.to_owned(), entry);
        Ok(())
    }

    /// Deletes what nobody can go back to any more.
    pub fn tend(&mut self, store: &Store, now_us: u64) {
        let over = |entry: &Entry| entry.backup.as_ref().is_some_and(|backup| backup.until_us <= now_us);
        let due = self.entries.iter().filter(|(_, entry)| over(entry) || !entry.dropped.is_empty());
        for (key, mut entry) in due.map(|(key, entry)| (key.clone(), entry.clone())).collect::<Vec<_>>() {
            if over(&entry) {
                entry.dropped.extend(entry.backup.take().map(|backup| backup.space));
            }
            let done = drop_all(store, &entry.dropped).and_then(|()| {
                entry.dropped.clear();
                self.put(&key, entry).map_err(|error| error.to_string())
            });
            if let Err(error) = done {
                tracing::warn!(state = key, error, "state that nobody needs any more stays for now");
            }
        }
    }
}

/// Waits until everything that was handed to the writer so far is on the disk.
pub fn flushed(store: &Store, patience: Duration) -> Result<(), String> {
    let (done, waiting) = sync_channel(1);
    let told = Box::new(move |result: Result<(), StoreError>| drop(done.try_send(result)));
    store.writer().submit(|queue| queue.on_durable(told)).map_err(|error| error.to_string())?;
    let flushed = waiting.recv_timeout(patience).map_err(|_| "the disk is too slow".to_owned())?;
    flushed.map_err(|error| error.to_string())
}

fn drop_all(store: &Store, spaces: &[String]) -> Result<(), String> {
    // Nothing is committed to them any more, but writes may still wait.
    flushed(store, FLUSH)?;
    spaces.iter().try_for_each(|space| store.drop_space(space)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_is_kept_and_the_way_back_leads_to_it() {
        let first = Entry::new("a.b");
        let second = first.clone().migrated(2, 10);
        assert_eq!((second.schema, second.space.as_str()), (2, "a.b.1"));
        let third = second.clone().migrated(3, 20);
        assert_eq!(
            (third.space.as_str(), third.dropped.as_slice()),
            ("a.b.2", ["a.b".to_owned()].as_slice())
        );
        let back = third.restored().unwrap();
        assert_eq!((back.schema, back.space.as_str()), (2, "a.b.1"));
        assert_eq!(back.dropped, ["a.b", "a.b.2"]);
        assert_eq!(back.migrated(3, 30).space, "a.b.3", "no name is given twice");
        assert_eq!(first.restored(), None);
    }
}

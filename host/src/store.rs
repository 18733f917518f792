//! What is kept on the disk: logs, plugin state, the key spaces of storage plugins, accounts.
//!
//! The only place that names sled. One [`Store`] owns a folder (its layout stands in `store/keys.rs`):
//!
//! - [`Log`]: an ordered, retained stream of messages, read in both directions, with a durable mark.
//! - [`Writer`]: the one thread that writes logs and plugin state, so that state is never ahead of the log.
//! - [`StorageSpace`]: the key space of a storage plugin, committed together with its cursor.
//! - [`Table`]: small, durable, for accounts.
//!
//! All calls but [`Writer::submit`] may wait for the disk: keep them off async threads.

mod checksum;
mod chunk;
mod database;
mod epochs;
mod error;
mod generation;
mod keys;
mod log;
mod mark;
mod pack;
mod pairs;
mod posts;
mod queue;
mod segment;
mod space;
mod table;
mod witness;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Incident, StoreError, SubmitError};
pub use generation::Generation;
pub use log::{Log, LogOptions, LogUsage, ReadPage, Resume};
pub use mark::{behind_mark, mark_here, mark_key, marked_log};
pub use pairs::Pair;
pub use posts::WaitingPost;
pub use queue::{OnDurable, Queue, StateValue};
pub use space::{Cursor, StorageSpace, Write};
pub use table::{Rows, Table};
pub use writer::Writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use database::{Database, SharedDatabase, sync_dir};
use error::Incidents;
use writer::WriterParts;

/// How the store works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The logs; their order gives them their numbers.
    pub logs: Vec<LogOptions>,
    /// Bytes that may wait for the writer.
    pub queue_bytes: usize,
    /// Records and state writes that may wait for the writer.
    pub queue_records: usize,
    /// Longest time until a record is on the disk when nobody waits for it.
    pub flush_every: Duration,
    /// With less room on the disk nothing is accepted, in bytes.
    pub free_floor_bytes: u64,
    /// Cache of each open database, in bytes (sled's own default is 1 GiB).
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            logs: vec![LogOptions::new("default")],
            queue_bytes: 64 << 20,
            queue_records: 1 << 18,
            // Half of what is promised (100 ms): a flush that has begun takes its time too.
            flush_every: Duration::from_millis(50),
            free_floor_bytes: 64 << 20,
            cache_bytes: 16 << 20,
        }
    }
}

/// An open data folder. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    logs: Vec<Log>,
    writer: Writer,
    state: SharedDatabase,
    storage: SharedDatabase,
    incidents: Arc<Incidents>,
    dir: PathBuf,
    /// Last, so that it is let go when everything else is closed.
    _lock: File,
}

impl Store {
    /// Opens or creates the folder `dir`, for this process alone, and starts the writer thread.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        for options in &options.logs {
            check_name(&options.name)?;
        }
        let log_dir = dir.join("log");
        std::fs::create_dir_all(&log_dir).map_err(|error| StoreError::io(&log_dir, &error))?;
        let lock = lock(dir)?;
        let incidents = Arc::new(Incidents::default());
        let open = |name: &str| {
            let before = incidents.count();
            let database = Database::open_or_set_aside(&dir.join(name), options.cache_bytes, &incidents)?;
            witness::unseal(&database, incidents.count() > before, &incidents)?;
            Ok(Arc::new(database))
        };
        let state: SharedDatabase = open("state")?;
        check_format(dir, &state)?;
        let storage: SharedDatabase = open("storage")?;
        let mut logs = Vec::new();
        let mut appenders = Vec::new();
        for (index, log_options) in options.logs.into_iter().enumerate() {
            let (log, appender) =
                log::open(&log_dir, index, log_options, options.cache_bytes, incidents.clone())?;
            logs.push(log);
            appenders.push(appender);
        }
        sync_dir(dir)?;
        let writer = Writer::start(WriterParts {
            appenders,
            state: state.clone(),
            storage: storage.clone(),
            queue_bytes: options.queue_bytes,
            queue_records: options.queue_records,
            flush_every: options.flush_every,
            free_floor_bytes: options.free_floor_bytes,
            dir: dir.to_path_buf(),
            incidents: incidents.clone(),
        })?;
        Ok(Self(Arc::new(Inner {
            logs,
            writer,
            state,
            storage,
            incidents,
            dir: dir.to_path_buf(),
            _lock: lock,
        })))
    }

    /// The logs, in the order of [`StoreOptions::logs`].
    pub fn logs(&self) -> &[Log] {
        &self.0.logs
    }

    /// The log of this name, unless it is one of input.
    pub fn log(&self, name: &str) -> Option<&Log> {
        self.0.logs.iter().find(|log| &**log.name() == name && !log.is_input())
    }

    /// Names of the logs on the disk that [`StoreOptions::logs`] does not name, and their bytes: they are left alone.
    pub fn other_logs(&self) -> Vec<(String, u64)> {
        let folders = std::fs::read_dir(self.0.dir.join("log")).into_iter().flatten().flatten();
        let folders = folders.filter(|entry| entry.path().is_dir());
        let named = folders.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let is_known = |name: &str| self.0.logs.iter().any(|log| &**log.name() == name);
        let mut others: Vec<_> = named.filter(|(name, _)| !is_known(name)).collect();
        others.sort();
        others.into_iter().map(|(name, path)| (name, database::disk_bytes(&path))).collect()
    }

    /// The one writer.
    pub fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// What went wrong since start, oldest first, at most 100: damage, loss, data set aside.
    pub fn incidents(&self) -> Vec<Incident> {
        self.0.incidents.list()
    }

    /// How many incidents there were since start.
    pub fn incident_count(&self) -> u64 {
        self.0.incidents.count()
    }

    /// All of a plugin's state, in order of keys. Expired pairs are left out and deleted.
    pub fn load_space(&self, name: &str) -> Result<Vec<Pair>, StoreError> {
        check_name(name)?;
        space::load(&self.0.state, name)
    }

    /// Deletes a plugin's state. Writes that still wait in the queue would make it anew.
    pub fn drop_space(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        space::drop_space(&self.0.state, name)
    }

    /// The key space of a storage plugin, made if there is none.
    pub fn storage_space(&self, name: &str) -> Result<StorageSpace, StoreError> {
        check_name(name)?;
        StorageSpace::open(self.0.storage.clone(), name)
    }

    /// Names of all key spaces of storage plugins, also of those that are bound no more.
    pub fn storage_spaces(&self) -> Result<Vec<String>, StoreError> {
        let trees = self.0.storage.with(|db| Ok(db.tree_names()))?;
        Ok(trees.iter().filter_map(|tree| keys::parse_space_tree(tree)).collect())
    }

    /// Deletes the key space of a storage plugin, with its cursors.
    pub fn drop_storage_space(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        space::drop_space(&self.0.storage, name)
    }

    /// A table of this name, made if there is none.
    pub fn table(&self, name: &str) -> Result<Table, StoreError> {
        check_name(name)?;
        Table::open(self.0.state.clone(), name)
    }

    /// Writes what waits, leaves clean marks and stops the writer. What is open can still be read.
    pub fn close(&self) -> Result<(), StoreError> {
        self.0.writer.close()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "the store was not closed cleanly");
        }
    }
}

/// Most bytes of a log's, space's or table's name: a file name has at most 255.
const NAME_BYTES: usize = 200;

fn check_name(name: &str) -> Result<(), StoreError> {
    let good = (1..=NAME_BYTES).contains(&name.len())
        && !name.contains(['/', '\\', '\0'])
        && !matches!(name, "." | "..");
    if good { Ok(()) } else { Err(StoreError::Name(name.into())) }
}

/// Takes the folder's lock; the system lets it go when this process ends, however it ends.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| StoreError::io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(StoreError::io(&path, &error)),
    }
}

fn check_format(dir: &Path, state: &Database) -> Result<(), StoreError> {
    let found = state.tree(keys::META, |tree| tree.get(keys::FORMAT_KEY))?;
    let Some(found) = found else {
        state.tree(keys::META, |tree| tree.insert(keys::FORMAT_KEY, &keys::FORMAT.to_le_bytes()))?;
        return state.sync();
    };
    let version = found.as_ref().try_into().map(u32::from_le_bytes);
    let found = version.map_err(|_| StoreError::corrupt(state.dir(), "the format record"))?;
    if found > keys::FORMAT {
        return Err(StoreError::Newer { dir: dir.to_path_buf(), found, known: keys::FORMAT });
    }
    if found < keys::FORMAT {
        // All that was written is read as it stands; an older weir would not see what is written from now on.
        state.tree(keys::META, |tree| tree.insert(keys::FORMAT_KEY, &keys::FORMAT.to_le_bytes()))?;
        state.sync()?;
    }
    Ok(())
}

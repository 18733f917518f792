//! What can go wrong in the store, and what it reports beside errors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::message::now_us;

/// Why the store could not do something. Cheap to clone: one failed flush answers many publishers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the folder open.
    #[error("the data folder {0} is in use by another weir: stop it, or give this one another folder")]
    InUse(PathBuf),
    /// Written by a later release.
    #[error(
        "the data folder {dir} has format {found}, this weir knows formats up to {known}: use a newer weir"
    )]
    Newer {
        /// The data folder.
        dir: PathBuf,
        /// Format on disk.
        found: u32,
        /// Highest that this program reads.
        known: u32,
    },
    /// A log, space or table cannot have this name.
    #[error(
        "{0:?} is no name for a log, space or table: accepted are 1 to 200 bytes without /, \\ and NUL, not . or .."
    )]
    Name(String),
    /// Over a limit of the store.
    #[error("{what} takes {bytes} bytes: {most} are accepted")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit, in bytes.
        most: usize,
    },
    /// The operating system refused.
    #[error("{path}: {reason}")]
    Io {
        /// Database or file.
        path: PathBuf,
        /// In the system's words.
        reason: Arc<str>,
    },
    /// A database does not read as it was written.
    #[error("the database {path} is damaged: {reason}")]
    Corrupt {
        /// Its folder.
        path: PathBuf,
        /// What was found.
        reason: Arc<str>,
    },
    /// Less room than the floor: refused before the disk is full, because a full one breaks databases.
    #[error("the disk of {path} has {free} bytes left: at least {floor} must stay free")]
    NoRoom {
        /// The data folder.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// The floor, in bytes.
        floor: u64,
    },
    /// Stopped, or stopping.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Wraps an error of the operating system.
    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), reason: error.to_string().into() }
    }

    /// Damage found in `path`.
    pub(super) fn corrupt(path: &Path, reason: impl Into<Arc<str>>) -> Self {
        Self::Corrupt { path: path.to_path_buf(), reason: reason.into() }
    }

    /// Wraps an error of the database in `path`.
    pub(super) fn database(path: &Path, error: &sled::Error) -> Self {
        match error {
            sled::Error::Io(inner) => Self::io(path, inner),
            // sled's threads are broken, or cannot be started: that says nothing of the database.
            sled::Error::ReportableBug(what) if what.contains("thread") => {
                Self::Io { path: path.to_path_buf(), reason: error.to_string().into() }
            }
            sled::Error::Corruption { at: None, .. } => {
                Self::corrupt(path, "the database breaks off when it is read")
            }
            // What it calls unsupported is a damaged file of settings: weir has never written another version of them,
            // and tells its own versions apart by the format record.
            sled::Error::Corruption { .. }
            | sled::Error::CollectionNotFound(_)
            | sled::Error::Unsupported(_)
            | sled::Error::ReportableBug(_) => Self::corrupt(path, error.to_string()),
        }
    }

    /// Whether the database itself is damaged, so that waiting does not help.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// Why nothing of a submit was taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SubmitError {
    /// Over the queue's bounds: try again when there is room.
    #[error("the store's queue is full: {bytes} bytes and {records} records wait to be written")]
    Full {
        /// Bytes waiting.
        bytes: usize,
        /// Records and state writes waiting.
        records: usize,
    },
    /// The store cannot write; it keeps trying to recover.
    #[error("the store cannot write: {0}")]
    Broken(StoreError),
    /// A record that is not the next one of its log.
    #[error("log number {log}: offset {given} was given, {expected} is next")]
    Offset {
        /// Position in `Store::logs`.
        log: usize,
        /// What the caller said.
        given: u64,
        /// What would have been taken.
        expected: u64,
    },
    /// Stopped, or stopping.
    #[error("the store is closed")]
    Closed,
}

/// Something that an operator must hear of: damage, loss, data set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Unix microseconds.
    pub at_us: u64,
    /// What happened, to what, and where it is now.
    pub what: String,
}

/// Incidents kept in memory; all are logged when they happen.
const INCIDENTS: usize = 100;

/// The incidents since start, the newest 100, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    newest: Mutex<Vec<Incident>>,
    count: AtomicU64,
}

impl Incidents {
    /// Reports one.
    pub(super) fn report(&self, what: String) {
        tracing::error!(what, "store incident");
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut list = self.newest.lock();
        if list.len() >= INCIDENTS {
            list.remove(0);
        }
        list.push(Incident { at_us: now_us(), what });
    }

    /// How many there were, those that are not kept too.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All that are kept, oldest first.
    pub(super) fn list(&self) -> Vec<Incident> {
        self.newest.lock().clone()
    }
}

//! One sled database: opened with weir's settings, flushed to the disk itself, reopened after an error.
//!
//! Why these settings (all read in sled 0.34.7's source):
//! - A value that takes more than a quarter of sled's `segment_size` goes to a file of its own in `blobs/`,
//!   which sled never fsyncs. A leaf of up to 17 values is written as one such value, so values stay at
//!   [`MOST_VALUE_BYTES`] and 17 of them below a quarter of [`SEGMENT_BYTES`].
//! - `flush` waits for `sync_file_range`, which neither empties the disk's cache nor writes file sizes:
//!   [`Database::sync`] adds `sync_data`.
//! - After an I/O error a database answers every call with that error until it is opened again.
//! - The flusher thread is off: who writes decides when to flush.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::chunk::Chunks;
use super::error::{Incidents, StoreError};
use super::keys::{self, INLINE_BYTES};
use super::pack::PACK_BYTES;
use crate::message::now_us;

/// Unit in which a database's file grows and is recovered, in bytes.
pub(super) const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// Longest value that may be inserted, with its key: 17 of them take 476 KiB, a quarter of a segment is 512.
pub(super) const MOST_VALUE_BYTES: usize = 28 * 1024;

// Keys of pairs are at most 512 bytes by contract; the rest is room for heads.
const _: () = assert!(PACK_BYTES <= MOST_VALUE_BYTES && INLINE_BYTES + 2048 <= MOST_VALUE_BYTES);
const _: () = assert!(17 * (MOST_VALUE_BYTES + 64) < SEGMENT_BYTES / 4);

/// How long a database that this process has just let go may still hold its lock: sled's threads drop the
/// file some moments later.
const RELEASE: Duration = Duration::from_secs(5);

/// Pause between two tries to take the lock.
const RELEASE_STEP: Duration = Duration::from_millis(2);

/// A database and what is needed to open it again.
#[derive(Debug)]
pub(super) struct Database {
    dir: PathBuf,
    cache_bytes: u64,
    opened: RwLock<Option<Opened>>,
    failed: AtomicBool,
    /// Since when something is not flushed, where the writers leave that to [`Database::sync_if_due`].
    dirty: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Opened {
    db: sled::Db,
    file: File,
    chunks: Chunks,
}

impl Database {
    /// Opens or creates the database in `dir`.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let opened = Opened::new(dir, cache_bytes)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            cache_bytes,
            opened: RwLock::new(Some(opened)),
            failed: AtomicBool::new(false),
            dirty: Mutex::default(),
        })
    }

    /// As [`Self::open`]; a damaged database is moved to `DIR.corrupt-TIME`, reported, and an empty one opened.
    pub(super) fn open_or_set_aside(
        dir: &Path,
        cache_bytes: u64,
        incidents: &Incidents,
    ) -> Result<Self, StoreError> {
        let opened = Self::open(dir, cache_bytes).and_then(|database| {
            database.read_tables()?;
            Ok(database)
        });
        match opened {
            Err(error) if error.is_corrupt() => {
                set_aside(dir, &error, incidents)?;
                Self::open(dir, cache_bytes)
            }
            other => other,
        }
    }

    /// Reads what a start cannot do without: damage shows only where something is read.
    fn read_tables(&self) -> Result<(), StoreError> {
        self.with(|db| {
            let names = db.tree_names().into_iter();
            for name in names.filter(|name| name == keys::META.as_bytes() || keys::is_table(name)) {
                db.open_tree(name)?.iter().try_for_each(|entry| entry.map(drop))?;
            }
            Ok(())
        })
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `work` on the tree of this name.
    pub(super) fn tree<R>(
        &self,
        name: &str,
        work: impl FnOnce(&sled::Tree) -> sled::Result<R>,
    ) -> Result<R, StoreError> {
        self.with(|db| work(&db.open_tree(name)?))
    }

    /// Runs `work` on the database; fails while it is closed.
    pub(super) fn with<R>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<R>) -> Result<R, StoreError> {
        let opened = self.opened.read();
        let opened = opened.as_ref().ok_or_else(|| self.closed())?;
        guarded(|| work(&opened.db)).map_err(|error| self.failed(&error))
    }

    /// As [`Self::with`], for a segment's packs; `work` itself keeps panics of sled in bounds ([`guarded`]).
    pub(super) fn with_chunks<R>(
        &self,
        work: impl FnOnce(&sled::Db, &Chunks) -> sled::Result<R>,
    ) -> Result<R, StoreError> {
        let opened = self.opened.read();
        let opened = opened.as_ref().ok_or_else(|| self.closed())?;
        work(&opened.db, &opened.chunks).map_err(|error| self.failed(&error))
    }

    /// Returns when everything written before is on the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let opened = self.opened.read();
        let opened = opened.as_ref().ok_or_else(|| self.closed())?;
        guarded(|| opened.db.flush()).map_err(|error| self.failed(&error))?;
        opened.file.sync_data().map_err(|error| self.failed(&sled::Error::Io(error)))
    }

    /// Whether a call failed since it was last opened: it may answer nothing but errors until it is reopened.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn failed(&self, error: &sled::Error) -> StoreError {
        self.failed.store(true, Ordering::Relaxed);
        StoreError::database(&self.dir, error)
    }

    /// Closes and opens it again, which is the only way out of sled's sticky errors.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let mut opened = self.opened.write();
        close(opened.take());
        self.failed.store(true, Ordering::Relaxed);
        *opened = Some(Opened::new(&self.dir, self.cache_bytes)?);
        self.failed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// As [`Self::reopen`]; a damaged database is set aside, reported, and an empty one opened.
    pub(super) fn reopen_or_set_aside(&self, incidents: &Incidents) -> Result<(), StoreError> {
        match self.reopen() {
            Err(error) if error.is_corrupt() => {
                set_aside(&self.dir, &error, incidents)?;
                self.reopen()
            }
            other => other,
        }
    }

    /// Flushes when something was written since the last flush and that was `age` ago or longer.
    pub(super) fn sync_if_due(&self, age: Duration) -> Result<(), StoreError> {
        let mut dirty = self.dirty.lock();
        if dirty.is_some_and(|since| since.elapsed() >= age) {
            *dirty = None;
            drop(dirty);
            self.sync()?;
        }
        Ok(())
    }

    /// Notes that something was written, for [`Self::sync_if_due`].
    pub(super) fn note_write(&self) {
        self.dirty.lock().get_or_insert_with(Instant::now);
    }

    fn closed(&self) -> StoreError {
        StoreError::Io { path: self.dir.clone(), reason: "closed after an error, being opened again".into() }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        close(self.opened.get_mut().take());
    }
}

/// Runs `work` in sled: some kinds of damage trip an assertion there instead of giving an error.
pub(super) fn guarded<R>(work: impl FnOnce() -> sled::Result<R>) -> sled::Result<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(sled::Error::Corruption { at: None, bt: () }))
}

/// Closes a database, also one in which an assertion was tripped: it may trip again.
fn close(opened: Option<Opened>) {
    if catch_unwind(AssertUnwindSafe(|| drop(opened))).is_err() {
        tracing::warn!("a damaged database was not closed in order");
    }
}

impl Opened {
    fn new(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        match Self::once(dir, cache_bytes) {
            Err(error) if error.is_corrupt() && remove_unfinished_snapshots(dir) => {
                Self::once(dir, cache_bytes)
            }
            other => other,
        }
    }

    fn once(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let config = || {
            sled::Config::new()
                .path(dir)
                .cache_capacity(cache_bytes)
                .mode(sled::Mode::HighThroughput)
                .segment_size(SEGMENT_BYTES)
                .flush_every_ms(None)
        };
        let deadline = Instant::now() + RELEASE;
        let db = loop {
            match guarded(|| config().open()) {
                Ok(db) => break db,
                Err(error) if is_locked(&error) => {
                    if Instant::now() > deadline {
                        return Err(StoreError::InUse(dir.to_path_buf()));
                    }
                    thread::sleep(RELEASE_STEP);
                }
                Err(error) => return Err(StoreError::database(dir, &error)),
            }
        };
        let file = File::open(dir.join("db")).map_err(|error| StoreError::io(dir, &error))?;
        let chunks = Chunks::of(&db);
        Ok(Self { db, file, chunks })
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(inner) if inner.to_string().contains("could not acquire lock"))
}

/// Removes what a crash or a full disk has left of the snapshot that sled writes whenever it opens a database. False:
/// there was nothing.
///
/// sled takes it for a whole one and calls the database corrupt. The snapshot before it is removed only when the new one
/// has its name, and what came after it is read from sled's log, so nothing is lost.
fn remove_unfinished_snapshots(dir: &Path) -> bool {
    let unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("snap.") && name.ends_with(".generating")
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let unfinished = entries.map(|entry| entry.path()).filter(unfinished);
    unfinished.filter(|path| std::fs::remove_file(path).is_ok()).count() > 0
}

/// Moves a damaged database out of the way and reports it.
pub(super) fn set_aside(dir: &Path, why: &StoreError, incidents: &Incidents) -> Result<(), StoreError> {
    let target = move_aside(dir)?;
    incidents.report(format!("{why}; it was moved to {}", target.display()));
    Ok(())
}

/// Renames a damaged database; returns its new place.
pub(super) fn move_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let mut name = dir.as_os_str().to_owned();
    name.push(format!(".corrupt-{}", now_us()));
    let target = PathBuf::from(name);
    std::fs::rename(dir, &target).map_err(|error| StoreError::io(dir, &error))?;
    sync_dir(dir.parent().unwrap_or(dir))?;
    Ok(target)
}

/// Makes new and removed names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    let synced = File::open(dir).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io(dir, &error))
}

/// Bytes that a database takes on the disk; 0 when it cannot be read.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
            _ => entry.metadata().map_or(0, |meta| meta.len()),
        })
        .sum()
}

/// A handle that several own.
pub(super) type SharedDatabase = Arc<Database>;

/// Makes a closed database one that sled calls corrupt: by a snapshot that does not read.
#[cfg(test)]
pub(super) fn break_for_test(dir: &Path) {
    assert!(dir.join("db").exists());
    std::fs::write(dir.join("snap.0000000000000001"), [0; 64]).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_largest_size_never_become_blobs() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(dir.path(), 1 << 20).unwrap();
        db.tree("t", |tree| {
            for i in 0..100u64 {
                tree.insert(i.to_be_bytes(), vec![7; MOST_VALUE_BYTES])?;
            }
            // Overwriting and removing rewrites and merges leaves.
            for i in 0..100u64 {
                tree.insert(i.to_be_bytes(), vec![8; MOST_VALUE_BYTES])?;
                if i % 3 == 0 {
                    tree.remove(i.to_be_bytes())?;
                }
            }
            Ok(())
        })
        .unwrap();
        db.sync().unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_database_is_moved_aside_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let incidents = Incidents::default();
        let db = Database::open(&path, 1 << 20).unwrap();
        db.tree("t", |tree| tree.insert("a", vec![1; 9000])).unwrap();
        db.sync().unwrap();
        drop(db);
        break_for_test(&path);
        let db = Database::open_or_set_aside(&path, 1 << 20, &incidents).unwrap();
        assert!(db.tree("t", |tree| tree.get("a")).unwrap().is_none());
        assert!(incidents.list()[0].what.contains(".corrupt-"));
        let kept = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(kept, 2);
    }

    #[test]
    fn a_snapshot_that_was_never_finished_damages_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let incidents = Incidents::default();
        for (n, left) in [vec![], vec![0; 7], vec![7; 64]].into_iter().enumerate() {
            let db = Database::open_or_set_aside(dir.path(), 1 << 20, &incidents).unwrap();
            db.tree("t", |tree| tree.insert([n as u8], "kept")).unwrap();
            db.sync().unwrap();
            drop(db);
            std::fs::write(dir.path().join("snap.7000000000000000.generating"), left).unwrap();
            let db = Database::open_or_set_aside(dir.path(), 1 << 20, &incidents).unwrap();
            assert_eq!(db.tree("t", |tree| Ok(tree.len())).unwrap(), n + 1);
        }
        assert!(incidents.list().is_empty());
    }

    #[test]
    fn reopening_gives_the_same_data() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::open(dir.path(), 1 << 20).unwrap();
        db.tree("t", |tree| tree.insert("a", "1")).unwrap();
        db.reopen().unwrap();
        assert_eq!(db.tree("t", |tree| tree.get("a")).unwrap().unwrap(), "1");
    }
}

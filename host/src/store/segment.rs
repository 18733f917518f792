//! One segment of a log: a database of its own, because sled gives space back only when a folder goes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::database::{Database, SharedDatabase, disk_bytes, move_aside, sync_dir};
use super::error::StoreError;

/// Ends the name of a segment that is being deleted.
const DELETED: &str = ".deleted";

/// One segment. Sealed ones are opened when somebody reads them.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its first offset.
    pub(super) first: u64,
    dir: PathBuf,
    cache_bytes: u64,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    kept: Option<SharedDatabase>,
    /// Finds the database again while a reader still has it: opened twice, it would be locked.
    used: Weak<Database>,
    deleted: bool,
    /// Why it cannot be read; it was set aside.
    damaged: Option<StoreError>,
}

/// What is known of a segment that gets no more packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The offset after its last.
    pub(super) next: u64,
    /// When its last pack was written, Unix µs.
    pub(super) newest_us: u64,
    /// Bytes on the disk.
    pub(super) bytes: u64,
}

impl Segment {
    /// The segment in the log folder `log` that begins at `first`; touches nothing.
    pub(super) fn new(log: &Path, first: u64, cache_bytes: u64) -> Self {
        Self { first, dir: log.join(format!("{first:020}")), cache_bytes, slot: Mutex::default() }
    }

    /// Its folder.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes its database.
    pub(super) fn create(&self) -> Result<SharedDatabase, StoreError> {
        let mut slot = self.slot.lock();
        self.open(&mut slot)
    }

    /// Whether there is anything on the disk: without this file, sled would begin an empty database.
    pub(super) fn is_there(&self) -> bool {
        self.dir.join("db").exists()
    }

    /// Its database, opened now if it is not; none when the segment was deleted.
    pub(super) fn database(&self) -> Result<Option<SharedDatabase>, StoreError> {
        let mut slot = self.slot.lock();
        if slot.deleted {
            return Ok(None);
        }
        if slot.kept.is_none() {
            slot.kept = slot.used.upgrade();
        }
        if let Some(open) = &slot.kept {
            return Ok(Some(open.clone()));
        }
        if let Some(damaged) = &slot.damaged {
            return Err(damaged.clone());
        }
        if !self.is_there() {
            return Err(StoreError::corrupt(&self.dir, "its file is missing"));
        }
        self.open(&mut slot).map(Some)
    }

    fn open(&self, slot: &mut Slot) -> Result<SharedDatabase, StoreError> {
        let opened = Arc::new(Database::open(&self.dir, self.cache_bytes)?);
        slot.used = Arc::downgrade(&opened);
        slot.kept = Some(opened.clone());
        Ok(opened)
    }

    /// Moves the folder out of the way, once: returns where it is now. Readers that have it open read on.
    pub(super) fn set_aside(&self, why: &StoreError) -> Result<Option<PathBuf>, StoreError> {
        let mut slot = self.slot.lock();
        if slot.deleted || slot.damaged.is_some() {
            return Ok(None);
        }
        slot.damaged = Some(why.clone());
        slot.used = Weak::new();
        let kept = slot.kept.take();
        let moved = if self.dir.exists() { move_aside(&self.dir).map(Some) } else { Ok(None) };
        drop(slot);
        drop(kept);
        moved
    }

    /// Closes the database once its last reader is done.
    pub(super) fn release(&self) {
        let kept = self.slot.lock().kept.take();
        drop(kept);
    }

    /// Deletes the folder. Renamed first, so that a crash cannot leave half a segment behind.
    pub(super) fn delete(&self) -> Result<(), StoreError> {
        let mut slot = self.slot.lock();
        if slot.deleted {
            return Ok(());
        }
        slot.deleted = true;
        slot.kept = None;
        if !self.dir.exists() {
            return Ok(());
        }
        let mut name = self.dir.as_os_str().to_owned();
        name.push(DELETED);
        let error = |error| StoreError::io(&self.dir, &error);
        std::fs::rename(&self.dir, &name).map_err(error)?;
        sync_dir(self.dir.parent().unwrap_or(&self.dir))?;
        std::fs::remove_dir_all(&name).map_err(error)
    }

    /// Bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        disk_bytes(&self.dir)
    }
}

/// First offsets of the segments in a log's folder, ascending. Removes what was half deleted.
pub(super) fn list(log: &Path) -> Result<Vec<u64>, StoreError> {
    let error = |error| StoreError::io(log, &error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(log).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(DELETED) {
            std::fs::remove_dir_all(entry.path()).map_err(error)?;
        } else if name.len() == 20
            && let Ok(first) = name.parse()
        {
            if entry.path().is_dir() {
                found.push(first);
            } else {
                tracing::warn!(path = %entry.path().display(), "no folder, so no segment: it is left alone");
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

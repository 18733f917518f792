//! One segment of a log: a database of its own, because sled gives space back only when a folder goes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;

use super::database::{Database, SharedDatabase, disk_bytes, sync_dir};
use super::error::StoreError;
use super::keys;
use super::pack::{PACK_BYTES, Pack, whole_length};

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

/// A pack, or why it cannot be read.
pub(super) type Found = Result<Pack, Damage>;

/// A pack that cannot be read.
#[derive(Debug)]
pub(super) struct Damage {
    /// Its first offset.
    pub(super) first: u64,
    /// The first offset after it, where another pack follows.
    pub(super) next: Option<u64>,
    pub(super) reason: &'static str,
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
        let opened = Arc::new(Database::open(&self.dir, self.cache_bytes)?);
        slot.used = Arc::downgrade(&opened);
        slot.kept = Some(opened.clone());
        Ok(Some(opened))
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
            found.push(first);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes a finished pack, in parts when it is one large message.
pub(super) fn append(database: &Database, first: u64, pack: &[u8]) -> Result<(), StoreError> {
    let most = usize::from(u16::MAX) * PACK_BYTES;
    if pack.len() > most {
        return Err(StoreError::TooLarge { what: "a message", bytes: pack.len(), most });
    }
    database.tree(keys::PACKS, |tree| {
        for (part, bytes) in (0..).zip(pack.chunks(PACK_BYTES)) {
            tree.insert(keys::pack(first, part), bytes)?;
        }
        Ok(())
    })
}

/// Visits packs in ascending order, beginning with the one that holds `from`, or the next one.
pub(super) fn forward(
    database: &Database,
    from: u64,
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    database.tree(keys::PACKS, |tree| {
        let before = tree.get_lt(keys::pack(from.saturating_add(1), 0))?;
        let start = before.and_then(|(key, _)| keys::parse_pack(&key)).map_or(from, |(first, _)| first);
        let mut packs = tree.range(keys::pack(start, 0)..).peekable();
        while let Some(found) = gather(&mut packs)? {
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// Visits packs in descending order, beginning with the last one that begins before `before`.
pub(super) fn backward(
    database: &Database,
    before: u64,
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    database.tree(keys::PACKS, |tree| {
        let mut bound = before;
        while let Some((key, _)) = tree.get_lt(keys::pack(bound, 0))? {
            let Some((first, _)) = keys::parse_pack(&key) else { break };
            let mut packs = tree.range(keys::pack(first, 0)..).peekable();
            let Some(found) = gather(&mut packs)? else { break };
            bound = first;
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// Removes the pack that begins at `first`.
pub(super) fn remove(database: &Database, first: u64) -> Result<(), StoreError> {
    database.tree(keys::PACKS, |tree| {
        for key in tree.range(keys::pack(first, 0)..=keys::pack(first, u16::MAX)).keys() {
            tree.remove(key?)?;
        }
        Ok(())
    })
}

/// The next pack of an iteration, put together from its parts.
fn gather(packs: &mut std::iter::Peekable<sled::Iter>) -> sled::Result<Option<Found>> {
    let Some(entry) = packs.next() else { return Ok(None) };
    let (key, value) = entry?;
    let damage = |first, reason| Damage { first, next: None, reason };
    let Some((first, part)) = keys::parse_pack(&key) else {
        return Ok(Some(Err(damage(0, "a key is not that of a pack"))));
    };
    let whole = whole_length(&value).unwrap_or(0);
    let mut found = if part != 0 {
        Err(damage(first, "the beginning is missing"))
    } else if value.len() >= whole {
        Ok(Bytes::from_owner(value))
    } else {
        let mut bytes = value.to_vec();
        let mut part = 1;
        let follows = |entry: &sled::Result<(sled::IVec, sled::IVec)>, part| {
            entry.as_ref().is_ok_and(|(key, _)| keys::parse_pack(key) == Some((first, part)))
        };
        while let Some(entry) = packs.next_if(|entry| follows(entry, part)) {
            bytes.extend_from_slice(&entry?.1);
            part = part.saturating_add(1);
        }
        Ok(Bytes::from(bytes))
    }
    .and_then(|bytes| Pack::parse(bytes).map_err(|reason| damage(first, reason)));
    if let Ok(pack) = &found
        && pack.first != first
    {
        found = Err(damage(first, "the pack stands at the wrong offset"));
    }
    if let Err(damage) = &mut found {
        // Parts of a broken large message are passed over; what follows tells where the damage ends.
        let same = |entry: &sled::Result<(sled::IVec, sled::IVec)>| {
            entry.as_ref().is_ok_and(|(key, _)| keys::parse_pack(key).is_some_and(|(at, _)| at == first))
        };
        while packs.next_if(same).is_some() {}
        let following = packs.peek().and_then(|entry| entry.as_ref().ok());
        damage.next = following.and_then(|(key, _)| keys::parse_pack(key)).map(|(next, _)| next);
    }
    Ok(Some(found))
}

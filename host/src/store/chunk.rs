//! Chunks: the trees in which a segment keeps its packs, a few packs each.
//!
//! Why not one tree: sled splits a leaf of 17 values and writes both halves anew, so that each pack reached the
//! disk nearly four times (measured: 3.7 bytes written for each byte of messages, 1.7 of them kept). A chunk is
//! one leaf that is only ever added to: 1.1 written and kept, for two thirds of the CPU time.

use std::iter::Peekable;
use std::ops::ControlFlow;

use bytes::Bytes;
use parking_lot::RwLock;

use super::database::{Database, guarded};
use super::error::StoreError;
use super::keys;
use super::pack::{PACK_BYTES, Pack, whole_length};

/// A chunk gets no more packs once it holds so many bytes: nine full packs. At the tenth change since a leaf was
/// written whole, sled writes it whole again.
const CHUNK_BYTES: usize = 8 * PACK_BYTES + PACK_BYTES / 2;

/// First offsets of the chunks of an open database, ascending.
#[derive(Debug)]
pub(super) struct Chunks(RwLock<Vec<u64>>);

impl Chunks {
    /// Those that a database has.
    pub(super) fn of(db: &sled::Db) -> Self {
        let names = db.tree_names();
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| keys::parse_chunk(name)).collect();
        firsts.sort_unstable();
        Self(RwLock::new(firsts))
    }

    fn list(&self) -> Vec<u64> {
        self.0.read().clone()
    }

    fn add(&self, first: u64) {
        let mut firsts = self.0.write();
        if let Err(at) = firsts.binary_search(&first) {
            firsts.insert(at, first);
        }
    }
}

/// The chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Filling(Option<(u64, usize)>);

impl Filling {
    /// Writes a finished pack, in parts when it is one large message. Begins a chunk when there is none, as after
    /// opening, or when it is full. Returns the bytes written.
    pub(super) fn append(&mut self, database: &Database, first: u64, pack: &[u8]) -> Result<u64, StoreError> {
        let most = usize::from(u16::MAX) * PACK_BYTES;
        if pack.len() > most {
            return Err(StoreError::TooLarge { what: "a message", bytes: pack.len(), most });
        }
        let (chunk, filled) = self.0.filter(|(_, filled)| *filled < CHUNK_BYTES).unwrap_or((first, 0));
        database.with_chunks(|db, chunks| {
            chunks.add(chunk);
            guarded(|| {
                let tree = db.open_tree(keys::chunk(chunk))?;
                for (part, bytes) in (0..).zip(pack.chunks(PACK_BYTES)) {
                    tree.insert(keys::pack(first, part), bytes)?;
                }
                Ok(())
            })
        })?;
        self.0 = Some((chunk, filled + pack.len()));
        Ok(pack.len() as u64)
    }
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

/// Visits packs in ascending order, beginning with the one that holds `from`, or the next one.
pub(super) fn forward(
    database: &Database,
    from: u64,
    visit: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    database.with_chunks(|db, chunks| {
        let chunks = chunks.list();
        let start = guarded(|| last_before(db, &chunks, from.saturating_add(1)))?.unwrap_or(from);
        let mut packs = entries(db, &chunks, start).peekable();
        while let Some(found) = guarded(|| gather(&mut packs))? {
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
    database.with_chunks(|db, chunks| {
        let chunks = chunks.list();
        let mut bound = before;
        while let Some(first) = guarded(|| last_before(db, &chunks, bound))? {
            let Some(found) = guarded(|| gather(&mut entries(db, &chunks, first).peekable()))? else { break };
            bound = first;
            if visit(found).is_break() {
                break;
            }
        }
        Ok(())
    })
}

/// Whether there never was a pack.
pub(super) fn is_empty(database: &Database) -> Result<bool, StoreError> {
    database.with_chunks(|_, chunks| Ok(chunks.list().is_empty()))
}

/// Removes the pack that begins at `first`.
pub(super) fn remove(database: &Database, first: u64) -> Result<(), StoreError> {
    database.with_chunks(|db, chunks| {
        guarded(|| {
            for chunk in chunks.list() {
                let tree = db.open_tree(keys::chunk(chunk))?;
                for key in tree.range(keys::pack(first, 0)..=keys::pack(first, u16::MAX)).keys() {
                    tree.remove(key?)?;
                }
            }
            Ok(())
        })
    })
}

type Entry = sled::Result<(sled::IVec, sled::IVec)>;

/// Position of the first chunk that begins at `offset` or later.
fn position(chunks: &[u64], offset: u64) -> usize {
    chunks.partition_point(|first| *first < offset)
}

/// Where the last pack begins that begins before `bound`.
fn last_before(db: &sled::Db, chunks: &[u64], bound: u64) -> sled::Result<Option<u64>> {
    let (earlier, _) = chunks.split_at(position(chunks, bound));
    // A chunk may be empty: a crash came before its first pack, or left a part that was removed.
    for chunk in earlier.iter().rev() {
        let last = db.open_tree(keys::chunk(*chunk))?.get_lt(keys::pack(bound, 0))?;
        if let Some((first, _)) = last.and_then(|(key, _)| keys::parse_pack(&key)) {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Everything from the pack that begins at `from` on.
fn entries(db: &sled::Db, chunks: &[u64], from: u64) -> impl Iterator<Item = Entry> {
    let holding = position(chunks, from.saturating_add(1)).saturating_sub(1);
    let trees = chunks.iter().skip(holding).map(|chunk| db.open_tree(keys::chunk(*chunk)));
    trees.flat_map(move |tree| {
        let (entries, error) = match tree {
            Ok(tree) => (Some(tree.range(keys::pack(from, 0)..)), None),
            Err(error) => (None, Some(Err(error))),
        };
        entries.into_iter().flatten().chain(error)
    })
}

/// The next pack of an iteration, put together from its parts.
fn gather(packs: &mut Peekable<impl Iterator<Item = Entry>>) -> sled::Result<Option<Found>> {
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
        let follows = |entry: &Entry, part| {
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
        let same = |entry: &Entry| {
            entry.as_ref().is_ok_and(|(key, _)| keys::parse_pack(key).is_some_and(|(at, _)| at == first))
        };
        while packs.next_if(same).is_some() {}
        let following = packs.peek().and_then(|entry| entry.as_ref().ok());
        damage.next = following.and_then(|(key, _)| keys::parse_pack(key)).map(|(next, _)| next);
    }
    Ok(Some(found))
}

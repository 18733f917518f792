//! Key-value spaces: plugin state (loaded once, then written behind) and those of storage plugins.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::database::{Database, SharedDatabase};
use super::error::StoreError;
use super::generation::Generation;
use super::keys;
use super::pairs::{self, Area, MOST_BYTES, Pair};
use super::posts;
use super::queue::StateValue;
use crate::message::now_us;

/// Most pairs that one scan gives.
const SCAN_PAIRS: usize = 1_000;
/// Most bytes of keys and values that one scan gives, but one pair at least.
const SCAN_BYTES: usize = 1 << 20;
/// Expired pairs that one commit takes away, most, but for twice as many as it writes: its cost stays bounded, and
/// what expires never becomes more.
const SWEEP: usize = 128;
/// A commit flushes when the last flush is at least so long ago.
const FLUSH_AGE: Duration = Duration::from_millis(100);

/// One change by a storage plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces.
    Put {
        /// 1 to 512 bytes.
        key: Vec<u8>,
        /// At most 256 KiB by contract.
        value: Vec<u8>,
        /// When it is gone, Unix microseconds; none = never.
        expires_us: Option<u64>,
    },
    /// Deleting what is not there is fine.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Puts something into the outbox, where it stays until [`StorageSpace::remove_post`].
    Post {
        /// Its place in the queue: above all that wait.
        number: u64,
        /// What is to be sent, as the sender encodes it.
        bytes: Vec<u8>,
    },
}

/// How far a storage plugin has come in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The life of the log.
    pub epoch: u64,
    /// The first offset that it has not seen.
    pub next: u64,
}

/// The key space of one storage plugin, in one of its generations. Clones share it; one thread commits, others
/// may read.
#[derive(Clone, Debug)]
pub struct StorageSpace {
    pub(super) database: SharedDatabase,
    pub(super) tree: Arc<str>,
    pub(super) generation: Generation,
}

impl StorageSpace {
    pub(super) fn open(database: SharedDatabase, name: &str) -> Result<Self, StoreError> {
        let tree = keys::space_tree(name);
        let generation = database.tree(&tree, Generation::live)?;
        Ok(Self { database, tree: tree.into(), generation })
    }

    /// Runs `work` where the pairs lie.
    fn area<R>(&self, work: impl FnOnce(Area<'_>) -> sled::Result<R>) -> Result<R, StoreError> {
        let prefix = self.generation.prefix();
        self.database.tree(&self.tree, |tree| work(Area { tree, prefix: &prefix }))
    }

    /// The pair of a key; none when absent or expired.
    pub fn get(&self, key: &[u8]) -> Result<Option<Pair>, StoreError> {
        self.area(|area| pairs::get(area, key, now_us()))
    }

    /// Pairs with `start` <= key < `end` (empty `end`: no upper end), ascending, or descending when `reverse`.
    /// At most `limit`, 1,000 and 1 MiB: go on from the last key. Expired ones are left out.
    pub fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let low = keys::prefixed(keys::PAIR, start);
        let high = if end.is_empty() { vec![keys::PAIR + 1] } else { keys::prefixed(keys::PAIR, end) };
        if low >= high {
            return Ok(Vec::new());
        }
        self.area(|area| {
            let range = (Bound::Included(area.key(low)), Bound::Excluded(area.key(high)));
            let (range, limit) = (area.tree.range(range), limit.min(SCAN_PAIRS));
            if reverse { collect(area, range.rev(), limit) } else { collect(area, range, limit) }
        })
    }

    /// Applies writes and posts, in order, and moves cursors, all in one atomic step. On the disk within a second: a
    /// crash may take the last commits back, writes and cursor together, so that they are made again.
    pub fn commit(&self, writes: &[Write], cursors: &[(&str, Cursor)]) -> Result<(), StoreError> {
        let last = last_of_each_key(writes)?;
        self.area(|area| {
            let mut batch = sled::Batch::default();
            pairs::sweep(area, &mut batch, now_us(), SWEEP.max(2 * last.len()))?;
            for write in last.values() {
                match write {
                    Write::Put { key, value, expires_us } => {
                        pairs::put(area, &mut batch, key, value, *expires_us)?;
                    }
                    Write::Delete { key } => drop(pairs::remove(area, &mut batch, key)?),
                    Write::Post { .. } => {}
                }
            }
            for write in writes {
                if let Write::Post { number, bytes } = write {
                    posts::put(&mut batch, *number, bytes)?;
                }
            }
            for (log, cursor) in cursors {
                let key = area.key(keys::prefixed(keys::CURSOR, log.as_bytes()));
                batch.insert(key, keys::numbers(&[cursor.epoch, cursor.next]));
            }
            area.tree.apply_batch(batch)
        })?;
        self.database.note_write();
        self.database.sync_if_due(FLUSH_AGE)
    }

    /// How far it has come in a log; none = never read it.
    pub fn cursor(&self, log: &str) -> Result<Option<Cursor>, StoreError> {
        let key = keys::prefixed(keys::CURSOR, log.as_bytes());
        let stored = self.area(|area| area.tree.get(area.key(key)))?;
        let Some(stored) = stored else { return Ok(None) };
        match keys::parse_numbers(&stored) {
            Some([epoch, next]) => Ok(Some(Cursor { epoch, next })),
            None => Err(StoreError::corrupt(self.database.dir(), format!("the cursor in log {log}"))),
        }
    }

    /// Returns when all commits are on the disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.sync_if_due(Duration::ZERO)
    }
}

/// Only the last write to each key counts; that also keeps [`pairs::put`] right, which looks at the tree and
/// not at the batch.
fn last_of_each_key(writes: &[Write]) -> Result<HashMap<&[u8], &Write>, StoreError> {
    let mut last = HashMap::with_capacity(writes.len());
    for write in writes {
        let key = match write {
            Write::Put { key, value, .. } => {
                check_length(value.len())?;
                key
            }
            Write::Delete { key } => key,
            Write::Post { .. } => continue,
        };
        last.insert(key.as_slice(), write);
    }
    Ok(last)
}

fn check_length(bytes: usize) -> Result<(), StoreError> {
    if bytes > MOST_BYTES {
        return Err(StoreError::TooLarge { what: "a value", bytes, most: MOST_BYTES });
    }
    Ok(())
}

fn collect(
    area: Area<'_>,
    range: impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>>,
    limit: usize,
) -> sled::Result<Vec<Pair>> {
    let now = now_us();
    let mut found = Vec::new();
    let mut bytes = 0;
    for entry in range {
        if found.len() >= limit {
            break;
        }
        let (key, stored) = entry?;
        let Some(pair) =
            pairs::decode(area, key.get(area.prefix.len() + 1..).unwrap_or_default(), &stored, now)?
        else {
            continue;
        };
        bytes += pair.key.len() + pair.value.len();
        if bytes > SCAN_BYTES && !found.is_empty() {
            break;
        }
        found.push(pair);
    }
    Ok(found)
}

/// Writes plugin state that the writer thread has gathered: one atomic step for each space.
pub(super) fn write_state(
    database: &Database,
    name: &str,
    writes: &HashMap<Vec<u8>, Option<StateValue>>,
) -> Result<(), StoreError> {
    database.tree(&keys::space_tree(name), |tree| {
        let (area, mut batch) = (Area::whole(tree), sled::Batch::default());
        for (key, value) in writes {
            match value {
                Some(value) => pairs::put(area, &mut batch, key, &value.bytes, value.expires_us)?,
                None => drop(pairs::remove(area, &mut batch, key)?),
            }
        }
        tree.apply_batch(batch)
    })
}

/// Reads a whole space of plugin state; expired pairs are taken away.
pub(super) fn load(database: &Database, name: &str) -> Result<Vec<Pair>, StoreError> {
    let now = now_us();
    database.tree(&keys::space_tree(name), |tree| {
        let (area, mut batch) = (Area::whole(tree), sled::Batch::default());
        pairs::sweep(area, &mut batch, now, usize::MAX)?;
        tree.apply_batch(batch)?;
        let mut all = Vec::new();
        for entry in tree.range(vec![keys::PAIR]..vec![keys::PAIR + 1]) {
            let (key, stored) = entry?;
            all.extend(pairs::decode(area, key.get(1..).unwrap_or_default(), &stored, now)?);
        }
        Ok(all)
    })
}

/// Removes a space and all that is in it.
pub(super) fn drop_space(database: &Database, name: &str) -> Result<(), StoreError> {
    database.with(|db| db.drop_tree(keys::space_tree(name)))?;
    database.sync()
}

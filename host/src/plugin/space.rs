//! A binding's `state`: an ordered key-value space in memory, written behind the log.
//!
//! Passes of several shards work on it at once, each through its own [`Transaction`]; a commit checks
//! that nothing it read has changed since. See `wit/state.wit` for what plugins are promised.

mod transaction;

pub use transaction::{Change, StateFault, Transaction};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

/// Longest key, in bytes.
pub const KEY_BYTES: usize = 512;
/// Longest value, in bytes.
pub const VALUE_BYTES: usize = 256 * 1024;
/// Most pairs of one scan.
pub const SCAN_PAIRS: usize = 1_000;
/// Most key and value bytes of one scan.
pub const SCAN_BYTES: usize = 1024 * 1024;
/// Expired pairs removed with each commit, so that no commit pays for a heap of them.
const SWEEP: usize = 16;

/// A value and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// At most [`VALUE_BYTES`].
    pub bytes: Arc<[u8]>,
    /// Unix microseconds; never seen after it.
    pub expires_us: Option<u64>,
}

/// A binding's key-value space.
#[derive(Debug)]
pub struct Space {
    /// The name in the store: file name and binding name.
    pub name: Arc<str>,
    /// Order in which several spaces are locked, so that no two passes wait for each other.
    rank: u64,
    quota: AtomicUsize,
    /// Bytes of keys and values, for whoever does not want to wait for the lock.
    held: Arc<AtomicU64>,
    pairs: Mutex<Pairs>,
}

/// The pairs, under the lock.
#[derive(Debug, Default)]
pub struct Pairs {
    map: BTreeMap<Vec<u8>, Entry>,
    expiries: BTreeSet<(u64, Vec<u8>)>,
    bytes: usize,
    held: Arc<AtomicU64>,
    version: u64,
    /// Another space has taken its place, or is about to: nothing is committed here.
    sealed: bool,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    /// Never given twice in the life of the space; absent keys count as 0.
    version: u64,
}

static RANK: AtomicU64 = AtomicU64::new(0);

impl Space {
    /// A space with what the store kept.
    pub fn new(name: Arc<str>, quota: usize, kept: impl IntoIterator<Item = (Vec<u8>, Value)>) -> Self {
        let mut pairs = Pairs::default();
        for (key, value) in kept {
            pairs.put(key, Some(value));
        }
        pairs.held.store(pairs.bytes as u64, Ordering::Relaxed);
        Self {
            name,
            held: Arc::clone(&pairs.held),
            quota: AtomicUsize::new(quota),
            rank: RANK.fetch_add(1, Ordering::Relaxed),
            pairs: Mutex::new(pairs),
        }
    }

    /// What it holds now, in a space of nobody's.
    pub fn copy(&self) -> Self {
        let held: Vec<_> =
            self.lock().map.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
        Self::new(Arc::clone(&self.name), self.quota(), held)
    }

    /// Its place in the order in which several spaces are locked.
    pub fn rank(&self) -> u64 {
        self.rank
    }

    /// Most bytes of keys and values.
    pub fn quota(&self) -> usize {
        self.quota.load(Ordering::Relaxed)
    }

    /// Another quota, for what is written from now on.
    pub fn set_quota(&self, bytes: usize) {
        self.quota.store(bytes, Ordering::Relaxed);
    }

    /// From now on every commit is a conflict. Returns what it holds.
    pub fn seal(&self) -> Vec<(Vec<u8>, Value)> {
        let mut pairs = self.pairs.lock();
        pairs.sealed = true;
        pairs.all()
    }

    /// Commits are taken again.
    pub fn unseal(&self) {
        self.pairs.lock().sealed = false;
    }

    /// What it holds, expired pairs too.
    pub fn pairs(&self) -> Vec<(Vec<u8>, Value)> {
        self.pairs.lock().all()
    }

    /// Locks the space for a commit.
    pub fn lock(&self) -> MutexGuard<'_, Pairs> {
        self.pairs.lock()
    }

    /// Bytes of keys and values, kept up to date.
    pub fn held(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.held)
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.pairs.lock().bytes
    }
}

impl Pairs {
    fn all(&self) -> Vec<(Vec<u8>, Value)> {
        self.map.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect()
    }

    /// The pair's value, unless expired, and its version.
    fn get(&self, key: &[u8], now_us: u64) -> (Option<Value>, u64) {
        match self.map.get(key) {
            None => (None, 0),
            Some(entry) if expired(&entry.value, now_us) => (None, entry.version),
            Some(entry) => (Some(entry.value.clone()), entry.version),
        }
    }

    /// Live pairs of a range with their versions. `end` empty = open.
    fn range<'a>(
        &'a self,
        start: &[u8],
        end: &[u8],
    ) -> Box<dyn DoubleEndedIterator<Item = (&'a [u8], &'a Value, u64)> + 'a> {
        if !end.is_empty() && start >= end {
            return Box::new(std::iter::empty());
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let range = self.map.range::<[u8], _>((Bound::Included(start), upper));
        Box::new(range.map(|(key, entry)| (key.as_slice(), &entry.value, entry.version)))
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Value>) {
        if let Some(old) = self.map.remove(&key) {
            self.bytes -= key.len() + old.value.bytes.len();
            if let Some(at) = old.value.expires_us {
                self.expiries.remove(&(at, key.clone()));
            }
        }
        let Some(value) = value else { return };
        self.version += 1;
        self.bytes += key.len() + value.bytes.len();
        if let Some(at) = value.expires_us {
            self.expiries.insert((at, key.clone()));
        }
        self.map.insert(key, Entry { value, version: self.version });
    }

    /// Deletions of a few pairs that have expired, to go first among a commit's changes.
    pub fn sweep(&self, now_us: u64) -> Vec<Change> {
        let due = self.expiries.iter().take_while(|(at, _)| *at <= now_us).take(SWEEP);
        due.map(|(_, key)| Change { key: key.clone(), value: None }).collect()
    }

    /// Applies a commit.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            self.put(change.key, change.value);
        }
        self.held.store(self.bytes as u64, Ordering::Relaxed);
    }
}

fn expired(value: &Value, now_us: u64) -> bool {
    value.expires_us.is_some_and(|at| at <= now_us)
}

/// Locks several spaces in the one order that all passes use.
pub fn lock_all<'a>(spaces: impl IntoIterator<Item = &'a Arc<Space>>) -> Vec<MutexGuard<'a, Pairs>> {
    let mut spaces: Vec<_> = spaces.into_iter().collect();
    spaces.sort_by_key(|space| space.rank);
    spaces.into_iter().map(|space| space.lock()).collect()
}

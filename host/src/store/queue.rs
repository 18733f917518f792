//! The queue between everybody and the writer thread: bounded, one lock, all or nothing.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::error::{StoreError, SubmitError};
use super::log::Log;
use crate::message::Message;

/// Called on the writer thread, once: must not block.
pub type OnDurable = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A value of plugin state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateValue {
    /// At most 256 KiB by contract; the store itself takes up to 2 GiB.
    pub bytes: Bytes,
    /// When it is gone, Unix microseconds.
    pub expires_us: Option<u64>,
}

/// Bookkeeping cost of one record or state write, in bytes, so that empty messages are bounded too.
const ENTRY_BYTES: usize = 96;

/// The most that may wait of what takes no room from anybody. A message is at most 1 MiB and its metadata 24 KiB.
const ASIDE: Bounds = Bounds { bytes: 8 << 20, entries: 1 << 15 };

/// State writes that wait: the last one for each key of each space.
pub(super) type StateWrites = HashMap<Arc<str>, HashMap<Vec<u8>, Option<StateValue>>>;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Entry>,
    pub(super) state: Vec<StateWrite>,
    pub(super) waiters: Vec<OnDurable>,
}

/// A message for a log.
pub(super) struct Entry {
    pub(super) log: usize,
    pub(super) offset: u64,
    pub(super) message: Message,
}

/// A change of a plugin's state.
pub(super) struct StateWrite {
    pub(super) space: Arc<str>,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<StateValue>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.state.is_empty() && self.waiters.is_empty()
    }

    /// Empties it and keeps its memory, up to a bound.
    pub(super) fn clear(&mut self) {
        const KEEP: usize = 16 * 1024;
        self.records.clear();
        self.records.shrink_to(KEEP);
        self.state.clear();
        self.state.shrink_to(KEEP);
        self.waiters.clear();
    }
}

/// What a submit fills. Its lock is held meanwhile: do nothing slow.
pub struct Queue {
    pub(super) batch: Batch,
    pub(super) logs: Vec<Sequence>,
    /// Bytes and entries that wait or are being written.
    pub(super) bytes: usize,
    pub(super) entries: usize,
    pub(super) bounds: Bounds,
    /// Bytes and entries of [`Self::record_aside`] that wait or are being written, beside those above.
    pub(super) aside: (usize, usize),
    refused: Option<SubmitError>,
}

/// Where a log stands.
pub(super) struct Sequence {
    pub(super) log: Log,
    pub(super) next: u64,
}

/// The most that may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) entries: usize,
}

/// Lengths to go back to when a submit is refused.
struct Saved {
    records: usize,
    state: usize,
    waiters: usize,
    bytes: usize,
    entries: usize,
}

impl Queue {
    pub(super) fn new(logs: Vec<Log>, bounds: Bounds) -> Self {
        let logs = logs.into_iter().map(|log| Sequence { next: log.next_offset(), log }).collect();
        Self { batch: Batch::default(), logs, bytes: 0, entries: 0, bounds, aside: (0, 0), refused: None }
    }

    /// Puts a message into the log at position `log` of `Store::logs`. `offset` must be the log's next one, and
    /// there must be room, else nothing of the whole submit is taken.
    pub fn record(&mut self, log: usize, offset: u64, message: Message) {
        if self.refused.is_some() {
            return;
        }
        let size = message.size();
        match self.logs.get_mut(log) {
            Some(sequence) if sequence.next == offset => sequence.next += 1,
            other => {
                let expected = other.map_or(0, |sequence| sequence.next);
                self.refused = Some(SubmitError::Offset { log, given: offset, expected });
                return;
            }
        }
        self.batch.records.push(Entry { log, offset, message });
        self.count(size);
    }

    /// Puts a message into a log if there is room for it beside all bounds, so that it takes none from anybody. Alone in
    /// its submit. False: there was none.
    pub fn record_aside(&mut self, log: usize, message: Message) -> bool {
        let size = message.size() + ENTRY_BYTES;
        let (bytes, entries) = self.aside;
        let Some(sequence) = self.logs.get_mut(log) else { return false };
        if bytes + size > ASIDE.bytes || entries >= ASIDE.entries {
            return false;
        }
        self.aside = (bytes + size, entries + 1);
        self.batch.records.push(Entry { log, offset: sequence.next, message });
        sequence.next += 1;
        true
    }

    /// The offset that the next message of a log must have; 0 for an unknown one.
    pub fn next_offset(&self, log: usize) -> u64 {
        self.logs.get(log).map_or(0, |sequence| sequence.next)
    }

    /// The present life of a log.
    pub fn epoch(&self, log: usize) -> u64 {
        self.logs.get(log).map_or(0, |sequence| sequence.log.epoch())
    }

    /// Sets a key of a plugin's state space, or removes it. Written after the records of this submit.
    pub fn state(&mut self, space: &Arc<str>, key: Vec<u8>, value: Option<StateValue>) {
        if self.refused.is_some() {
            return;
        }
        let size = key.len() + value.as_ref().map_or(0, |value| value.bytes.len());
        self.batch.state.push(StateWrite { space: space.clone(), key, value });
        self.count(size);
    }

    /// Calls `done` when everything submitted so far is on the disk, or when it failed. Not called at all when
    /// this submit is refused.
    pub fn on_durable(&mut self, done: OnDurable) {
        if self.refused.is_none() {
            self.batch.waiters.push(done);
        }
    }

    fn count(&mut self, size: usize) {
        self.bytes += size + ENTRY_BYTES;
        self.entries += 1;
        // One entry that is larger than the whole bound may pass alone, else it could never be written.
        let over = self.bytes > self.bounds.bytes || self.entries > self.bounds.entries;
        if over && self.entries > 1 {
            self.refused = Some(SubmitError::Full { bytes: self.bytes, records: self.entries });
        }
    }

    /// Runs `fill`, and undoes what it did when it was refused.
    pub(super) fn fill<R>(&mut self, fill: impl FnOnce(&mut Self) -> R) -> Result<R, SubmitError> {
        let saved = Saved {
            records: self.batch.records.len(),
            state: self.batch.state.len(),
            waiters: self.batch.waiters.len(),
            bytes: self.bytes,
            entries: self.entries,
        };
        let result = fill(self);
        let Some(refused) = self.refused.take() else {
            for entry in self.batch.records.iter().skip(saved.records) {
                if let Some(sequence) = self.logs.get(entry.log) {
                    sequence.log.set_assigned(sequence.next);
                }
            }
            return Ok(result);
        };
        for entry in self.batch.records.drain(saved.records..) {
            if let Some(sequence) = self.logs.get_mut(entry.log) {
                sequence.next = sequence.next.min(entry.offset);
            }
        }
        self.batch.state.truncate(saved.state);
        self.batch.waiters.truncate(saved.waiters);
        self.bytes = saved.bytes;
        self.entries = saved.entries;
        Err(match refused {
            SubmitError::Full { .. } => SubmitError::Full { bytes: saved.bytes, records: saved.entries },
            other => other,
        })
    }

    /// More than half of a bound waits.
    pub(super) fn is_half_full(&self) -> bool {
        self.bytes > self.bounds.bytes / 2 || self.entries > self.bounds.entries / 2
    }
}

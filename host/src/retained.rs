//! Retained messages: of each topic the last message that was published with `retain`, for those who subscribe
//! later.
//!
//! They are held in memory, within their limits, and written behind the log like the state of plugins: the
//! message and what it retains are handed to the writer in one step, and the writer flushes the log first. So
//! after a crash the log may know more than the state, never less, and [`Retained::load`] makes up for it by
//! reading the log from the *mark* on: the offset up to which everything in that log has been written here. A
//! mark is written with whatever it stands for, in one batch.
//!
//! Changes are made by the sequencer, under the lock of the topic's log: [`Retained::reserve`] before a message
//! is accepted, [`Retained::put`] after it was handed to its readers.

mod record;
mod repair;
mod table;

pub use table::{Kept, Looked};

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use weir_contract::topic::{self, Pattern};

use crate::message::{Message, Outcome, Place, Refusal};
use crate::metrics::RetainedMetrics;
use crate::store::{Log, OnDurable, Queue, StateValue, Store, StoreError, SubmitError, mark_here, mark_key};
use table::Table;

/// The space in the store: topic → record, NUL and a log's name → that log's mark.
const SPACE: &str = "$retained";
/// Messages that a log may be ahead of its mark before the mark follows: what a start after a crash reads.
const BEHIND: u64 = 10_000;
/// Bytes that are written together of what was found in the logs.
const WRITE_BACK: usize = 4 << 20;

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Messages, one of each topic.
    pub messages: usize,
    /// Their bytes: topics, metadata and payloads.
    pub bytes: usize,
}

impl Most {
    /// No limit.
    pub const ALL: Self = Self { messages: usize::MAX, bytes: usize::MAX };
}

/// The retained messages of all topics.
pub struct Retained {
    store: Store,
    space: Arc<str>,
    most: Most,
    table: RwLock<Table>,
    /// The mark of each log that was handed to the writer last, by the log's name.
    marks: Mutex<BTreeMap<Arc<str>, u64>>,
    /// False: what logs know beyond their marks is not all written, so the marks stay where they are.
    marking: AtomicBool,
    metrics: RetainedMetrics,
}

/// Room for what a pass retains: given back when it is dropped, by then it is taken.
#[derive(Debug)]
pub struct Reserved<'a> {
    retained: &'a Retained,
    messages: usize,
    bytes: usize,
}

/// Whether a message changes what is retained: the router's own topics retain nothing.
pub fn is_kept(message: &Message) -> bool {
    message.is_retained() && !topic::is_reserved(&message.topic)
}

/// What the state is to be given for a message before its place is known; none: its topic retains nothing any more.
pub type Draft = Option<Vec<u8>>;

impl Retained {
    /// What the store has kept, made up to what the logs know.
    pub fn load(store: Store, most: Most, metrics: RetainedMetrics) -> Result<Arc<Self>, StoreError> {
        let mut table = Table::default();
        let repair::Found { topics, marks } = repair::read(&store, &mut table)?;
        let (table, marks, marking) = (RwLock::new(table), Mutex::new(marks), AtomicBool::new(true));
        let retained = Self { store, space: SPACE.into(), most, table, marks, marking, metrics };
        if let Err(error) = retained.write_back(&topics) {
            // As long as the marks stay where they are it is found again at the next start.
            retained.marking.store(false, Ordering::Relaxed);
            tracing::error!(%error, "what was read from the logs is not written: retained messages");
        }
        // Before anything is published: a topic that is another log's by now would be taken from the one before.
        retained.follow(true);
        let (messages, bytes) = retained.usage();
        if messages > most.messages || bytes > most.bytes {
            let what = "more is retained than [limits] allows: nothing is added until it is less";
            tracing::warn!(messages, bytes, "{what}");
        }
        retained.count(&retained.table.read());
        Ok(Arc::new(retained))
    }

    /// Writes what was found in the logs only. Waits for the disk.
    fn write_back(&self, topics: &BTreeSet<Arc<str>>) -> Result<(), SubmitError> {
        let mut topics = topics.iter().peekable();
        while topics.peek().is_some() {
            let (done, wait) = std::sync::mpsc::sync_channel(1);
            self.store.writer().submit(|queue| {
                let mut bytes = 0;
                while bytes < WRITE_BACK
                    && let Some(topic) = topics.next()
                {
                    bytes += self.write_one(queue, topic);
                }
                queue.on_durable(Box::new(move |result| drop(done.send(result))));
            })?;
            wait.recv().map_err(|_| SubmitError::Closed)?.map_err(SubmitError::Broken)?;
        }
        Ok(())
    }

    fn write_one(&self, queue: &mut Queue, topic: &str) -> usize {
        let table = self.table.read();
        let kept = table.get(topic);
        let place = kept.and_then(|kept| kept.place.as_ref());
        let draft = kept.and_then(|kept| draft(&kept.message, place.map(|place| &*place.log)));
        let bytes = topic.len() + draft.as_ref().map_or(0, Vec::len);
        self.submit(queue, topic, kept.and_then(|kept| kept.expires_us), draft, place);
        bytes
    }

    /// Notes in the state that it knows all of this log so far. To be called in the submit that makes it so.
    pub fn mark(&self, queue: &mut Queue, log: &Log) {
        if !self.marking.load(Ordering::Relaxed) {
            return;
        }
        let next = mark(queue, &self.space, log);
        self.marks.lock().insert(Arc::clone(log.name()), next);
    }

    /// Lets the marks follow their logs where those are far ahead; with `all`, wherever they are. Never waits.
    pub fn follow(&self, all: bool) {
        let most = if all { 1 } else { BEHIND };
        let marks = self.marks.lock().clone();
        let is_behind =
            |log: &&Log| log.assigned().saturating_sub(marks.get(log.name()).copied().unwrap_or(0)) >= most;
        let behind: Vec<&Log> = self.store.logs().iter().filter(is_behind).collect();
        if !behind.is_empty() {
            // A writer that takes nothing now does so later.
            drop(self.store.writer().submit(|queue| behind.iter().for_each(|log| self.mark(queue, log))));
        }
    }

    /// Room for what these messages retain; none: they retain nothing. Err: there is not enough, and none is taken.
    /// What a pass retains twice is counted twice until it is accepted.
    pub fn reserve(&self, messages: &[Message]) -> Result<Option<Reserved<'_>>, Outcome> {
        if !messages.iter().any(is_kept) {
            return Ok(None);
        }
        let mut table = self.table.write();
        let mut reserved = Reserved { retained: self, messages: 0, bytes: 0 };
        for message in messages.iter().filter(|message| is_kept(message) && !message.payload.is_empty()) {
            let before = table.get(&message.topic).map(|kept| kept.message.size());
            reserved.messages += usize::from(before.is_none());
            reserved.bytes += message.size().saturating_sub(before.unwrap_or(0));
        }
        let result = table.reserve(reserved.messages, reserved.bytes, self.most);
        if let Err(reason) = result {
            drop(table);
            (reserved.messages, reserved.bytes) = (0, 0);
            return Err(Outcome::Invalid(Refusal { reason, ..Refusal::default() }));
        }
        Ok(Some(reserved))
    }

    /// Hands a topic's draft to the writer, in the submit in which its message is.
    pub fn submit(
        &self,
        queue: &mut Queue,
        topic: &str,
        expires_us: Option<u64>,
        draft: Draft,
        place: Option<&Place>,
    ) {
        let value = draft.map(|draft| StateValue { bytes: record::placed(draft, place), expires_us });
        queue.state(&self.space, topic.as_bytes().to_vec(), value);
    }

    /// A message that was accepted is its topic's retained one from now on, or takes it away. `log`: the position
    /// of its log.
    pub fn put(&self, message: &Message, place: Option<(usize, &Place)>) {
        let mut table = self.table.write();
        if message.payload.is_empty() {
            table.remove(&message.topic);
        } else {
            table.insert(Kept::new(message.clone(), place));
        }
        self.count(&table);
    }

    /// Takes away what a topic retains; the caller holds the lock of the topic's log. `done` is called when that is
    /// on the disk. False: there was nothing.
    pub fn remove(&self, topic: &str, done: OnDurable) -> Result<bool, SubmitError> {
        self.remove_if(
            topic,
            |_| true,
            |queue| {
                // Else a start after a crash might find it in a log again.
                self.store.logs().iter().for_each(|log| self.mark(queue, log));
                queue.on_durable(done);
            },
        )
    }

    /// The same, if it has expired.
    pub fn remove_expired(&self, topic: &str, now_us: u64) -> Result<bool, SubmitError> {
        self.remove_if(topic, |kept| kept.has_expired(now_us), |_| {})
    }

    fn remove_if(
        &self,
        topic: &str,
        which: impl FnOnce(&Kept) -> bool,
        also: impl FnOnce(&mut Queue),
    ) -> Result<bool, SubmitError> {
        if !self.table.read().get(topic).is_some_and(which) {
            return Ok(false);
        }
        self.store.writer().submit(|queue| {
            queue.state(&self.space, topic.as_bytes().to_vec(), None);
            also(queue);
        })?;
        let mut table = self.table.write();
        table.remove(topic);
        self.count(&table);
        Ok(true)
    }

    /// What a topic retains, expired or not.
    pub fn get(&self, topic: &str) -> Option<Kept> {
        self.table.read().get(topic).cloned()
    }

    /// Whether something may match.
    pub fn may_match(&self, pattern: &Pattern) -> bool {
        self.table.read().may_match(pattern)
    }

    /// Shows what matches and has not expired, in order of topics behind `after`, until `see` has enough, or so many
    /// topics were looked at.
    pub fn look(
        &self,
        pattern: &Pattern,
        after: Option<&str>,
        most: usize,
        see: impl FnMut(&Arc<str>, &Kept) -> ControlFlow<()>,
    ) -> Looked {
        self.table.read().look(pattern, after, most, see)
    }

    /// Topics whose retained message has expired, so many at most.
    pub fn expired(&self, now_us: u64, most: usize) -> Vec<Arc<str>> {
        self.table.read().expired(now_us, most)
    }

    /// How many there are, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        self.table.read().usage()
    }

    fn count(&self, table: &Table) {
        let (messages, bytes) = table.usage();
        self.metrics.messages.set(i64::try_from(messages).unwrap_or(i64::MAX));
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl std::fmt::Debug for Retained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retained").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.messages + self.bytes > 0 {
            self.retained.table.write().release(self.messages, self.bytes);
        }
    }
}

/// What the state is to be given for a message that goes to this log.
pub fn draft(message: &Message, log: Option<&str>) -> Draft {
    (!message.payload.is_empty()).then(|| record::draft(message, log.unwrap_or_default()))
}

/// For whoever puts messages into a log that shall retain nothing: they are passed over when the log is read after
/// a crash.
pub fn pass_over(queue: &mut Queue, log: &Log) {
    mark(queue, &SPACE.into(), log);
}

fn mark(queue: &mut Queue, space: &Arc<str>, log: &Log) -> u64 {
    let (mark, next) = mark_here(queue, log);
    queue.state(space, mark_key(log.name()), Some(mark));
    next
}

#[cfg(test)]
mod tests;

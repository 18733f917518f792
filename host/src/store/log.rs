//! A log: an ordered, retained stream of messages, kept as a row of segments.
//!
//! [`Log`] is what readers hold; only the writer thread appends (`append.rs`).

mod append;
mod damage;
mod open;
mod read;
mod retain;
mod take;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use super::epochs::{Carried, Epochs};
use super::error::{Incidents, StoreError};
use super::segment::{Sealed, Segment};
use super::space::Cursor;

pub(super) use append::Appender;
pub(super) use open::open;
pub use read::ReadPage;

/// What a log keeps, and how.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Name of its folder: 1 to 200 bytes without `/`.
    pub name: Arc<str>,
    /// Messages may go when they are older; none = never for that reason.
    pub max_age: Option<Duration>,
    /// Bytes on the disk; at least two segments (8 MiB) are kept.
    pub max_bytes: Option<u64>,
    /// This many messages are kept, and at most a segment more: one is closed at a quarter of it, or at 256.
    pub max_messages: Option<u64>,
    /// A segment is closed at this many bytes of messages, sooner where `max_bytes` is small.
    pub segment_bytes: u64,
    /// Consumers that lag may hold this many bytes against retention, no more.
    pub hold_max_bytes: u64,
    /// It has what plugins have not seen: nobody but the operator may read it.
    pub is_input: bool,
}

impl LogOptions {
    /// One day, 1 GiB, segments of 64 MiB, holds up to 4 GiB.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            max_age: Some(Duration::from_secs(24 * 60 * 60)),
            max_bytes: Some(1 << 30),
            max_messages: None,
            segment_bytes: 64 << 20,
            hold_max_bytes: 4 << 30,
            is_input: false,
        }
    }
}

/// A reader's handle; clones share one log.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    index: usize,
    options: LogOptions,
    dir: PathBuf,
    cache_bytes: u64,
    incidents: Arc<Incidents>,
    /// Replaced whole, so that readers take no lock while they read.
    view: RwLock<Arc<View>>,
    /// Held from reading the view to replacing it.
    changing: Mutex<()>,
    /// Next offset when the log was opened.
    opened_at: u64,
    epoch: AtomicU64,
    assigned: AtomicU64,
    durable: watch::Sender<u64>,
    /// For plain threads; the same number as in `durable`.
    mark: Mutex<u64>,
    moved: Condvar,
    holds: Mutex<HashMap<String, u64>>,
    /// Damage that was reported.
    known: Mutex<damage::Known>,
    /// Sealed segments whose database is open, longest unused first.
    reading: Mutex<VecDeque<Arc<Segment>>>,
}

/// The segments and lives of a log at one moment.
#[derive(Clone, Debug)]
struct View {
    sealed: Vec<(Arc<Segment>, Sealed)>,
    active: Arc<Segment>,
    epochs: Epochs,
}

impl View {
    fn oldest(&self) -> u64 {
        self.sealed.first().map_or(self.active.first, |(segment, _)| segment.first)
    }

    /// What the active segment must know.
    fn carried(&self, created_us: u64) -> Carried {
        let sealed = self.sealed.iter().map(|(segment, sealed)| (segment.first, *sealed)).collect();
        let birth = Some((self.active.first, created_us));
        Carried { epochs: self.epochs.clone(), sealed, clean: None, birth }
    }
}

/// Whether a reader can go on where it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Nothing is missing: read from the next offset.
    Recovered,
    /// Something after the reader's place is gone, or the place is unknown.
    Lost {
        /// The first offset that it has not seen and that may be there.
        oldest: u64,
    },
}

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogUsage {
    /// Number of segments.
    pub segments: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Oldest retained offset.
    pub oldest: u64,
    /// The offset after the last durable one.
    pub next: u64,
}

impl Log {
    /// The configured name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.options.name
    }

    /// Whether it has what plugins have not seen: then nobody but the operator may read it.
    pub fn is_input(&self) -> bool {
        self.0.options.is_input
    }

    /// Its position in `Store::logs`.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// The present life. A new one begins at an unclean start and when the writer has lost records.
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// The life in which an offset was given; for one that is not given yet, the present one.
    pub fn epoch_of(&self, offset: u64) -> u64 {
        self.view().epochs.of(offset)
    }

    /// The offsets of one life of the log, up to `u64::MAX` while it goes on; none if it is not known any more.
    pub fn life(&self, epoch: u64) -> Option<std::ops::Range<u64>> {
        self.view().epochs.range(epoch)
    }

    /// The first offset that was free when the log was opened.
    pub fn next_offset(&self) -> u64 {
        self.0.opened_at
    }

    /// The offset that the next message gets. Exact only for who keeps others from submitting to this log.
    pub fn assigned(&self) -> u64 {
        self.0.assigned.load(Ordering::Acquire)
    }

    /// The place (epoch, offset) of the last message before `offset` that is known to be kept; none if there
    /// never was one, or nothing is known of it any more.
    pub fn place_before(&self, offset: u64) -> Option<(u64, u64)> {
        self.view().epochs.last_before(offset)
    }

    /// The oldest retained offset; the next one to be given when the log is empty.
    pub fn oldest(&self) -> u64 {
        self.view().oldest()
    }

    /// The durable mark: messages below it are on the disk, and only they can be read.
    pub fn durable(&self) -> u64 {
        *self.0.durable.borrow()
    }

    /// The durable mark, to be awaited.
    pub fn durable_watch(&self) -> watch::Receiver<u64> {
        self.0.durable.subscribe()
    }

    /// Blocks until the durable mark is above `offset`, or `timeout` is over. Returns the mark.
    pub fn wait_durable_past(&self, offset: u64, timeout: Duration) -> u64 {
        let deadline = Instant::now() + timeout;
        let mut mark = self.0.mark.lock();
        while *mark <= offset {
            if self.0.moved.wait_until(&mut mark, deadline).timed_out() {
                break;
            }
        }
        *mark
    }

    /// Whether a reader that has last seen (`epoch`, `offset`) misses nothing when it goes on.
    pub fn resume(&self, epoch: u64, offset: u64) -> Resume {
        let view = self.view();
        let assigned = self.0.assigned.load(Ordering::Acquire);
        match view.epochs.range(epoch) {
            Some(range) if range.contains(&offset) && offset < assigned && offset + 1 >= view.oldest() => {
                Resume::Recovered
            }
            // It saw all that is kept of this life, and more, which a crash took: it goes on with the next life.
            Some(range) if offset >= range.end => {
                let next = view.epochs.first_after(epoch).unwrap_or_default();
                Resume::Lost { oldest: view.oldest().max(next) }
            }
            _ => Resume::Lost { oldest: view.oldest() },
        }
    }

    /// Where a consumer with this cursor goes on; without one, at the oldest message. Below the cursor's `next`: it
    /// is beyond the log's end, so the log that it was in is lost, and this one was begun anew.
    pub fn take_up(&self, cursor: Option<Cursor>) -> u64 {
        match cursor {
            Some(cursor) if cursor.next <= self.durable() => cursor.next,
            _ => self.oldest(),
        }
    }

    /// Keeps segments with `offset` and later ones from retention, up to `hold_max_bytes`; none lets go.
    pub fn set_hold(&self, consumer: &str, offset: Option<u64>) {
        let mut holds = self.0.holds.lock();
        match offset {
            Some(offset) => match holds.get_mut(consumer) {
                Some(hold) => *hold = offset,
                None => drop(holds.insert(consumer.to_owned(), offset)),
            },
            None => drop(holds.remove(consumer)),
        }
    }

    /// Who keeps segments from retention, and from which offset on; by name.
    pub fn holds(&self) -> Vec<(String, u64)> {
        let mut all: Vec<_> =
            self.0.holds.lock().iter().map(|(name, offset)| (name.clone(), *offset)).collect();
        all.sort();
        all
    }

    /// The lives of which something is kept, oldest first, with their offsets; the present one ends with
    /// `u64::MAX`.
    pub fn epochs(&self) -> Vec<(u64, Range<u64>)> {
        self.view().epochs.0.iter().map(|span| (span.epoch, span.first..span.next)).collect()
    }

    /// What it holds now.
    pub fn usage(&self) -> LogUsage {
        let view = self.view();
        let sealed: u64 = view.sealed.iter().map(|(_, sealed)| sealed.bytes).sum();
        LogUsage {
            segments: view.sealed.len() + 1,
            bytes: sealed + view.active.bytes(),
            oldest: view.oldest(),
            next: self.durable(),
        }
    }

    /// Bytes on the disk of the segments that hold `offset` and later ones; 0 when there is none yet.
    pub fn bytes_from(&self, offset: u64) -> u64 {
        if offset >= self.durable() {
            return 0;
        }
        let view = self.view();
        let kept = view.sealed.iter().filter(|(_, sealed)| sealed.next > offset);
        kept.map(|(_, sealed)| sealed.bytes).sum::<u64>() + view.active.bytes()
    }

    fn view(&self) -> Arc<View> {
        self.0.view.read().clone()
    }

    /// Notes the next offset that will be given; for [`Self::resume`].
    pub(super) fn set_assigned(&self, next: u64) {
        self.0.assigned.store(next, Ordering::Release);
    }

    /// Moves the durable mark.
    pub(super) fn set_durable(&self, next: u64) {
        self.0.durable.send_replace(next);
        *self.0.mark.lock() = next;
        self.0.moved.notify_all();
    }

    /// Deletes what retention allows. With `pressed` (no room on the disk), holds do not count.
    /// Then it deletes one segment that is held at most. False: nothing went.
    pub(super) fn maintain(&self, now_us: u64, pressed: bool) -> Result<bool, StoreError> {
        let _changing = self.0.changing.lock();
        retain::retain(&self.0, now_us, pressed)
    }

    /// The database of the active segment, to be tampered with.
    #[cfg(test)]
    pub(super) fn active_for_test(&self) -> super::database::SharedDatabase {
        self.view().active.database().unwrap().unwrap()
    }

    /// Deletes the oldest segment behind the readers' back.
    #[cfg(test)]
    pub(super) fn delete_oldest_for_test(&self) {
        self.view().sealed[0].0.delete().unwrap();
    }
}

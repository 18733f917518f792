//! The one writer: everything that must be ordered between logs and plugin state goes through its thread.
//!
//! ```text
//! submit → queue → swap → packs into the logs → flush the logs → write state → flush state → answer, move marks
//! ```
//!
//! So state is never ahead of the log.

mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::database::SharedDatabase;
use super::error::{Incidents, StoreError, SubmitError};
use super::log::{Appender, Log};
use super::queue::{Batch, Bounds, Queue};
use work::Worker;

/// The thread is woken at this many waiting bytes; below, the flush interval gathers more.
const WAKE_BYTES: usize = 1 << 20;

/// Hands things to the writer thread; clones share it.
#[derive(Clone)]
pub struct Writer(Arc<Shared>);

/// What submitters and the thread share.
struct Shared {
    inside: Mutex<Inside>,
    wake: Condvar,
    half_full: AtomicBool,
    room: Notify,
    thread: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
}

struct Inside {
    queue: Queue,
    /// Why nothing is accepted at present.
    broken: Option<StoreError>,
    closing: bool,
}

/// A queue that was swapped out, and the room that it takes until it is written.
struct Taken {
    batch: Batch,
    bytes: usize,
    entries: usize,
    aside: (usize, usize),
    /// When its first entry was seen.
    since: Instant,
}

/// What the writer needs.
pub(super) struct WriterParts {
    pub(super) appenders: Vec<Appender>,
    pub(super) state: SharedDatabase,
    pub(super) storage: SharedDatabase,
    pub(super) queue_bytes: usize,
    pub(super) queue_records: usize,
    pub(super) flush_every: Duration,
    pub(super) free_floor_bytes: u64,
    pub(super) dir: PathBuf,
    pub(super) incidents: Arc<Incidents>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(parts: WriterParts) -> Result<Self, StoreError> {
        let logs: Vec<Log> = parts.appenders.iter().map(|appender| appender.log().clone()).collect();
        let bounds = Bounds { bytes: parts.queue_bytes, entries: parts.queue_records };
        let inside = Inside { queue: Queue::new(logs, bounds), broken: None, closing: false };
        let shared = Arc::new(Shared {
            inside: Mutex::new(inside),
            wake: Condvar::new(),
            half_full: AtomicBool::new(false),
            room: Notify::new(),
            thread: Mutex::new(None),
        });
        let dir = parts.dir.clone();
        let worker = Worker::new(shared.clone(), parts);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || worker.run());
        *shared.thread.lock() = Some(thread.map_err(|error| StoreError::io(&dir, &error))?);
        Ok(Self(shared))
    }

    /// Lets `fill` put records, state writes and a callback into the queue: all of it, or nothing when there
    /// is an error. Takes one lock, never waits for the disk.
    pub fn submit<R>(&self, fill: impl FnOnce(&mut Queue) -> R) -> Result<R, SubmitError> {
        let mut inside = self.0.inside.lock();
        if let Some(error) = &inside.broken {
            return Err(SubmitError::Broken(error.clone()));
        }
        if inside.closing {
            return Err(SubmitError::Closed);
        }
        let was_idle = inside.queue.batch.is_empty();
        let result = inside.queue.fill(fill)?;
        if inside.queue.is_half_full() {
            self.0.half_full.store(true, Ordering::Relaxed);
        }
        // The first entry starts the flush interval; a waiter or a full load ends it.
        let urgent = !inside.queue.batch.waiters.is_empty() || inside.queue.bytes >= WAKE_BYTES;
        drop(inside);
        if was_idle || urgent {
            self.0.wake.notify_one();
        }
        Ok(result)
    }

    /// More than half of the queue's bounds is taken: stop reading what would add to it.
    pub fn half_full(&self) -> bool {
        self.0.half_full.load(Ordering::Relaxed)
    }

    /// Waits until the queue is at most half full.
    pub async fn room(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.room.notified());
            // Registered before looking, so that no notification falls between.
            notified.as_mut().enable();
            if !self.half_full() {
                return;
            }
            notified.await;
        }
    }

    /// Why nothing is accepted at present, if so.
    pub fn unavailable(&self) -> Option<StoreError> {
        self.0.inside.lock().broken.clone()
    }

    /// Writes what waits, flushes, leaves clean marks and ends the thread. Blocks. Called again, it does
    /// nothing.
    pub fn close(&self) -> Result<(), StoreError> {
        self.0.inside.lock().closing = true;
        self.0.wake.notify_one();
        let mut thread = self.0.thread.lock();
        match thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(StoreError::Closed),
            None => Ok(()),
        }
    }
}

impl Shared {
    /// Waits for work, until `due`. Gives the whole queue, also an empty one; none when the writer is to end.
    fn next(&self, due: Instant, flush_every: Duration, spare: Batch) -> Option<Taken> {
        let mut inside = self.inside.lock();
        let mut due = due;
        let mut gathering = None;
        loop {
            let queue = &inside.queue;
            if inside.closing && queue.batch.is_empty() {
                return None;
            }
            let urgent = !queue.batch.waiters.is_empty() || queue.bytes >= WAKE_BYTES || inside.closing;
            if urgent || Instant::now() >= due {
                let (bytes, entries) = (inside.queue.bytes, inside.queue.entries);
                let batch = std::mem::replace(&mut inside.queue.batch, spare);
                let since = gathering.unwrap_or_else(Instant::now);
                return Some(Taken { batch, bytes, entries, aside: inside.queue.aside, since });
            }
            if !queue.batch.is_empty() && gathering.is_none() {
                let now = Instant::now();
                gathering = Some(now);
                due = due.min(now + flush_every);
            }
            self.wake.wait_until(&mut inside, due);
        }
    }

    /// Frees the room of what was written.
    fn done(&self, taken: &Taken) {
        let mut inside = self.inside.lock();
        let queue = &mut inside.queue;
        queue.bytes = queue.bytes.saturating_sub(taken.bytes);
        queue.entries = queue.entries.saturating_sub(taken.entries);
        queue.aside.0 = queue.aside.0.saturating_sub(taken.aside.0);
        queue.aside.1 = queue.aside.1.saturating_sub(taken.aside.1);
        self.tell_room(&inside);
    }

    fn tell_room(&self, inside: &Inside) {
        if !inside.queue.is_half_full() && self.half_full.swap(false, Ordering::Relaxed) {
            self.room.notify_waiters();
        }
    }

    /// Accepts nothing from now on, and gives back what was waiting.
    fn break_off(&self, why: &StoreError) -> Batch {
        let mut inside = self.inside.lock();
        inside.broken = Some(why.clone());
        inside.queue.bytes = 0;
        inside.queue.entries = 0;
        inside.queue.aside = (0, 0);
        self.tell_room(&inside);
        std::mem::take(&mut inside.queue.batch)
    }

    /// Waits out a backoff; false when the writer is to end.
    fn pause(&self, backoff: Duration) -> bool {
        let mut inside = self.inside.lock();
        let until = Instant::now() + backoff;
        while !inside.closing && !self.wake.wait_until(&mut inside, until).timed_out() {}
        !inside.closing
    }
}

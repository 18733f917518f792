//! How far a storage binding has come in each log, and publishers that wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::message::{Accepted, Level, Place};
use crate::store::Log;

/// A publisher waits this long for `stored` before it is told `logged`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Offsets below these are committed.
pub struct Progress {
    name: Arc<str>,
    next: Mutex<HashMap<Arc<str>, u64>>,
    ended: AtomicBool,
}

impl Progress {
    /// Of a binding.
    pub fn new(name: Arc<str>) -> Self {
        Self { name, next: Mutex::default(), ended: AtomicBool::new(false) }
    }

    /// Everything before `next` in this log is committed.
    pub fn reached(&self, log: &Arc<str>, next: u64) {
        self.next.lock().insert(Arc::clone(log), next);
    }

    /// Everything before this offset is committed, 0 if nothing is known.
    pub fn next(&self, log: &str) -> u64 {
        self.next.lock().get(log).copied().unwrap_or(0)
    }

    /// Where it stands: log, and the first offset that is not committed.
    pub fn places(&self) -> Vec<(Arc<str>, u64)> {
        let mut all: Vec<_> = self.next.lock().iter().map(|(log, next)| (Arc::clone(log), *next)).collect();
        all.sort();
        all
    }

    /// Offsets that are on the disk and not committed yet, in all logs.
    pub fn lag(&self, logs: &[Log]) -> u64 {
        let next = self.next.lock();
        let of = |log: &Log| next.get(log.name()).map_or(0, |next| log.durable().saturating_sub(*next));
        logs.iter().map(of).sum()
    }

    /// The binding is gone: nobody needs to wait for it.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn is_past(&self, place: &Place) -> bool {
        self.ended.load(Ordering::Acquire)
            || self.next.lock().get(&place.log).is_some_and(|next| *next > place.offset)
    }
}

type Answer = Box<dyn FnOnce(Vec<Accepted>, Level, Option<String>) + Send>;

/// A publish that waits for level `stored`.
pub struct Waiting {
    messages: Vec<Accepted>,
    wanted: Vec<(Arc<Progress>, Place)>,
    until: Instant,
    answer: Answer,
}

impl Waiting {
    /// From now on.
    pub fn new(messages: Vec<Accepted>, wanted: Vec<(Arc<Progress>, Place)>, answer: Answer) -> Self {
        Self { messages, wanted, until: Instant::now() + PATIENCE, answer }
    }

    /// Committed, or out of patience.
    pub fn is_over(&self) -> bool {
        self.is_stored() || Instant::now() >= self.until
    }

    fn is_stored(&self) -> bool {
        self.wanted.iter().all(|(progress, place)| progress.is_past(place))
    }

    /// Tells the publisher.
    pub fn answer(self) {
        let late = self.wanted.iter().find(|(progress, place)| !progress.is_past(place));
        let (level, note) = match late {
            None => (Level::Stored, None),
            Some((progress, _)) => {
                let seconds = PATIENCE.as_secs();
                let note =
                    format!("in the log, but plugin {} has not stored it after {seconds} s", progress.name);
                (Level::Logged, Some(note))
            }
        };
        (self.answer)(self.messages, level, note);
    }
}

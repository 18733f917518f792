//! How far a storage binding has come in each log, and publishers that wait for it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::message::{Accepted, Level, Place};
use crate::store::Log;

/// A publisher waits this long for `stored` before it is told `logged`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ranges that were left out and are remembered, most; of the others only that there were some.
const ASIDE: usize = 1_024;
/// Bytes of a reason that are remembered.
const REASON: usize = 512;

/// Offsets below these are committed.
pub struct Progress {
    name: Arc<str>,
    next: Mutex<HashMap<Arc<str>, u64>>,
    aside: Mutex<Aside>,
    ended: AtomicBool,
}

/// What was passed without being stored, the latest last.
#[derive(Default)]
struct Aside {
    known: VecDeque<(Arc<str>, Range<u64>, String)>,
    /// By log: somewhere below this there were more.
    forgotten: HashMap<Arc<str>, u64>,
}

impl Progress {
    /// Of a binding.
    pub fn new(name: Arc<str>) -> Self {
        Self { name, next: Mutex::default(), aside: Mutex::default(), ended: AtomicBool::new(false) }
    }

    /// Everything before `next` in this log is committed.
    pub fn reached(&self, log: &Arc<str>, next: u64) {
        self.next.lock().insert(Arc::clone(log), next);
    }

    /// The log is not read any more.
    pub fn leave(&self, log: &str) {
        self.next.lock().remove(log);
    }

    /// These are passed, but not stored: say so before [`Self::reached`].
    pub fn set_aside(&self, log: &Arc<str>, offsets: Range<u64>, reason: &str) {
        let reason = reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default().to_owned();
        self.aside.lock().push(Arc::clone(log), offsets, reason);
    }

    /// From now on it stands where `other` stands, in the logs that it reads.
    pub fn follow(&self, other: &Self) {
        let (mut mine, theirs) = (self.aside.lock(), other.aside.lock());
        for (log, below) in &theirs.forgotten {
            mine.forget(log, *below);
        }
        for (log, offsets, reason) in theirs.known.iter().cloned() {
            mine.push(log, offsets, reason);
        }
        drop((mine, theirs));
        let other = other.next.lock().clone();
        for (log, next) in self.next.lock().iter_mut() {
            *next = other.get(log).copied().unwrap_or(*next);
        }
    }

    /// Why a message that is passed is not stored; none = it is.
    fn why_not(&self, place: &Place) -> Option<String> {
        let aside = self.aside.lock();
        let is_it = |(log, offsets, _): &&(Arc<str>, Range<u64>, String)| {
            *log == place.log && offsets.contains(&place.offset)
        };
        if let Some((_, _, reason)) = aside.known.iter().rev().find(is_it) {
            return Some(format!("plugin {} has set it aside: {reason}", self.name));
        }
        let unsure = aside.forgotten.get(&place.log).is_some_and(|below| place.offset < *below);
        unsure.then(|| format!("plugin {} has set aside many messages, perhaps this one too", self.name))
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

impl Aside {
    fn push(&mut self, log: Arc<str>, offsets: Range<u64>, reason: String) {
        self.known.push_back((log, offsets, reason));
        if self.known.len() > ASIDE
            && let Some((log, offsets, _)) = self.known.pop_front()
        {
            self.forget(&log, offsets.end);
        }
    }

    fn forget(&mut self, log: &Arc<str>, below: u64) {
        let known = self.forgotten.entry(Arc::clone(log)).or_default();
        *known = below.max(*known);
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
        let aside = || self.wanted.iter().find_map(|(progress, place)| progress.why_not(place));
        let (level, note) = match late {
            None => match aside() {
                None => (Level::Stored, None),
                Some(why) => (Level::Logged, Some(format!("in the log, but {why}"))),
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_aside_is_never_taken_for_stored() {
        let (progress, log): (_, Arc<str>) = (Progress::new("p".into()), "default".into());
        let why = |offset| progress.why_not(&Place { log: Arc::clone(&log), epoch: 1, offset });
        for offset in 0..2_000 {
            progress.set_aside(&log, 2 * offset..2 * offset + 1, &"é".repeat(REASON));
        }
        let known = |said: Option<String>| said.unwrap().contains("has set it aside: é");
        assert!((2_000 - ASIDE as u64..2_000).all(|offset| known(why(2 * offset))));
        assert!(why(3_999).is_none() && why(4_000).is_none(), "these were stored");
        assert!(why(0).unwrap().contains("perhaps this one too"));
        let other = Progress::new("p".into());
        other.reached(&log, 7);
        other.follow(&progress);
        assert_eq!(other.next(&log), 7, "where `progress` has not been it stays where it was");
        let place = |offset| Place { log: Arc::clone(&log), epoch: 1, offset };
        assert!(known(other.why_not(&place(3_998))) && other.why_not(&place(0)).is_some());
        let aside = progress.aside.lock();
        assert_eq!((aside.known.len(), aside.forgotten.len()), (ASIDE, 1));
        assert!(aside.known.iter().all(|(_, _, reason)| reason.len() <= REASON));
    }
}

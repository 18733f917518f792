//! Who watches messages on their way: every stage of sampled messages, live. While nobody does, a message pays
//! one relaxed load for it.

mod traced;

pub use traced::{Became, Traced};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use weir_contract::topic::Pattern;

use super::explain::{Recorder, Seen, microseconds};
use crate::message::{Outcome, now_us};
use crate::plugin::imports::logging::cut;

/// Traces at a time; one more is refused.
pub const MOST_TRACES: usize = 8;
/// Traced messages that wait for one watcher; one more is missed.
pub const WAITING: usize = 64;
/// Messages of one trace in a second, unless it asks for others.
pub const PER_S: u32 = 10;
/// The most that it may ask for.
pub const MOST_PER_S: u32 = 1_000;
/// Bytes of each payload, unless a trace asks for others.
pub const PAYLOAD_BYTES: usize = 256;
/// The most that it may ask for.
pub const MOST_PAYLOAD_BYTES: usize = 4_096;
/// Bytes that the steps of one traced message may take; further steps are counted.
const ROOM: usize = 64 * 1024;
/// Bytes of a topic, which has not been checked when a trace begins, that are shown.
const TOPIC_BYTES: usize = 512;

/// What a trace is to show.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Topics as they were published.
    pub pattern: Pattern,
    /// Of so many messages that match, one; at least 1.
    pub sample: u64,
    /// Most messages in a second, 1 to [`MOST_PER_S`]; others are missed.
    pub per_s: u32,
    /// Bytes of each payload, at most [`MOST_PAYLOAD_BYTES`]; 0 = no payloads.
    pub payload_bytes: usize,
}

/// Why a trace does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTraced {
    /// Each costs every message that it matches.
    #[error("{MOST_TRACES} traces run already, which is the most at a time: end one first")]
    TooMany,
    /// Nothing more will come.
    #[error("the router is stopping")]
    Stopping,
}

/// All traces of a router.
#[derive(Debug, Default)]
pub struct Traces {
    active: AtomicUsize,
    watchers: RwLock<Watchers>,
}

#[derive(Debug, Default)]
struct Watchers {
    all: Vec<Arc<Watcher>>,
    stopped: bool,
}

#[derive(Debug)]
struct Watcher {
    wanted: Wanted,
    pace: Mutex<Pace>,
    queue: Sender<Arc<Traced>>,
    missed: Arc<AtomicU64>,
}

/// How much of a trace's rate is used up.
#[derive(Debug)]
struct Pace {
    matched: u64,
    second: Instant,
    taken: u32,
}

/// A trace that runs until this is dropped.
#[derive(Debug)]
pub struct Watching {
    /// What was traced; ends when the router stops.
    pub queue: Receiver<Arc<Traced>>,
    payload_bytes: usize,
    missed: Arc<AtomicU64>,
    traces: Arc<Traces>,
}

/// A message that somebody watches. To be finished with its outcome.
#[derive(Debug)]
pub struct Trace {
    /// For the pass.
    pub recorder: Arc<Recorder>,
    message: Seen,
    from: Arc<str>,
    gateway: &'static str,
    time_us: u64,
    watchers: Vec<Arc<Watcher>>,
}

impl Traces {
    /// Begins a trace.
    pub fn watch(self: &Arc<Self>, wanted: Wanted) -> Result<Watching, NotTraced> {
        let mut watchers = self.watchers.write();
        if watchers.stopped {
            return Err(NotTraced::Stopping);
        }
        if watchers.all.len() >= MOST_TRACES {
            return Err(NotTraced::TooMany);
        }
        let (queue, traced) = channel(WAITING);
        let (missed, payload_bytes) = (Arc::new(AtomicU64::new(0)), wanted.payload_bytes);
        let pace = Mutex::new(Pace { matched: 0, second: Instant::now(), taken: 0 });
        watchers.all.push(Arc::new(Watcher { wanted, pace, queue, missed: Arc::clone(&missed) }));
        self.active.store(watchers.all.len(), Relaxed);
        Ok(Watching { queue: traced, payload_bytes, missed, traces: Arc::clone(self) })
    }

    /// Ends all traces, once what they were sent has been read.
    pub fn stop(&self) {
        let mut watchers = self.watchers.write();
        *watchers = Watchers { all: Vec::new(), stopped: true };
        self.active.store(0, Relaxed);
    }

    /// A message has come: Some, if somebody is to see it.
    pub fn begin(
        &self,
        topic: &str,
        payload: &bytes::Bytes,
        from: &Arc<str>,
        gateway: &'static str,
    ) -> Option<Box<Trace>> {
        if self.active.load(Relaxed) == 0 {
            return None;
        }
        let watchers: Vec<_> = {
            let watchers = self.watchers.read();
            watchers.all.iter().filter(|watcher| watcher.takes(topic)).cloned().collect()
        };
        let keep = watchers.iter().map(|watcher| watcher.wanted.payload_bytes).max()?;
        let recorder = Recorder::new(keep, ROOM);
        let message = recorder.seen(&cut(topic, TOPIC_BYTES).into(), payload);
        let (from, time_us) = (Arc::clone(from), now_us());
        Some(Box::new(Trace { recorder: Arc::new(recorder), message, from, gateway, time_us, watchers }))
    }
}

impl Watcher {
    /// Whether it is to see a message of this topic.
    fn takes(&self, topic: &str) -> bool {
        if !self.wanted.pattern.matches(topic) {
            return false;
        }
        let mut pace = self.pace.lock();
        pace.matched += 1;
        if !pace.matched.is_multiple_of(self.wanted.sample.max(1)) {
            return false;
        }
        let now = Instant::now();
        if now.duration_since(pace.second) >= Duration::from_secs(1) {
            (pace.second, pace.taken) = (now, 0);
        }
        if pace.taken >= self.wanted.per_s {
            self.missed.fetch_add(1, Relaxed);
            return false;
        }
        pace.taken += 1;
        true
    }
}

impl Trace {
    /// Tells the watchers what became of it.
    pub fn finish(self, outcome: &Outcome, took: Duration) {
        let record = self.recorder.take();
        let (messages, more) = traced::became(outcome);
        let traced = Arc::new(Traced {
            message: self.message,
            from: self.from,
            gateway: self.gateway.to_owned(),
            time_us: self.time_us,
            steps: record.steps,
            omitted: record.omitted,
            reruns: record.reruns,
            outcome: outcome.as_str().to_owned(),
            reason: outcome.reason(),
            messages,
            more,
            us: microseconds(took),
        });
        for watcher in self.watchers {
            // Full, or gone.
            if watcher.queue.try_send(Arc::clone(&traced)).is_err() {
                watcher.missed.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Watching {
    /// How many messages it should have seen, since the last look, and did not: they came too fast.
    pub fn missed(&self) -> u64 {
        self.missed.swap(0, Relaxed)
    }

    /// A message with as much of its payloads as this trace shows.
    pub fn shown(&self, traced: &Traced) -> Traced {
        let mut traced = traced.clone();
        traced.message.cut_to(self.payload_bytes);
        traced.steps.iter_mut().for_each(|step| step.cut_to(self.payload_bytes));
        traced
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut watchers = self.traces.watchers.write();
        watchers.all.retain(|watcher| !Arc::ptr_eq(&watcher.missed, &self.missed));
        self.traces.active.store(watchers.all.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pattern: &str, sample: u64, per_s: u32) -> Wanted {
        Wanted { pattern: Pattern::parse(pattern).unwrap(), sample, per_s, payload_bytes: 0 }
    }

    /// Whether somebody was to see it; then it is finished.
    fn pass(traces: &Traces, topic: &str) -> bool {
        let trace = traces.begin(topic, &bytes::Bytes::new(), &"ada".into(), "http");
        let taken = trace.is_some();
        if let Some(trace) = trace {
            trace.finish(&Outcome::TimedOut, Duration::ZERO);
        }
        taken
    }

    #[test]
    fn who_does_not_read_misses_what_finds_no_room() {
        let traces = Arc::new(Traces::default());
        assert!(!pass(&traces, "a"), "nobody watches");
        let mut stuck = traces.watch(wanted("a", 1, MOST_PER_S)).unwrap();
        for _ in 0..WAITING + 7 {
            assert!(pass(&traces, "a") && !pass(&traces, "b"));
        }
        assert_eq!((stuck.queue.len(), stuck.missed(), stuck.missed()), (WAITING, 7, 0));
        let traced = stuck.queue.try_recv().unwrap();
        assert_eq!((&*traced.outcome, &*traced.message.topic), ("timed-out", "a"));
        drop(stuck);
        assert!(!pass(&traces, "a"), "nobody watches any more");
    }

    #[test]
    fn traces_are_bounded_and_end() {
        let traces = Arc::new(Traces::default());
        let mut all: Vec<_> =
            (0..MOST_TRACES).map(|_| traces.watch(wanted("#", 1, PER_S)).unwrap()).collect();
        assert_eq!(traces.watch(wanted("#", 1, PER_S)).err(), Some(NotTraced::TooMany));
        all.pop();
        all.push(traces.watch(wanted("#", 1, PER_S)).unwrap());
        traces.stop();
        assert_eq!(traces.watch(wanted("#", 1, PER_S)).err(), Some(NotTraced::Stopping));
        let ended = all[0].queue.try_recv().unwrap_err();
        assert_eq!(ended, tokio::sync::mpsc::error::TryRecvError::Disconnected);
        assert!(!pass(&traces, "a"));
    }

    #[test]
    fn a_topic_of_any_length_is_shown_short() {
        let traces = Arc::new(Traces::default());
        let mut watching = traces.watch(wanted("#", 1, PER_S)).unwrap();
        assert!(pass(&traces, &"ä".repeat(1_000_000)));
        assert_eq!(watching.queue.try_recv().unwrap().message.topic.len(), TOPIC_BYTES);
    }
}

//! A candidate beside the live version: it gets a share of that one's messages after it has answered, and is only
//! compared with it. Nothing waits for it: what its queue does not take is not compared, and counted.

use std::cell::Cell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Binding;
use super::contract::{TransformOutcome, Verdict};
use super::space::Change;
use crate::message::Message;
use crate::metrics::ShadowMetrics;

/// Messages that may wait for a shadow.
const QUEUE: usize = 256;
/// Bytes of messages and answers that may wait for a shadow.
const QUEUE_BYTES: usize = 8 << 20;
/// Differences that are kept: the first ones, since the same cause would only fill the rest.
const KEPT: usize = 20;

/// What a plugin made of a message.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A filter's.
    Filter(Verdict),
    /// A transform's.
    Transform(TransformOutcome),
    /// It failed: the cause, and what happened.
    Failed(&'static str, String),
}

/// A message that a shadow sees, too.
#[derive(Debug)]
pub struct Sighting {
    /// As the live version got it.
    pub message: Message,
    /// What that one made of it.
    pub live: Answer,
    /// What that one overwrote in `state`, as it was before.
    pub before: Vec<Change>,
}

impl Sighting {
    fn size(&self) -> usize {
        let answer = match &self.live {
            Answer::Transform(TransformOutcome::SetPayload(bytes) | TransformOutcome::SetMeta(bytes)) => {
                bytes.len()
            }
            Answer::Transform(TransformOutcome::Add(all) | TransformOutcome::Replace(all)) => {
                all.iter().map(|out| out.topic.len() + out.meta.len() + out.payload.len()).sum()
            }
            _ => 0,
        };
        let pairs = self.before.iter();
        let pairs = pairs.map(|pair| pair.key.len() + pair.value.as_ref().map_or(0, |it| it.bytes.len()));
        self.message.size() + answer + pairs.sum::<usize>()
    }
}

/// What waits for a shadow's thread.
#[derive(Debug)]
struct Queue {
    /// None ends the thread.
    entry: SyncSender<Option<Sighting>>,
    bytes: AtomicUsize,
    exit: Mutex<Option<Receiver<Option<Sighting>>>>,
    ended: AtomicBool,
}

impl Queue {
    fn new() -> Self {
        let (entry, exit) = sync_channel(QUEUE);
        let (bytes, ended) = Default::default();
        Self { entry, bytes, exit: Mutex::new(Some(exit)), ended }
    }

    /// False: it is full.
    fn push(&self, sighting: Sighting) -> bool {
        let size = sighting.size();
        let taken = self.bytes.fetch_add(size, Ordering::Relaxed) + size <= QUEUE_BYTES
            && self.entry.try_send(Some(sighting)).is_ok();
        if !taken {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }

    fn next(&self, exit: &Receiver<Option<Sighting>>) -> Option<Sighting> {
        let sighting = exit.recv().ok()??;
        self.bytes.fetch_sub(sighting.size(), Ordering::Relaxed);
        (!self.ended.load(Ordering::Acquire)).then_some(sighting)
    }

    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        // In a full queue there is something that wakes the thread.
        drop(self.entry.try_send(None));
    }
}

/// A binding with `mode = "shadow"`, and the way to its thread.
pub struct Shadow {
    /// The candidate; its `state` is that of the live binding.
    pub binding: Arc<Binding>,
    /// Name of the live binding.
    pub of: Arc<str>,
    /// Of 2^32 messages.
    share: u64,
    queue: Queue,
    /// How often they agreed, over all versions of the candidate.
    pub counted: ShadowMetrics,
    /// What was counted before this version.
    before: ShadowCounts,
    kept: Mutex<VecDeque<Divergence>>,
}

impl Shadow {
    /// Beside the binding `of`, with this share of its messages: above 0, at most 1.
    pub fn new(binding: Arc<Binding>, of: &str, share: f64, counted: ShadowMetrics) -> Self {
        let before = counts(&counted);
        let (queue, of, kept) = (Queue::new(), of.into(), Mutex::default());
        Self { binding, of, share: threshold(share), queue, counted, before, kept }
    }

    /// Whether this message is of its share. Some additions and a look at the thread's own memory.
    pub fn wants(&self) -> bool {
        u64::from(dice()) < self.share
    }

    /// Hands a message to its thread; never waits.
    pub fn show(&self, sighting: Sighting) {
        if !self.queue.push(sighting) {
            self.counted.skipped.inc();
        }
    }

    /// The messages that wait, for the one thread that is the first to ask.
    pub fn take_queue(&self) -> Option<Receiver<Option<Sighting>>> {
        self.queue.exit.lock().take()
    }

    /// The next message, for its thread. None: the binding is gone.
    pub fn next(&self, queue: &Receiver<Option<Sighting>>) -> Option<Sighting> {
        self.queue.next(queue)
    }

    /// Its thread ends, after the call that is under way.
    pub fn end(&self) {
        self.queue.end();
    }

    /// Keeps one of the first differences.
    pub fn keep(&self, divergence: Divergence) {
        let mut kept = self.kept.lock();
        if kept.len() < KEPT {
            kept.push_back(divergence);
        }
    }

    /// Whether another difference would be kept.
    pub fn has_room(&self) -> bool {
        self.kept.lock().len() < KEPT
    }

    /// What came of it so far.
    pub fn report(&self) -> ShadowReport {
        ShadowReport {
            of: Arc::clone(&self.of),
            version: Arc::clone(&self.binding.shared.version),
            counts: self.counts(),
            divergences: self.kept.lock().iter().cloned().collect(),
        }
    }

    /// How often this version agreed, so far.
    pub fn counts(&self) -> ShadowCounts {
        let (all, before) = (counts(&self.counted), &self.before);
        ShadowCounts {
            same: all.same - before.same,
            different: all.different - before.different,
            failed: all.failed - before.failed,
            skipped: all.skipped - before.skipped,
        }
    }
}

fn counts(counted: &ShadowMetrics) -> ShadowCounts {
    let ShadowMetrics { same, different, failed, skipped } = counted;
    ShadowCounts {
        same: same.get(),
        different: different.get(),
        failed: failed.get(),
        skipped: skipped.get(),
    }
}

/// Numbers below it, of 2^32, are of the share.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32")]
fn threshold(share: f64) -> u64 {
    ((share * 2_f64.powi(32)) as u64).max(1)
}

/// Compared messages, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// Both made the same of it.
    pub same: u64,
    /// They did not.
    pub different: u64,
    /// The candidate failed.
    pub failed: u64,
    /// Not compared: too many waited, or the candidate's breaker is open.
    pub skipped: u64,
}

/// What `weir plugin shadow` shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShadowReport {
    /// The live binding.
    pub of: Arc<str>,
    /// The candidate's version.
    pub version: Arc<str>,
    /// Of this version, beside the one that is live.
    #[serde(flatten)]
    pub counts: ShadowCounts,
    /// The first ones of this version.
    pub divergences: Vec<Divergence>,
}

/// A message of which the two did not make the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Divergence {
    /// When, Unix microseconds.
    pub time_us: u64,
    /// The message's topic.
    pub topic: Arc<str>,
    /// Bytes of its payload.
    pub bytes: usize,
    /// What the live version made of it.
    pub live: Made,
    /// What the candidate made of it.
    pub shadow: Made,
}

/// What one version made of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// In the words of `weir_plugin_calls_total`.
    pub verdict: String,
    /// In the plugin's words, or what happened; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The messages that went on, some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Shown>,
    /// Messages that went on beside these.
    #[serde(default)]
    pub more: usize,
}

/// A message that went on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its topic.
    pub topic: Arc<str>,
    /// Bytes of its payload.
    pub bytes: usize,
    /// Its beginning, at most 256 bytes; none: it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Content type, headers and the like, as `name: value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

thread_local! {
    static DICE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

/// Any of 2^32 numbers: nobody's messages come in its rhythm.
fn dice() -> u32 {
    DICE.with(|dice| {
        let mut x = dice.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        dice.set(x);
        u32::try_from(x >> 32).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(bytes: usize) -> Sighting {
        let message = Message { topic: "t".into(), meta: vec![1].into(), payload: vec![0; bytes].into() };
        Sighting { message, live: Answer::Filter(Verdict::Keep), before: Vec::new() }
    }

    #[test]
    fn a_full_queue_takes_nothing_more_and_makes_room_again() {
        let queue = Queue::new();
        let taken = (0..2 * QUEUE).filter(|_| queue.push(sighting(1))).count();
        assert_eq!(taken, QUEUE);
        let queue = Queue::new();
        let big = QUEUE_BYTES / 4;
        assert_eq!((0..9).filter(|_| queue.push(sighting(big))).count(), 3, "with topic and metadata");
        let exit = queue.exit.lock().take().unwrap();
        assert!(queue.next(&exit).is_some() && queue.push(sighting(big)));
        queue.end();
        assert!(queue.next(&exit).is_none(), "what waits is not run any more");
    }

    #[test]
    fn answers_and_state_count_too() {
        let out = TransformOutcome::SetPayload(vec![0; 100]);
        let value = super::super::space::Value { bytes: [0; 20].as_slice().into(), expires_us: None };
        let before = vec![Change { key: b"abc".to_vec(), value: Some(value) }];
        let sighting = Sighting { live: Answer::Transform(out), before, ..sighting(7) };
        assert_eq!(sighting.size(), 2 + 7 + 100 + 23);
    }

    #[test]
    fn a_share_is_about_that_of_all() {
        for (share, most) in [(0.1, 2_000), (0.5, 6_000), (1.0, 10_000)] {
            let taken = (0..10_000).filter(|_| u64::from(dice()) < threshold(share)).count();
            assert!(taken <= most && taken + 2_000 >= most, "{share}: {taken}");
        }
        assert!(threshold(1e-12) > 0 && threshold(1.0) > u64::from(u32::MAX));
    }
}

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

/// A binding with `mode = "shadow"`, and the way to its thread.
pub struct Shadow {
    /// The candidate; its `state` is that of the live binding.
    pub binding: Arc<Binding>,
    /// Name of the live binding.
    pub of: Arc<str>,
    /// Of 2^32 messages.
    share: u64,
    /// None ends the thread.
    queue: SyncSender<Option<Sighting>>,
    queued: AtomicUsize,
    waiting: Mutex<Option<Receiver<Option<Sighting>>>>,
    ended: AtomicBool,
    /// How often they agreed.
    pub counted: ShadowMetrics,
    kept: Mutex<VecDeque<Divergence>>,
}

impl Shadow {
    /// Beside the binding `of`, with this share of its messages: above 0, at most 1.
    pub fn new(binding: Arc<Binding>, of: &str, share: f64, counted: ShadowMetrics) -> Self {
        let (queue, waiting) = sync_channel(QUEUE);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32")]
        let share = ((share * 2_f64.powi(32)) as u64).max(1);
        Self {
            binding,
            of: of.into(),
            share,
            queue,
            queued: AtomicUsize::new(0),
            waiting: Mutex::new(Some(waiting)),
            ended: AtomicBool::new(false),
            counted,
            kept: Mutex::default(),
        }
    }

    /// Whether this message is of its share. Two additions and a look at the thread's own memory.
    pub fn wants(&self) -> bool {
        u64::from(dice()) < self.share
    }

    /// Hands a message to its thread; never waits.
    pub fn show(&self, sighting: Sighting) {
        let size = sighting.size();
        let taken = self.queued.fetch_add(size, Ordering::Relaxed) + size <= QUEUE_BYTES
            && self.queue.try_send(Some(sighting)).is_ok();
        if !taken {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            self.counted.skipped.inc();
        }
    }

    /// The messages that wait, for the one thread that is the first to ask.
    pub fn take_queue(&self) -> Option<Receiver<Option<Sighting>>> {
        self.waiting.lock().take()
    }

    /// The next message, for its thread. None: the binding is gone.
    pub fn next(&self, queue: &Receiver<Option<Sighting>>) -> Option<Sighting> {
        let sighting = queue.recv().ok()??;
        self.queued.fetch_sub(sighting.size(), Ordering::Relaxed);
        (!self.ended.load(Ordering::Acquire)).then_some(sighting)
    }

    /// Its thread ends, after the call that is under way.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        // In a full queue there is something that wakes the thread.
        drop(self.queue.try_send(None));
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

    /// How often they agreed, so far.
    pub fn counts(&self) -> ShadowCounts {
        let ShadowMetrics { same, different, failed, skipped } = &self.counted;
        ShadowCounts {
            same: same.get(),
            different: different.get(),
            failed: failed.get(),
            skipped: skipped.get(),
        }
    }
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
    /// Since the router started, over all versions of the candidate.
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

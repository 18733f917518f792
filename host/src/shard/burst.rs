//! Publishes that come, pass and are accepted together: what a message costs beside its own pass is paid once for many.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use weir_contract::topic;

use super::{Reply, Shard};
use crate::message::{Accepted, Level, Message, Outcome, now_us};
use crate::pipeline::{Became, Stop};
use crate::sequencer::{Effect, NotCommitted, Sequencer};
use crate::session::Session;

/// Messages that have passed and wait for those behind them.
const MOST: usize = 64;
/// Bytes that a message takes in a queue beside its own.
const AROUND: usize = 512;
/// So many writers are woken one by one.
const FEW: usize = 4;
/// For so long they wait at most, while the passes behind them are as quick as those before them.
const PATIENCE: Duration = Duration::from_micros(200);

/// A message that was admitted.
pub struct Published {
    /// Stamped.
    pub message: Message,
    /// How far it must be before the answer.
    pub level: Level,
    /// Gets the outcome.
    pub reply: Reply,
}

/// Publishes of one session on their way to its shard.
#[derive(Default)]
pub struct Burst {
    /// In order.
    pub published: Vec<Published>,
    bytes: usize,
    arrived: Option<Arrived>,
}

/// When a burst began to come in.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// For what it takes from then on.
    pub at: Instant,
    /// Unix microseconds.
    pub us: u64,
}

impl Arrived {
    /// Just now.
    pub fn now() -> Self {
        Self { at: Instant::now(), us: now_us() }
    }
}

impl Burst {
    /// Messages that go together.
    pub const MOST: usize = MOST;
    /// Bytes that go together.
    const BYTES: usize = 256 * 1024;

    /// When its messages came, which came together.
    pub fn arrived(&mut self) -> Arrived {
        *self.arrived.get_or_insert_with(Arrived::now)
    }

    /// Adds one.
    pub fn push(&mut self, published: Published) {
        self.bytes += published.message.size();
        self.published.push(published);
    }

    /// Bytes of a shard's queue that it takes.
    pub fn room(&self) -> usize {
        self.bytes + self.published.len() * AROUND
    }

    /// Empties it.
    pub fn take(&mut self) -> Vec<Published> {
        (self.bytes, self.arrived) = (0, None);
        mem::take(&mut self.published)
    }

    /// Gives all up: they are answered `shutting-down`.
    pub fn clear(&mut self) {
        drop(self.take());
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty()
    }

    /// Whether nothing more should wait with them.
    pub fn is_full(&self) -> bool {
        self.published.len() >= Self::MOST || self.bytes >= Self::BYTES
    }
}

/// Messages that have passed the pipeline and are not accepted yet, with their answers.
#[derive(Default)]
pub(super) struct Passed {
    messages: Vec<Message>,
    replies: Vec<Reply>,
    /// When the first of them passed.
    since: Option<Instant>,
    woken: Vec<Arc<Session>>,
}

/// What the plugins made of a message, and what they read and wrote.
pub(super) struct Run {
    pub(super) result: Result<Became, Stop>,
    pub(super) effects: Vec<Effect>,
}

impl Run {
    /// Whether one message goes on and nothing else is to be done: then it may wait for those behind it.
    pub(super) fn is_plain(&self, message: &Message) -> bool {
        let only = match &self.result {
            Ok(Became::Itself) => Some(message),
            Ok(Became::These(messages)) if messages.len() == 1 => messages.first(),
            _ => None,
        };
        let plain = |only: &Message| Sequencer::is_plain(only) && !topic::is_reserved(&only.topic);
        self.effects.is_empty() && only.is_some_and(plain)
    }

    /// The one message that goes on.
    pub(super) fn became(self, message: Message) -> Message {
        match self.result {
            Ok(Became::These(mut messages)) => messages.pop().unwrap_or(message),
            _ => message,
        }
    }
}

/// Wakes writers. Of many only the first wake-up is a system call, since the others happen in the runtime itself.
fn wake(woken: Vec<Arc<Session>>, runtime: Option<&Handle>) {
    let many = woken.len() > FEW;
    let wake_all = move || woken.iter().for_each(|session| session.outbound.wake());
    match runtime.filter(|_| many) {
        Some(runtime) => drop(runtime.spawn(async move { wake_all() })),
        None => wake_all(),
    }
}

impl Shard {
    /// Lets a message that has passed wait for those behind it.
    pub(super) fn pass_on(&mut self, message: Message, reply: Reply) {
        self.passed.messages.push(message);
        self.passed.replies.push(reply);
        let since = *self.passed.since.get_or_insert(self.now);
        if self.passed.messages.len() >= MOST || self.now.duration_since(since) > PATIENCE {
            self.accept_passed();
        }
    }

    /// Accepts all that has passed, and answers.
    pub(super) fn accept_passed(&mut self) {
        let Passed { messages, replies, since, woken } = &mut self.passed;
        if messages.is_empty() {
            return;
        }
        *since = None;
        match self.context.sequencer.accept_plain(messages, woken) {
            Ok(routed) => {
                wake(mem::take(woken), self.runtime.as_ref());
                let now = Instant::now();
                self.now = now;
                for (reply, routed) in replies.drain(..).zip(routed) {
                    reply.accepted(now, || Accepted {
                        topic: Arc::clone(&routed.message.topic),
                        place: routed.place.clone(),
                        routed: Some(routed),
                    });
                }
            }
            // There may be room for some of them.
            Err(_) => {
                for (message, reply) in messages.drain(..).zip(replies.drain(..)) {
                    reply.answer(match self.context.sequencer.accept(vec![message], Vec::new(), None) {
                        Ok(messages) => Outcome::Accepted { level: Level::Routed, messages, note: None },
                        Err(NotCommitted::Refused(outcome)) => outcome,
                        // Nothing was read that could have changed.
                        Err(NotCommitted::Conflict) => Outcome::TimedOut,
                    });
                }
            }
        }
    }
}

//! Publishes that come, pass and are accepted together: what a message costs beside its own pass is paid once for many.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Reply, Shard};
use crate::message::{Accepted, Level, Message, Outcome};
use crate::pipeline::{Pass, Stop};
use crate::sequencer::{Effect, NotCommitted, Sequencer};
use crate::session::Session;

/// Messages that have passed and wait for those behind them.
const MOST: usize = 64;
/// Bytes that a message takes in a queue beside its own.
const AROUND: usize = 512;
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
}

impl Burst {
    /// Messages that go together.
    pub const MOST: usize = MOST;
    /// Bytes that go together.
    const BYTES: usize = 256 * 1024;

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
        self.bytes = 0;
        mem::take(&mut self.published)
    }

    /// Gives all up: they are answered `shutting-down`.
    pub fn clear(&mut self) {
        drop(self.take());
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

impl Shard {
    /// Lets a message wait for those behind it, if nothing depends on its being accepted first. Err: something does.
    pub(super) fn pass_on(
        &mut self,
        pass: &Pass<'_>,
        level: Level,
        result: Result<Vec<Message>, Stop>,
        effects: &[Effect],
        reply: &mut Option<Reply>,
    ) -> Result<(), Result<Vec<Message>, Stop>> {
        let mut messages = result.map_err(Err)?;
        let plain = |message: &Message| Sequencer::is_plain(message) && !message.topic.starts_with('$');
        let [message] = &*messages else { return Err(Ok(messages)) };
        if level != Level::Routed || !effects.is_empty() || !plain(message) {
            return Err(Ok(messages));
        }
        self.passed.messages.append(&mut messages);
        self.passed.replies.extend(reply.take());
        let now = pass.clock.get();
        let since = *self.passed.since.get_or_insert(now);
        if self.passed.messages.len() >= MOST || now.duration_since(since) > PATIENCE {
            self.accept_passed();
        }
        Ok(())
    }

    /// What has waited too long does not wait for the next pass.
    pub(super) fn accept_late(&mut self, now: Instant) {
        if self.passed.since.is_some_and(|since| now.duration_since(since) > PATIENCE) {
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
                woken.drain(..).for_each(|session| session.outbound.wake());
                let now = Instant::now();
                for (reply, routed) in replies.drain(..).zip(routed) {
                    reply.accepted(now, || Accepted {
                        topic: Arc::clone(&routed.message.topic),
                        place: routed.place.clone(),
                        routed: Some(routed),
                    });
                }
                messages.clear();
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

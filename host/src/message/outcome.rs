//! What became of a publish, and the guarantee that its publisher hears of it.

use std::fmt;
use std::sync::Arc;

use super::{Place, Routed};

/// How far an accepted message has come before its publisher is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Enqueued to every subscriber's session.
    #[default]
    Routed,
    /// On disk: survives kill -9 and power loss.
    Logged,
    /// Committed by every storage plugin whose topics match.
    Stored,
}

impl Level {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Logged => "logged",
            Self::Stored => "stored",
        }
    }

    /// Parses the word on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Routed, Self::Logged, Self::Stored].into_iter().find(|level| level.as_str() == text)
    }
}

/// One message that a publish became.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its topic, which a transform may have changed.
    pub topic: Arc<str>,
    /// None when the topic belongs to no log.
    pub place: Option<Place>,
    /// As its subscribers have it; only at the level `routed`, since whoever waits for more shall not hold it.
    pub routed: Option<Arc<Routed>>,
}

/// Two are equal that stand at the same place.
impl PartialEq for Accepted {
    fn eq(&self, other: &Self) -> bool {
        (&self.topic, &self.place) == (&other.topic, &other.place)
    }
}

impl Eq for Accepted {}

/// A "no" that says what was wrong with the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub reason: String,
    /// JSON Pointer (RFC 6901) into the payload; empty = the whole payload.
    pub path: String,
    /// The gateway shall end the session after answering.
    pub disconnect: bool,
}

/// Every publish gets exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// In, up to `level`; `note` says why, where that is less than what was asked for.
    Accepted {
        /// The level that holds.
        level: Level,
        /// The messages that it became, in routing order.
        messages: Vec<Accepted>,
        /// Why the level is lower than the one asked for.
        note: Option<String>,
    },
    /// A filter dropped it, or a transform consumed it: no fault of the publisher's.
    Filtered {
        /// May be empty.
        reason: String,
    },
    /// The principal may not publish there, or to a topic that a transform made of it.
    Denied {
        /// Never more than the client may know.
        reason: String,
    },
    /// A plugin or the router found it wrong.
    Invalid(Refusal),
    /// Over a size limit.
    TooLarge {
        /// Names the limit, in bytes.
        reason: String,
    },
    /// Over the session's rate.
    RateLimited {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// A plugin failed and its policy refuses the message.
    PluginFailed {
        /// The binding's name.
        plugin: Arc<str>,
    },
    /// A plugin failed and the message was set aside.
    DeadLettered {
        /// The binding's name.
        plugin: Arc<str>,
    },
    /// The pass took too long: never was and never will be routed.
    TimedOut,
    /// The log's queue is full.
    Overloaded,
    /// The store cannot take it; nothing was routed.
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// The router is stopping.
    ShuttingDown,
}

impl Outcome {
    /// The word on the wire and in metrics; a closed set.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Filtered { .. } => "filtered",
            Self::Denied { .. } => "denied",
            Self::Invalid(_) => "invalid",
            Self::TooLarge { .. } => "too-large",
            Self::RateLimited { .. } => "rate-limited",
            Self::PluginFailed { .. } => "plugin-failed",
            Self::DeadLettered { .. } => "dead-lettered",
            Self::TimedOut => "timed-out",
            Self::Overloaded => "overloaded",
            Self::Unavailable { .. } => "unavailable",
            Self::ShuttingDown => "shutting-down",
        }
    }

    /// What to tell the publisher, in words; empty for accepted messages.
    pub fn reason(&self) -> String {
        match self {
            Self::Accepted { note, .. } => note.clone().unwrap_or_default(),
            Self::Filtered { reason }
            | Self::Denied { reason }
            | Self::TooLarge { reason }
            | Self::Unavailable { reason } => reason.clone(),
            Self::Invalid(refusal) => refusal.reason.clone(),
            Self::RateLimited { retry_after_ms } => format!("too fast: try again in {retry_after_ms} ms"),
            Self::PluginFailed { plugin } => format!("plugin {plugin} failed"),
            Self::DeadLettered { plugin } => {
                format!("plugin {plugin} failed; the message is kept in the dead letters")
            }
            Self::TimedOut => "the plugins took too long; the message was not routed".into(),
            Self::Overloaded => "the log's queue is full; nothing was routed, try again".into(),
            Self::ShuttingDown => "the router is stopping; nothing was routed".into(),
        }
    }
}

/// Receives the one outcome of a publish. Called on a shard or writer thread: must not block.
pub type Answer = Box<dyn FnOnce(Outcome) + Send + Sync>;

/// Holds the publisher's [`Answer`] and makes sure that it is called exactly once: dropped unanswered (a
/// queue torn down at shutdown), it answers `shutting-down`.
pub struct Responder {
    answer: Option<Answer>,
    /// It is told of refusals only.
    of_refusals: bool,
}

impl Responder {
    /// Calls `answer` with the outcome.
    pub fn new(answer: impl FnOnce(Outcome) + Send + Sync + 'static) -> Self {
        Self { answer: Some(Box::new(answer)), of_refusals: false }
    }

    /// Calls `answer` with the outcome, unless the message is accepted.
    pub fn of_refusals(answer: impl FnOnce(Outcome) + Send + Sync + 'static) -> Self {
        Self { answer: Some(Box::new(answer)), of_refusals: true }
    }

    /// The publisher did not ask for an answer.
    pub fn none() -> Self {
        Self { answer: None, of_refusals: true }
    }

    /// A responder whose outcome can be awaited.
    pub fn channel() -> (Self, tokio::sync::oneshot::Receiver<Outcome>) {
        let (send, receive) = tokio::sync::oneshot::channel();
        // The receiver may have gone away: then nobody is left to be told.
        (Self::new(move |outcome| drop(send.send(outcome))), receive)
    }

    /// Whether somebody waits.
    pub fn is_some(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether it makes a difference to anybody that the message is accepted.
    pub fn hears_of_acceptance(&self) -> bool {
        self.answer.is_some() && !self.of_refusals
    }

    /// The message is accepted, which nobody need be told.
    pub fn forget(mut self) {
        drop(self.answer.take());
    }

    /// Answers.
    pub fn answer(mut self, outcome: Outcome) {
        let heard = !self.of_refusals || !matches!(outcome, Outcome::Accepted { .. });
        if let Some(answer) = self.answer.take().filter(|_| heard) {
            answer(outcome);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Outcome::ShuttingDown);
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Responder").field(&self.is_some()).finish()
    }
}

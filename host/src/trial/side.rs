//! One of the two chains of a replay.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::PassLimits;
use crate::message::{Message, Outcome, Principal};
use crate::metrics::Metrics;
use crate::pipeline::explain::{Recorder, Step};
use crate::pipeline::{self, Pass, Stages, Stop};
use crate::plugin::Chain;
use crate::session::{OutboundLimits, Session};

/// Authority of a replay: it asks once and for all.
const AUTHORITY: (u64, u64) = (0, 0);
/// Bytes of the steps of one message.
const STEP_ROOM: usize = 64 * 1024;

/// A chain with instances and data of its own.
pub(super) struct Side {
    stages: Stages,
    chain: Chain,
    limits: PassLimits,
}

/// What became of a message.
pub(super) struct Ended {
    pub outcome: Outcome,
    /// Empty unless it was accepted.
    pub messages: Vec<Message>,
    /// A plugin failed, and that was the end of it.
    pub failed: bool,
    pub steps: Vec<Step>,
}

/// What became of a message, as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SideResult {
    /// As the publisher is told.
    pub outcome: String,
    /// Why, if it is not `accepted`; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it became, some of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Became>,
    /// Messages beside these.
    #[serde(default)]
    pub more: usize,
}

/// A message that would be routed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Became {
    /// Its topic.
    pub topic: Arc<str>,
    /// Bytes of its payload.
    pub bytes: usize,
}

impl Side {
    pub fn new(chain: Chain, limits: PassLimits) -> Self {
        let mut stages = Stages::default();
        // What a replay counts is nobody's business.
        stages.adopt(&chain, &Arc::new(Metrics::new()));
        stages.rehearse(true);
        Self { stages, chain, limits }
    }

    /// Runs a message through the chain; what plugins write to `state` is there for the next one.
    pub fn run(&mut self, principal: &Principal, message: &Message, steps: bool) -> Ended {
        let recorder = Recorder::new(0, STEP_ROOM);
        let session = self.session(principal, &message.topic);
        let now = Instant::now();
        let pass = Pass {
            session: &session,
            authority: AUTHORITY,
            most_messages: self.limits.messages,
            deadline: now + self.limits.deadline,
            clock: Cell::new(now),
            recorder: steps.then_some(&recorder),
        };
        let result = pipeline::process(&mut self.stages, &pass, message).map(|became| became.of(message));
        self.commit(&result);
        let steps = recorder.take().steps;
        match result {
            Ok(messages) => {
                let level = crate::message::Level::Routed;
                let outcome = Outcome::Accepted { level, messages: Vec::new(), note: None };
                Ended { outcome, messages, failed: false, steps }
            }
            Err(stop) => {
                let failed = matches!(
                    stop,
                    Stop::Failed { .. } | Stop::DeadLetter { .. } | Stop::Dropped(_) | Stop::TimedOut
                );
                Ended { outcome: stop.outcome(), messages: Vec::new(), failed, steps }
            }
        }
    }

    fn commit(&mut self, result: &Result<Vec<Message>, Stop>) {
        let effects = self.stages.take_effects();
        let is_kept = result.as_ref().map_or_else(Stop::is_decision, |_| true);
        for effect in effects.into_iter().filter(|_| is_kept) {
            let changes = effect.transaction.into_changes(result.is_ok());
            effect.space.lock().apply(changes);
        }
    }

    fn session(&self, principal: &Principal, topic: &str) -> Session {
        let limits = OutboundLimits { messages: 1, bytes: 1 };
        let session = Session::new("replay".into(), principal.clone(), "http", String::new(), limits, None);
        let bindings = self.chain.auth.iter().filter_map(|slot| slot.binding());
        // Who let it in is gone and cannot be asked: it was allowed then.
        if bindings.into_iter().all(|binding| *binding.name() != principal.binding) {
            session.remember_publish(AUTHORITY, topic, true);
        }
        session
    }
}

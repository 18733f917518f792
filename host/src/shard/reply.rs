//! The publisher's answer: counted once, and given when the level asked for holds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;

use crate::consumer::Consumers;
use crate::message::{Accepted, Level, Outcome, Responder};
use crate::metrics::GatewayMetrics;
use crate::pipeline::trace::Trace;
use crate::store::{OnDurable, StoreError};

/// Who is to be answered, and where the answer is counted.
pub struct Reply {
    /// The publisher.
    pub responder: Responder,
    /// Counters of its gateway.
    pub metrics: Arc<GatewayMetrics>,
    /// When ingress took the message.
    pub arrived: Instant,
    /// Somebody watches the message.
    pub trace: Option<Box<Trace>>,
    /// The message comes out of the dead letters.
    pub requeue: Option<Arc<Requeue>>,
}

/// A run of a dead letter's message: it makes no further letter.
#[derive(Debug, Default)]
pub struct Requeue {
    /// A plugin itself has ended the message, and none has failed. Set before the answer.
    pub decided: AtomicBool,
}

impl Reply {
    /// As [`answer`](Self::answer), for one message that was accepted and routed by now.
    pub fn accepted(self, now: Instant, message: impl FnOnce() -> Accepted) {
        if self.trace.is_none() && !self.responder.hears_of_acceptance() {
            self.metrics.accepted(now.duration_since(self.arrived));
            return self.responder.forget();
        }
        self.answer(Outcome::Accepted { level: Level::Routed, messages: vec![message()], note: None });
    }

    /// Counts, tells who watches, and answers.
    pub fn answer(self, outcome: Outcome) {
        let took = self.arrived.elapsed();
        self.metrics.ended(&outcome, took);
        if let Some(trace) = self.trace {
            trace.finish(&outcome, took);
        }
        self.responder.answer(outcome);
    }
}

/// An answer that waits for two things in either order: the sequencer's places and the log's flush.
pub struct Pending {
    level: Level,
    consumers: Arc<Consumers>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reply: Option<Reply>,
    accepted: Option<Vec<Accepted>>,
    durable: Option<Result<(), StoreError>>,
}

impl Pending {
    /// Waits for a level above `routed`.
    pub fn new(reply: Option<Reply>, level: Level, consumers: &Arc<Consumers>) -> Arc<Self> {
        let state = Mutex::new(State { reply, ..State::default() });
        Arc::new(Self { level, consumers: Arc::clone(consumers), state })
    }

    /// What the writer calls after its flush.
    pub fn on_durable(self: &Arc<Self>) -> OnDurable {
        let pending = Arc::clone(self);
        Box::new(move |result| {
            pending.state.lock().durable = Some(result);
            pending.settle();
        })
    }

    /// The messages have their places.
    pub fn accepted(&self, mut accepted: Vec<Accepted>) {
        accepted.iter_mut().for_each(|message| message.routed = None);
        self.state.lock().accepted = Some(accepted);
        self.settle();
    }

    /// Nothing was accepted: the reply goes back to the shard.
    pub fn take_back(&self) -> Option<Reply> {
        self.state.lock().reply.take()
    }

    fn settle(&self) {
        let mut state = self.state.lock();
        let (Some(_), Some(_)) = (&state.accepted, &state.durable) else { return };
        let State { reply, accepted, durable } = std::mem::take(&mut *state);
        drop(state);
        let (Some(reply), Some(messages), Some(durable)) = (reply, accepted, durable) else { return };
        let logged = messages.iter().any(|message| message.place.is_some());
        let (level, note) = match durable {
            Err(error) => (Level::Routed, Some(format!("routed, but not in the log: {error}"))),
            Ok(()) if !logged => (Level::Routed, Some("its topic belongs to no log".into())),
            Ok(()) if self.level == Level::Stored => {
                return self.consumers.when_stored(messages, move |messages, level, note| {
                    reply.answer(Outcome::Accepted { level, messages, note });
                });
            }
            Ok(()) => (Level::Logged, None),
        };
        reply.answer(Outcome::Accepted { level, messages, note });
    }
}

//! What would become of a message: a pass whose result is thrown away.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use crate::message::{Message, Outcome};
use crate::pipeline::explain::{Record, Recorder, cut_at};
use crate::pipeline::{self, Pass};
use crate::session::Session;

/// Bytes of each payload that an explanation shows.
const PAYLOAD_BYTES: usize = 64 * 1024;
/// Bytes that its steps may take, where further ones are counted, and its messages' payloads, which are cut.
const ROOM: usize = 4 << 20;

/// What would have become of a message, and every step on its way there.
#[derive(Debug)]
pub struct Explained {
    /// The messages that would have been routed, or why none would.
    pub became: Result<Vec<WouldBe>, Outcome>,
    /// The steps.
    pub record: Record,
}

/// A message that would have been routed.
#[derive(Debug)]
pub struct WouldBe {
    /// As the plugins made it, but for a payload that is cut.
    pub message: Message,
    /// Bytes of its whole payload.
    pub bytes: usize,
    /// The log that it would have gone to; none: its topic belongs to no log.
    pub log: Option<Arc<str>>,
}

impl Shard {
    /// Runs a message through the pipeline and forgets it: nothing is committed, routed, logged or set aside.
    /// Err: the session may not know.
    pub(super) fn explain(
        &mut self,
        session: &Session,
        message: Message,
        payloads: bool,
    ) -> Result<Explained, Outcome> {
        let began = Instant::now();
        let recorder = Recorder::new(if payloads { PAYLOAD_BYTES } else { 0 }, ROOM);
        let pass = Pass {
            session,
            authority: self.authority,
            most_messages: self.context.pass_messages,
            deadline: began + self.context.pass_deadline,
            clock: Cell::new(began),
            recorder: Some(&recorder),
        };
        let topic = Arc::clone(&message.topic);
        self.stages.rehearse(true);
        let may = pipeline::ask(&mut self.stages, session, &pass.clock, "explain", &topic, |_, _| {});
        let result = may.map(|may| may.then(|| pipeline::process(&mut self.stages, &pass, &message)));
        self.stages.clear();
        self.stages.rehearse(false);
        let became = match result.map_err(|stop| stop.outcome())? {
            None => return Err(denied(&topic)),
            Some(Ok(became)) => Ok(self.would_be(became.of(&message))),
            Some(Err(stop)) => Err(stop.outcome()),
        };
        Ok(Explained { became, record: recorder.take() })
    }

    fn would_be(&self, messages: Vec<Message>) -> Vec<WouldBe> {
        let mut room = ROOM;
        let would_be = |mut message: Message| {
            let bytes = message.payload.len();
            message.payload.truncate(cut_at(&message.payload, PAYLOAD_BYTES.min(room)));
            room = room.saturating_sub(message.payload.len());
            WouldBe { log: self.context.sequencer.log_name(&message.topic), bytes, message }
        };
        messages.into_iter().map(would_be).collect()
    }
}

fn denied(topic: &str) -> Outcome {
    let reason =
        format!("not allowed to explain {topic:?}: the auth plugin decides who learns what plugins do");
    Outcome::Denied { reason }
}

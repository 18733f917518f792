//! From a pass to its one answer: run, commit, run again on a conflict, answer at the level asked for.

use std::sync::Arc;
use std::time::Instant;

use super::Shard;
use crate::consumer::Consumers;
use crate::message::{Accepted, Level, Message, Outcome, Responder};
use crate::pipeline::{self, Pass, Stop};
use crate::sequencer::NotCommitted;
use crate::session::Session;
use crate::store::OnDurable;

/// Runs of a pass whose reads another shard changed; after them it runs alone.
const ATTEMPTS: usize = 16;

impl Shard {
    /// One publish, from the pipeline to its answer.
    pub(super) fn publish(
        &mut self,
        session: &Session,
        message: Message,
        level: Level,
        responder: Responder,
        authority: (u64, u64),
        count: impl FnOnce(&Outcome) + Send + 'static,
    ) {
        let responder = Responder::new(move |outcome| {
            count(&outcome);
            responder.answer(outcome);
        });
        let pass = Pass {
            session,
            authority,
            most_messages: self.context.pass_messages,
            deadline: Instant::now() + self.context.pass_deadline,
        };
        let mut answer = Answering { responder: Some(responder), level };
        for attempt in 0..=ATTEMPTS {
            let sequencer = Arc::clone(&self.context.sequencer);
            // Alone = nobody else commits state from the first call to the commit.
            let alone = (attempt == ATTEMPTS).then(|| sequencer.alone.write());
            match self.attempt(&pass, &message, alone.is_some(), &mut answer) {
                Ok(()) => return,
                Err(Again) => self.stages.clear(),
            }
        }
        answer.now(Outcome::TimedOut);
    }

    /// Err: another shard changed what this pass has read.
    fn attempt(
        &mut self,
        pass: &Pass<'_>,
        message: &Message,
        alone: bool,
        answer: &mut Answering,
    ) -> Result<(), Again> {
        let result = pipeline::process(&mut self.stages, pass, message.clone());
        let effects = self.stages.take_effects();
        let sequencer = Arc::clone(&self.context.sequencer);
        let _shared = (!alone && !effects.is_empty()).then(|| sequencer.alone.read());
        let committed = match result {
            Ok(messages) => {
                let (after, on_durable) = answer.deferred(&self.context.consumers);
                sequencer.accept(messages, effects, on_durable).map(|accepted| after.accepted(accepted))
            }
            Err(stop) => {
                let kept = if stop.is_decision() { sequencer.commit_stopped(effects) } else { Ok(()) };
                kept.map(|()| answer.now(self.stopped(pass.session, message, &stop)))
            }
        };
        match committed {
            Ok(()) => Ok(()),
            Err(NotCommitted::Conflict) => Err(Again),
            Err(NotCommitted::Refused(outcome)) => {
                answer.now(outcome);
                Ok(())
            }
        }
    }

    /// What a stop leads to, beside the answer.
    fn stopped(&self, session: &Session, message: &Message, stop: &Stop) -> Outcome {
        if let Stop::DeadLetter { plugin, version, reason } = stop {
            self.context.dead_letters.keep(message, plugin, version, reason);
        }
        if let Stop::Failed { disconnect: true, plugin, .. } = stop {
            session.outbound.close(1011, format!("plugin {plugin} failed"));
        }
        stop.outcome()
    }

    /// Commits what a call outside a pass has written; after a conflict it is forgotten, as the call said
    /// nothing that rests on it.
    pub(super) fn commit_alone(&mut self) {
        let effects = self.stages.take_effects();
        if !effects.is_empty() && self.context.sequencer.accept(Vec::new(), effects, None).is_err() {
            tracing::debug!("state written by an authorize call was not committed");
        }
    }
}

struct Again;

/// The publisher's answer, until it is given.
struct Answering {
    responder: Option<Responder>,
    level: Level,
}

/// What is to be answered once the messages are accepted.
enum After<'a> {
    Now(&'a mut Option<Responder>),
    WhenDurable(std::sync::mpsc::SyncSender<Vec<Accepted>>, &'a mut Option<Responder>),
}

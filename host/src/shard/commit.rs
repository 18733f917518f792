//! From a pass to its one answer: run, commit, run again on a conflict.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Shard;
use super::burst::{Published, Run};
use super::enrol::enrolments;
use super::reply::{Pending, Reply};
use crate::dead_letters::About;
use crate::message::{Level, Message, Outcome, Sender};
use crate::pipeline::{self, By, Pass, Stop};
use crate::plugin::component;
use crate::sequencer::NotCommitted;
use crate::session::Session;

/// Runs of a pass whose reads another shard changed; after them it runs alone.
const ATTEMPTS: usize = 16;

/// A publish that is to be committed.
#[derive(Clone, Copy)]
struct Work<'a> {
    session: &'a Arc<Session>,
    message: &'a Message,
    level: Level,
}

/// Another shard changed what the pass has read.
struct Conflict;

impl Shard {
    /// One publish, from the pipeline to its answer.
    pub(super) fn publish(&mut self, session: &Arc<Session>, published: Published) {
        let Published { message, level, reply } = published;
        let recorder = reply.trace.as_ref().map(|trace| Arc::clone(&trace.recorder));
        let pass = Pass {
            session,
            authority: self.authority,
            most_messages: self.context.pass_messages,
            deadline: self.now + self.context.pass_deadline,
            clock: Cell::new(self.now),
            recorder: recorder.as_deref(),
        };
        let run = self.run_once(&pass, &message);
        self.now = pass.clock.get();
        if level == Level::Routed && run.is_plain(&message) {
            return self.pass_on(run.became(message), reply);
        }
        // What passed before keeps its place.
        self.accept_passed();
        self.commit(pass, run, &Work { session, message: &message, level }, reply);
        self.now = Instant::now();
    }

    /// Calls the plugins.
    fn run_once(&mut self, pass: &Pass<'_>, message: &Message) -> Run {
        let result = pipeline::process(&mut self.stages, pass, message);
        Run { result, effects: self.stages.take_effects() }
    }

    /// Commits a run. After a conflict there is another one.
    fn commit(&mut self, mut pass: Pass<'_>, first: Run, work: &Work<'_>, reply: Reply) {
        let sequencer = Arc::clone(&self.context.sequencer);
        let (mut reply, mut run) = (Some(reply), Some(first));
        let mut attempt = 0;
        while attempt <= ATTEMPTS {
            // Alone = nobody else commits state from the first call to the commit.
            let alone = (attempt == ATTEMPTS).then(|| sequencer.alone.write());
            let run = run.take().unwrap_or_else(|| self.run_once(&pass, work.message));
            match self.attempt(run, work, alone.is_some(), &mut reply) {
                Ok(None) => return,
                Ok(Some(outcome)) => return answer(reply, outcome),
                Err(Conflict) => self.run_again(&pass),
            }
            drop(alone);
            // The state that it touched may be on its way to a new version: that is nobody's delay.
            if self.context.fence.wait() {
                let now = Instant::now();
                pass.clock.set(now);
                pass.deadline = now + self.context.pass_deadline;
            } else {
                attempt += 1;
            }
            self.adopt();
            pass.authority = self.authority;
        }
        answer(reply, Outcome::TimedOut);
    }

    fn run_again(&mut self, pass: &Pass<'_>) {
        self.stages.clear();
        if let Some(recorder) = pass.recorder {
            recorder.run_again();
        }
    }

    /// Commits one run. Ok(None): the reply has been handed on and will be answered.
    fn attempt(
        &mut self,
        run: Run,
        work: &Work<'_>,
        alone: bool,
        reply: &mut Option<Reply>,
    ) -> Result<Option<Outcome>, Conflict> {
        let (Run { result, effects }, Work { session, message, level }) = (run, *work);
        let result = result.map(|became| became.of(message));
        let enrolments = result.as_ref().map_or_else(|_| Vec::new(), |all| enrolments(all, session));
        let sequencer = &self.context.sequencer;
        let _shared = (!alone && !effects.is_empty()).then(|| sequencer.alone.read());
        let refused = match result {
            Ok(messages) if level == Level::Routed => match sequencer.accept(messages, effects, None) {
                Ok(messages) => {
                    self.enrol(session, enrolments);
                    return Ok(Some(Outcome::Accepted { level, messages, note: None }));
                }
                Err(refused) => refused,
            },
            Ok(messages) => {
                let pending = Pending::new(reply.take(), level, &self.context.consumers);
                match sequencer.accept(messages, effects, Some(pending.on_durable())) {
                    Ok(messages) => {
                        self.enrol(session, enrolments);
                        pending.accepted(messages);
                        return Ok(None);
                    }
                    Err(refused) => {
                        *reply = pending.take_back();
                        refused
                    }
                }
            }
            Err(stop) => {
                let kept = if stop.is_decision() { sequencer.commit_stopped(effects) } else { Ok(()) };
                match kept {
                    Ok(()) => {
                        self.stopped(session, message, &stop, reply.take());
                        return Ok(None);
                    }
                    Err(refused) => refused,
                }
            }
        };
        match refused {
            NotCommitted::Conflict => Err(Conflict),
            NotCommitted::Refused(outcome) => Ok(Some(outcome)),
        }
    }

    /// What a stop leads to. The answer comes before the close, after which nothing is sent.
    fn stopped(&self, session: &Session, message: &Message, stop: &Stop, reply: Option<Reply>) {
        match reply.as_ref().and_then(|reply| reply.requeue.as_ref()) {
            // Its letter is there still.
            Some(requeue) => requeue.decided.store(stop.is_plugins_own(), Ordering::Release),
            None if matches!(stop, Stop::DeadLetter { .. }) => {
                return self.set_aside(session, message, stop, reply);
            }
            None => {}
        }
        answer(reply, stop.outcome());
        if let Stop::Failed { disconnect: true, plugin, .. } = stop {
            session.outbound.close(1011, format!("plugin {plugin} failed"));
        }
    }

    /// Keeps the message as it was admitted, and what asking for its publisher's rights again takes. The answer comes
    /// when it is on the disk.
    fn set_aside(&self, session: &Session, message: &Message, stop: &Stop, reply: Option<Reply>) {
        let Stop::DeadLetter { by: By { plugin, version, stage, digest }, reason } = stop else { return };
        let digest = digest.map(|digest| component::hex(&digest)).unwrap_or_default();
        let again = Sender::of(&session.principal).encode();
        let (digest, again) = (&*digest, &*again);
        let about = About { stage, plugin, version, digest, reason, again, ..About::default() };
        let (outcome, name) = (stop.outcome(), Arc::clone(plugin));
        self.context.dead_letters.keep_and_then(message, &about, move |kept| match kept {
            Ok(()) => answer(reply, outcome),
            Err(error) => {
                tracing::error!(plugin = %name, %error, "dead letter lost: the store does not take it");
                let reason = format!("plugin {name} failed, and the message cannot be set aside: {error}");
                answer(reply, Outcome::Unavailable { reason });
            }
        });
    }

    /// Commits what a call outside a pass has written. After a conflict it is forgotten: the answer that the
    /// call gave does not rest on it.
    pub(super) fn commit_alone(&mut self) {
        let effects = self.stages.take_effects();
        if !effects.is_empty() && self.context.sequencer.accept(Vec::new(), effects, None).is_err() {
            tracing::debug!("state written by an authorize call was not committed");
        }
    }
}

fn answer(reply: Option<Reply>, outcome: Outcome) {
    if let Some(reply) = reply {
        reply.answer(outcome);
    }
}

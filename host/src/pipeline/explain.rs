//! What a pass notes of every step, when somebody wants to know: an operator who traces, a publisher who asks
//! what would become of a message. A pass without a [`Recorder`] notes nothing and looks at no clock for it.

mod step;

pub use step::{Payload, Seen, Step, cut_at};
pub(super) use step::{is_zero, microseconds};

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::stages::{Counted, Stage};
use super::stop::shortened;
use super::{Pass, Stop};
use crate::message::Message;
use crate::metrics::End;
use crate::plugin::contract::{Permission, Refusal, TransformOutcome, Verdict};
use crate::plugin::{CallError, Instance, Policy};

/// Whether the publisher may publish there.
pub const AUTH: &str = "auth";
/// The same, of a topic that a transform made.
pub const REAUTHORIZE: &str = "re-authorize";

/// Gathers the steps of one pass. Bounded: what goes beyond its room is only counted.
#[derive(Debug)]
pub struct Recorder {
    keep: usize,
    room: usize,
    record: Mutex<Recording>,
}

#[derive(Debug, Default)]
struct Recording {
    record: Record,
    used: usize,
    /// The last step stands in the record: what left it can be added.
    open: bool,
}

/// What a [`Recorder`] gathered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// In the order in which they were taken.
    pub steps: Vec<Step>,
    /// Steps for which there was no room.
    pub omitted: usize,
    /// Runs before this one, which were taken back because another shard changed what they had read.
    pub reruns: usize,
}

impl Recorder {
    /// Keeps of each payload at most `keep` bytes (0 = no payloads), and at most `room` bytes in all.
    pub fn new(keep: usize, room: usize) -> Self {
        Self { keep, room, record: Mutex::default() }
    }

    /// What was gathered; nothing is left.
    pub fn take(&self) -> Record {
        std::mem::take(&mut *self.record.lock()).record
    }

    /// The pass is run again: what was noted of it did not happen.
    pub fn run_again(&self) {
        let mut recording = self.record.lock();
        let reruns = recording.record.reruns + 1;
        *recording = Recording { record: Record { reruns, ..Record::default() }, ..Recording::default() };
    }

    /// A message as this recorder keeps it.
    pub fn seen(&self, topic: &Arc<str>, payload: &bytes::Bytes) -> Seen {
        Seen::new(topic, payload, self.keep)
    }

    fn note(&self, step: Step, output: Option<&Message>) {
        let mut recording = self.record.lock();
        let size = step.size();
        recording.open = recording.used + size <= self.room;
        if !recording.open {
            recording.record.omitted += 1;
            return;
        }
        recording.used += size;
        recording.record.steps.push(step);
        drop(recording);
        self.left(output.into_iter());
    }

    /// What the last step made of its message.
    fn left<'m>(&self, output: impl Iterator<Item = &'m Message>) {
        let recording = &mut *self.record.lock();
        let Some(step) = recording.record.steps.last_mut().filter(|_| recording.open) else { return };
        (step.output, step.more) = (Vec::new(), 0);
        for message in output {
            let seen = self.seen(&message.topic, &message.payload);
            if recording.used + seen.size() > self.room {
                step.more += 1;
            } else {
                recording.used += seen.size();
                step.output.push(seen);
            }
        }
    }
}

/// An answer of a plugin, as it is told.
pub(super) trait Told: Counted {
    /// In the plugin's words; empty: it gave none.
    fn reason(&self) -> String {
        String::new()
    }

    /// Whether the message goes on as it was.
    fn keeps(&self) -> bool {
        false
    }
}

impl Told for Verdict {
    fn reason(&self) -> String {
        match self {
            Self::Keep => String::new(),
            Self::Drop(reason) => shortened(reason),
            Self::Refuse(refusal) => refused(refusal),
        }
    }

    fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl Told for TransformOutcome {
    fn reason(&self) -> String {
        if let Self::Refuse(refusal) = self { refused(refusal) } else { String::new() }
    }
}

impl Told for Permission {
    fn reason(&self) -> String {
        if let Self::Deny(reason) = self { shortened(reason) } else { String::new() }
    }
}

fn refused(refusal: &Refusal) -> String {
    let reason = shortened(&refusal.reason);
    if refusal.path.is_empty() { reason } else { format!("{reason} (at {})", shortened(&refusal.path)) }
}

impl Pass<'_> {
    /// Calls a stage with a message, and notes how that ended.
    pub(super) fn call<T: Told>(
        &self,
        stage: &mut Stage,
        message: &Message,
        call: impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let began = self.begin();
        let answer = stage.call(&self.clock, call);
        if let Some(recorder) = self.recorder {
            let policy = answer.is_err().then_some(stage.binding.policy);
            let keeps = answer.as_ref().map_or(policy == Some(Policy::Pass), Told::keeps);
            let input = recorder.seen(&message.topic, &message.payload);
            let step = self.step(stage.binding.kind().as_str(), stage, input, &answer, began);
            let step = Step { policy: policy.map(|policy| policy.as_str().into()), ..step };
            recorder.note(step, keeps.then_some(message));
        }
        answer
    }

    /// Where the next step's time begins. Only who records looks at the clock.
    pub(super) fn begin(&self) -> Instant {
        if self.recorder.is_some() {
            self.clock.set(Instant::now());
        }
        self.clock.get()
    }

    /// A transform's messages are known.
    pub(super) fn left<'m>(&self, messages: impl Iterator<Item = &'m Message>) {
        if let Some(recorder) = self.recorder {
            recorder.left(messages);
        }
    }

    /// An auth plugin was asked.
    pub(super) fn asked(
        &self,
        at: &'static str,
        topic: &str,
        stage: &Stage,
        answer: &Result<Permission, CallError>,
        began: Instant,
    ) {
        if let Some(recorder) = self.recorder {
            recorder.note(self.step(at, stage, Seen::topic(topic), answer, began), None);
        }
    }

    /// Nobody was asked: `who` had answered before, or the deployer had.
    pub(super) fn known(
        &self,
        at: &'static str,
        topic: &str,
        who: &Arc<str>,
        allowed: bool,
        why: &'static str,
    ) {
        if let Some(recorder) = self.recorder {
            let end = if allowed { End::Allow } else { End::Deny };
            let step = Step::new(at, Arc::clone(who), end.as_str(), Seen::topic(topic));
            recorder.note(Step { reason: why.into(), ..step }, None);
        }
    }

    /// A plugin that the message should have met is not there.
    pub(super) fn missing(&self, message: &Message, stop: &Stop) {
        if let (Some(recorder), Stop::Failed { plugin, reason, .. }) = (self.recorder, stop) {
            let input = recorder.seen(&message.topic, &message.payload);
            let step = Step::new("chain", Arc::clone(plugin), "missing", input);
            recorder.note(Step { reason: reason.clone(), ..step }, None);
        }
    }

    fn step<T: Told>(
        &self,
        at: &'static str,
        stage: &Stage,
        input: Seen,
        answer: &Result<T, CallError>,
        began: Instant,
    ) -> Step {
        let verdict = answer.as_ref().map_or_else(End::from, Counted::end).as_str();
        Step {
            version: Some(Arc::clone(&stage.binding.shared.version)),
            reason: answer.as_ref().map_or_else(|error| shortened(&error.to_string()), Told::reason),
            us: Some(microseconds(self.clock.get().duration_since(began))),
            ..Step::new(at, Arc::clone(stage.name()), verdict, input)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn message(topic: &str, payload: &'static str) -> Message {
        Message { topic: topic.into(), meta: Bytes::from_static(&[1]), payload: payload.into() }
    }

    fn step(of: &Recorder, message: &Message) -> Step {
        Step::new("filter", "f".into(), "keep", of.seen(&message.topic, &message.payload))
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let one = message("a", "123");
        let size = step(&Recorder::new(0, 0), &one).size();
        let recorder = Recorder::new(0, 2 * size);
        for _ in 0..5 {
            recorder.note(step(&recorder, &one), None);
        }
        let record = recorder.take();
        assert_eq!((record.steps.len(), record.omitted), (2, 3));
        let recorder = Recorder::new(2, size);
        recorder.note(step(&Recorder::new(0, 0), &one), Some(&one));
        let record = recorder.take();
        assert_eq!((record.steps[0].output.len(), record.steps[0].more), (0, 1), "{record:?}");
    }

    #[test]
    fn a_run_that_was_taken_back_leaves_its_number_only() {
        let recorder = Recorder::new(0, 10_000);
        recorder.note(step(&recorder, &message("a", "")), None);
        recorder.run_again();
        recorder.note(step(&recorder, &message("b", "")), None);
        let record = recorder.take();
        assert_eq!((record.steps.len(), record.reruns), (1, 1));
        assert_eq!(&*record.steps[0].input.topic, "b");
    }
}

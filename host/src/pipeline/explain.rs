//! What a pass notes of every step, when somebody wants to know: an operator who traces, a publisher who asks
//! what would become of a message. A pass without a [`Recorder`] notes nothing and looks at no clock for it.

mod pass;
mod step;
mod told;

pub use step::{Payload, Seen, Step, cut_at};
pub(super) use step::{is_zero, microseconds};
pub(super) use told::Told;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::message::Message;

/// Whether the publisher may publish there.
pub const AUTH: &str = "auth";
/// The same, of a topic that a transform made.
pub const REAUTHORIZE: &str = "re-authorize";

/// An answer in the words of the metric `weir_plugin_calls_total`.
pub(super) fn word(answer: &impl Told) -> &'static str {
    answer.end().as_str()
}

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
    pub fn seen(&self, topic: &Arc<str>, payload: &Bytes) -> Seen {
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

#[cfg(test)]
mod tests {
    use super::*;

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

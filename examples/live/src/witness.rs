//! Who looks on while the device, the sensor and the page do their work.

use std::ops::RangeInclusive;

use crate::client::Answer;
use crate::device::Command;
use crate::page::Arrival;

/// Is told what was sent, what the router said to it, and what came in. Everything has a default, so that a
/// program implements what it wants to know.
///
/// A sender is known by its name, and counts its messages from 1. A publish may carry several of them.
pub trait Witness: Send + Sync {
    /// These messages are about to be sent.
    fn sent(&self, _sender: &str, _messages: RangeInclusive<u64>, _as: Sent) {}

    /// The router's answer to them.
    fn answered(&self, _sender: &str, _messages: RangeInclusive<u64>, _as: Sent, _answer: &Answer) {}

    /// A message reached the one for whom it is.
    fn delivered(&self, _sender: &str, _message: u64) {}

    /// The page is about to give a device its command of this number.
    fn commanded(&self, _number: u64, _command: Command) {}

    /// What the page makes of a message.
    fn arrived(&self, _arrival: &Arrival<'_>) {}

    /// A message reached the page that is no reading, of whomever.
    fn foreign(&self, topic: &str, sender: &str) {
        self.note(&format!("what {sender} sent to {topic} is no reading"));
    }

    /// Something that a person may want to know.
    fn note(&self, _text: &str) {}

    /// One line on how things are.
    fn status(&self) -> String {
        String::new()
    }
}

/// What a publish is meant as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Sound: it should be accepted.
    Sound,
    /// Malformed on purpose: it must be refused.
    Malformed,
    /// The same as the one before, as after a lost answer: it must not count again.
    Repeated,
}

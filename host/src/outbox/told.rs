//! What is told of posts that are not sent: all is counted, and so many lines a second are written, so that whoever floods
//! an outbox does not fill the operator's disk.

use std::time::Duration;

use crate::config::Endpoint;
use crate::metrics::OutboxMetrics;
use crate::telemetry::{LineGate, Passage};

/// Lines of each kind that one outbox writes in a second.
const LINES_PER_S: u32 = 5;

/// Why a post of a gateway is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// More come than the store takes.
    Store,
    /// Too many wait for its receiver.
    Receiver,
    /// Too many of its owner's wait.
    Owner,
    /// The router stops.
    Stopping,
    /// What it was said through has been deleted.
    Deleted,
}

impl Refusal {
    /// The word in metrics; a closed set.
    fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Receiver => "receiver",
            Self::Owner => "owner",
            Self::Stopping => "stopping",
            Self::Deleted => "deleted",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Store => "more come than the store takes",
            Self::Receiver => "its receiver does not keep up",
            Self::Owner => "its owner's receivers do not keep up",
            Self::Stopping => "the router stops",
            Self::Deleted => "its room or endpoint is deleted",
        }
    }
}

/// The voice of one outbox.
pub(super) struct Told {
    /// As in metrics.
    pub(super) name: String,
    pub(super) metrics: OutboxMetrics,
    refused: LineGate,
    failed: LineGate,
    dead: LineGate,
    store: LineGate,
}

impl Told {
    pub(super) fn new(name: &str, metrics: OutboxMetrics) -> Self {
        let [refused, failed, dead, store] = std::array::from_fn(|_| LineGate::new(LINES_PER_S));
        Self { name: name.to_owned(), metrics, refused, failed, dead, store }
    }

    /// A post is not sent.
    pub(super) fn refused(&self, destination: &Endpoint, refusal: Refusal) {
        self.metrics.refused(refusal.as_str());
        let (outbox, reason) = (&*self.name, refusal.text());
        if let Some(left_out) = passes(&self.refused, &format!("{destination} {reason}")) {
            tracing::warn!(outbox, %destination, reason, left_out, "a post of a room is not sent");
        }
    }

    /// An attempt has failed, and after the pause there is another one.
    pub(super) fn failed(&self, destination: &Endpoint, attempts: u64, reason: &str, pause: Duration) {
        let (outbox, pause_ms) = (&*self.name, pause.as_millis());
        if let Some(left_out) = passes(&self.failed, &format!("{destination} {attempts} {reason}")) {
            tracing::warn!(outbox, %destination, attempts, reason, pause_ms, left_out, "post failed");
        }
    }

    /// A post is set aside.
    pub(super) fn given_up(&self, destination: &str, key: &str, reason: &str) {
        self.metrics.dead.inc();
        let outbox = &*self.name;
        if let Some(left_out) = passes(&self.dead, &format!("{destination} {key} {reason}")) {
            tracing::error!(outbox, destination, key, reason, left_out, "post given up: dead letter");
        }
    }

    /// The store does not work.
    pub(super) fn waits(&self, error: &dyn std::fmt::Display) {
        let outbox = &*self.name;
        if let Some(left_out) = passes(&self.store, &error.to_string()) {
            tracing::error!(outbox, %error, left_out, "sending waits for the store");
        }
    }
}

/// Some(lines that were left out before): write it.
fn passes(gate: &LineGate, line: &str) -> Option<u64> {
    match gate.pass(line) {
        Passage::Write { left_out, .. } => Some(left_out),
        Passage::Again | Passage::TooMany => None,
    }
}

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
    /// Its receiver is on a network that the operator has not named.
    Private,
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
            Self::Private => "private",
            Self::Stopping => "stopping",
            Self::Deleted => "deleted",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Store => "more come than the store takes",
            Self::Receiver => "its receiver does not keep up",
            Self::Owner => "its owner's receivers do not keep up",
            Self::Private => "its receiver is not public, and no network of [outbox] networks",
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

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use super::*;
    use crate::metrics::Metrics;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_is_counted_and_told_in_a_few_lines() {
        let (metrics, lines, began) = (Metrics::new(), Lines::default(), Instant::now());
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let told = Told::new("gateway:rooms", metrics.outbox("gateway:rooms"));
            for n in 0..1_000 {
                let to: Endpoint = format!("http://a{n}.example/").parse().unwrap();
                told.refused(&to, Refusal::Owner);
                told.failed(&to, 1, "refused", Duration::from_secs(1));
                told.given_up(&to.destination(), "key", "gone");
            }
        });
        let most = 3 * usize::try_from(began.elapsed().as_secs() + 2).unwrap() * LINES_PER_S as usize;
        let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!((3..=most).contains(&lines.lines().count()), "{lines}");
        for said in ["a post of a room is not sent", "post failed", "post given up"] {
            assert!(lines.contains(said), "one kind silences no other: {lines}");
        }
        let text = metrics.encode();
        for sample in [
            r#"weir_outbox_refused_total{outbox="gateway:rooms",reason="owner"} 1000"#,
            r#"weir_outbox_dead_total{outbox="gateway:rooms"} 1000"#,
        ] {
            assert!(text.contains(sample), "{sample}\n{text}");
        }
    }
}

//! What is told of messages that do not pass: all are counted, and now and then a line is written.

use crate::message::Outcome;
use crate::metrics::BridgeMetrics;
use crate::telemetry::Seldom;

pub(super) struct Told {
    pub(super) metrics: BridgeMetrics,
    refused: Seldom,
    lost: Seldom,
}

impl Told {
    pub(super) fn new(metrics: BridgeMetrics) -> Self {
        Self { metrics, refused: Seldom::new(), lost: Seldom::new() }
    }

    /// What became of a message of the broker.
    pub(super) fn outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted { .. } => drop(self.metrics.received.inc()),
            // It is published again.
            Outcome::RateLimited { .. } => {}
            // No fault of anybody's.
            Outcome::Filtered { .. } => self.metrics.refused("in", outcome.as_str()),
            outcome => {
                self.metrics.refused("in", outcome.as_str());
                if self.refused.is_due() {
                    let (what, reason) = (outcome.as_str(), outcome.reason());
                    tracing::warn!(
                        what,
                        reason,
                        "a message of the MQTT broker was refused; others may be, too"
                    );
                }
            }
        }
    }

    /// A message of this router does not get to the broker.
    pub(super) fn lost(&self, topic: &str, reason: &'static str) {
        self.metrics.refused("out", reason);
        if self.lost.is_due() {
            tracing::warn!(topic, reason, "a message does not get to the MQTT broker; others may not, too");
        }
    }
}

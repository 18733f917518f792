//! What gateways count: publishes by outcome, connections, bytes, logins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;

use super::Load;
use super::tally::{Snapshot, Tally};
use crate::config::Overflow;
use crate::message::Outcome;

pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// How an authentication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// In.
    Allow,
    /// An auth plugin said no, or failed.
    Deny,
    /// No auth plugin knew the credential.
    Unauthenticated,
    /// Too many at once.
    Busy,
}

/// What one gateway counts.
#[derive(Debug)]
pub struct GatewayMetrics {
    outcomes: Arc<Tally>,
    decisions: [Counter; 4],
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
    /// Messages delivered to clients.
    pub messages_out: Counter,
    /// Connections closed because their queue was full.
    pub slow_readers: Counter,
    /// Messages left out because they expired while they waited.
    pub expired: Counter,
    /// Bytes of WebSocket messages whose end is still to come; of all gateways together.
    pub unfinished: Gauge,
    /// Connections closed because all of them together held too many such bytes.
    pub unfinished_over: Counter,
    /// Connections closed because the end did not come in time.
    pub unfinished_late: Counter,
    lost: [Counter; 3],
    connections: Gauge,
    subscriptions: Gauge,
    queued_messages: Gauge,
    queued_bytes: Gauge,
}

impl GatewayMetrics {
    /// Counts one publish, from ingress to its outcome.
    pub fn ended(&self, outcome: &Outcome, took: Duration) {
        self.outcomes.add(place(outcome), took);
    }

    /// As [`ended`](Self::ended), for one that was accepted.
    pub fn accepted(&self, took: Duration) {
        self.outcomes.add(ACCEPTED, took);
    }

    /// How many publishes there were, whatever became of them.
    pub fn published(&self) -> u64 {
        self.outcomes.snapshot().count
    }

    /// Counts one authentication.
    pub fn authenticated(&self, decision: Decision) {
        if let Some(counter) = self.decisions.get(decision as usize) {
            counter.inc();
        }
    }

    /// Counts one message that a slow reader lost, by its place in [`Overflow::LOSING`].
    pub fn lost(&self, policy: usize) {
        if let Some(counter) = self.lost.get(policy) {
            counter.inc();
        }
    }

    pub(super) fn set_load(&self, load: Load) {
        self.connections.set(load.connections);
        self.subscriptions.set(load.subscriptions);
        self.queued_messages.set(load.queued_messages);
        self.queued_bytes.set(load.queued_bytes);
    }
}

/// In the order of [`place`].
const OUTCOMES: [&str; 12] = [
    "accepted",
    "filtered",
    "denied",
    "invalid",
    "too-large",
    "rate-limited",
    "plugin-failed",
    "dead-lettered",
    "timed-out",
    "overloaded",
    "unavailable",
    "shutting-down",
];

/// The place of [`Outcome::Accepted`].
const ACCEPTED: usize = 0;

fn place(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Accepted { .. } => ACCEPTED,
        Outcome::Filtered { .. } => 1,
        Outcome::Denied { .. } => 2,
        Outcome::Invalid(_) => 3,
        Outcome::TooLarge { .. } => 4,
        Outcome::RateLimited { .. } => 5,
        Outcome::PluginFailed { .. } => 6,
        Outcome::DeadLettered { .. } => 7,
        Outcome::TimedOut => 8,
        Outcome::Overloaded => 9,
        Outcome::Unavailable { .. } => 10,
        Outcome::ShuttingDown => 11,
    }
}

/// The families that have a gateway for a label.
#[derive(Debug, Default)]
pub(super) struct Families {
    decisions: Family<Labels<2>, Counter>,
    bytes_in: Family<Labels<1>, Counter>,
    bytes_out: Family<Labels<1>, Counter>,
    messages_out: Family<Labels<1>, Counter>,
    slow_readers: Family<Labels<1>, Counter>,
    expired: Family<Labels<1>, Counter>,
    unfinished: Gauge,
    unfinished_closed: Family<Labels<2>, Counter>,
    lost: Family<Labels<2>, Counter>,
    connections: Family<Labels<1>, Gauge>,
    subscriptions: Family<Labels<1>, Gauge>,
    queued_messages: Family<Labels<1>, Gauge>,
    queued_bytes: Family<Labels<1>, Gauge>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self::default();
        registry.register("auth_decisions", "Authentications, by how they ended", new.decisions.clone());
        registry.register("received_bytes", "Bytes read from clients", new.bytes_in.clone());
        registry.register("sent_bytes", "Bytes written to clients", new.bytes_out.clone());
        registry.register("sent_messages", "Messages delivered to clients", new.messages_out.clone());
        let slow = "Connections closed because too much waited for them";
        registry.register("slow_reader_disconnects", slow, new.slow_readers.clone());
        let expired = "Messages left out because they expired while they waited for a reader";
        registry.register("expired_messages", expired, new.expired.clone());
        let unfinished = "Bytes of WebSocket messages whose end is still to come";
        registry.register("unfinished_bytes", unfinished, new.unfinished.clone());
        let closed =
            "Connections closed since a message's end was still to come: too many bytes, too much time";
        registry.register("unfinished_disconnects", closed, new.unfinished_closed.clone());
        let lost = "Messages that slow readers lost, by the overflow policy of their topics";
        registry.register("lost_messages", lost, new.lost.clone());
        registry.register("connections", "Open connections", new.connections.clone());
        registry.register("subscriptions", "Subscriptions of open connections", new.subscriptions.clone());
        let queued = "Messages and answers that wait for readers";
        registry.register("queued_messages", queued, new.queued_messages.clone());
        registry.register("queued_bytes", "Bytes that wait for readers", new.queued_bytes.clone());
        new
    }

    pub(super) fn gateway(&self, name: &'static str, gateways: &Gateways) -> GatewayMetrics {
        let label = [("gateway", name)];
        let lost = |policy: Overflow| {
            self.lost.get_or_create_owned(&[("gateway", name), ("policy", policy.as_str())])
        };
        let closed =
            |limit| self.unfinished_closed.get_or_create_owned(&[("gateway", name), ("limit", limit)]);
        let decision = |end| self.decisions.get_or_create_owned(&[("gateway", name), ("decision", end)]);
        GatewayMetrics {
            outcomes: Arc::clone(gateways.known.lock().entry(name).or_default()),
            decisions: ["allow", "deny", "unauthenticated", "busy"].map(decision),
            bytes_in: self.bytes_in.get_or_create_owned(&label),
            bytes_out: self.bytes_out.get_or_create_owned(&label),
            messages_out: self.messages_out.get_or_create_owned(&label),
            slow_readers: self.slow_readers.get_or_create_owned(&label),
            expired: self.expired.get_or_create_owned(&label),
            unfinished: self.unfinished.clone(),
            unfinished_over: closed("bytes"),
            unfinished_late: closed("time"),
            lost: Overflow::LOSING.map(lost),
            connections: self.connections.get_or_create_owned(&label),
            subscriptions: self.subscriptions.get_or_create_owned(&label),
            queued_messages: self.queued_messages.get_or_create_owned(&label),
            queued_bytes: self.queued_bytes.get_or_create_owned(&label),
        }
    }
}

/// Publishes of every gateway.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    known: Mutex<BTreeMap<&'static str, Arc<Tally>>>,
}

impl Collector for Gateways {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known: Vec<(&str, Snapshot)> =
            self.known.lock().iter().map(|(name, tally)| (*name, tally.snapshot())).collect();
        let help = "Publishes, by what became of them";
        let mut family = out.encode_descriptor("publishes", help, None, MetricType::Counter)?;
        for (gateway, sum) in &known {
            for (outcome, count) in OUTCOMES.iter().zip(sum.ends) {
                let labels = [("gateway", *gateway), ("outcome", *outcome)];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let help = "Time from taking a publish to its outcome";
        let mut family = out.encode_descriptor("publish_seconds", help, None, MetricType::Histogram)?;
        for (gateway, sum) in &known {
            let labels = [("gateway", *gateway)];
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(sum.seconds, sum.count, &sum.buckets, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_counted_under_its_own_word() {
        let all = [
            Outcome::Accepted { level: Default::default(), messages: vec![], note: None },
            Outcome::Filtered { reason: String::new() },
            Outcome::Denied { reason: String::new() },
            Outcome::Invalid(Default::default()),
            Outcome::TooLarge { reason: String::new() },
            Outcome::RateLimited { retry_after_ms: 1 },
            Outcome::PluginFailed { plugin: "p".into() },
            Outcome::DeadLettered { plugin: "p".into() },
            Outcome::TimedOut,
            Outcome::Overloaded,
            Outcome::Unavailable { reason: String::new() },
            Outcome::ShuttingDown,
        ];
        assert_eq!(
            all.each_ref().map(|outcome| OUTCOMES[place(outcome)]),
            all.each_ref().map(Outcome::as_str)
        );
    }
}

//! What consumers of the logs and outboxes count.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ByName;

/// One outbox: of a storage plugin, under its binding's name, or of a webhook, as `webhook:NAME`.
#[derive(Clone, Debug)]
pub struct OutboxMetrics {
    /// Posts that wait.
    pub waiting: Gauge,
    /// Their bytes.
    pub waiting_bytes: Gauge,
    /// Posts that were answered with 2xx.
    pub sent: Counter,
    /// Attempts that failed.
    pub failed: Counter,
    /// Posts given up.
    pub dead: Counter,
    /// How often its plugin stood still because it was full.
    pub full: Counter,
    refused: Family<[(&'static str, String); 2], Counter>,
    name: String,
}

impl OutboxMetrics {
    /// A post is not sent, for this reason: one of a closed set.
    pub fn refused(&self, reason: &'static str) {
        let labels = [("outbox", self.name.clone()), ("reason", reason.to_owned())];
        self.refused.get_or_create(&labels).inc();
    }
}

/// One durable reader of the logs.
#[derive(Clone, Debug)]
pub struct ConsumerMetrics {
    /// Offsets that retention took before they were read.
    pub missed: Counter,
    /// Offsets that are on the disk and not read yet, in all logs.
    pub lag: Gauge,
}

#[derive(Debug)]
pub(super) struct Families {
    waiting: Family<ByName, Gauge>,
    waiting_bytes: Family<ByName, Gauge>,
    sent: Family<ByName, Counter>,
    failed: Family<ByName, Counter>,
    dead: Family<ByName, Counter>,
    full: Family<ByName, Counter>,
    refused: Family<[(&'static str, String); 2], Counter>,
    missed: Family<ByName, Counter>,
    lag: Family<ByName, Gauge>,
}

impl Families {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let [waiting, waiting_bytes, lag] = std::array::from_fn(|_| Family::default());
        let [sent, failed, dead, full, missed] = std::array::from_fn(|_| Family::default());
        let mut gauge = |name: &str, help: &str, family: &Family<ByName, Gauge>| {
            registry.register(name, help, Family::clone(family));
        };
        gauge("outbox_waiting_posts", "Posts that wait", &waiting);
        gauge("outbox_waiting_bytes", "Bytes of the posts that wait", &waiting_bytes);
        gauge("consumer_lag_messages", "Messages on the disk that a consumer has not read", &lag);
        let mut counter = |name: &str, help: &str, family: &Family<ByName, Counter>| {
            registry.register(name, help, Family::clone(family));
        };
        counter("outbox_sent", "Posts that were answered with 2xx", &sent);
        counter("outbox_failed_attempts", "Attempts to send a post that failed", &failed);
        counter("outbox_dead", "Posts that were given up and set aside", &dead);
        counter("outbox_full", "How often a plugin stood still because its outbox was full", &full);
        counter(
            "consumer_missed_messages",
            "Messages that retention took before a consumer read them",
            &missed,
        );
        let refused = Family::default();
        let help = "Posts of a gateway that were not sent, by reason";
        registry.register("outbox_refused", help, Family::clone(&refused));
        Self { waiting, waiting_bytes, sent, failed, dead, full, refused, missed, lag }
    }

    pub(super) fn outbox(&self, name: &str) -> OutboxMetrics {
        let labels = [("outbox", name.to_owned())];
        OutboxMetrics {
            waiting: self.waiting.get_or_create_owned(&labels),
            waiting_bytes: self.waiting_bytes.get_or_create_owned(&labels),
            sent: self.sent.get_or_create_owned(&labels),
            failed: self.failed.get_or_create_owned(&labels),
            dead: self.dead.get_or_create_owned(&labels),
            full: self.full.get_or_create_owned(&labels),
            refused: Family::clone(&self.refused),
            name: name.to_owned(),
        }
    }

    pub(super) fn consumer(&self, name: &str) -> ConsumerMetrics {
        let labels = [("consumer", name.to_owned())];
        ConsumerMetrics {
            missed: self.missed.get_or_create_owned(&labels),
            lag: self.lag.get_or_create_owned(&labels),
        }
    }
}

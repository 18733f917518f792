//! What durable consumers do.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters of all durable consumers together.
#[derive(Clone, Debug, Default)]
pub struct DurableMetrics {
    /// Sessions that read one, counted once for each.
    pub attached: Gauge,
    /// Messages handed to readers, again or for the first time.
    pub delivered: Counter,
    /// Messages that were acknowledged.
    pub acked: Counter,
    /// Deliveries after the first.
    pub redelivered: Counter,
    /// Offsets that were gone from the log before they were delivered.
    pub missed: Counter,
}

impl DurableMetrics {
    /// Makes them and tells the registry of them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let Self { attached, delivered, acked, redelivered, missed } = all.clone();
        registry.register("durable_readers", "Sessions that read a durable consumer", attached);
        registry.register("durable_delivered", "Messages handed to readers of consumers", delivered);
        registry.register("durable_acked", "Messages that readers acknowledged", acked);
        registry.register("durable_redelivered", "Deliveries after the first", redelivered);
        let missed_help = "Offsets that were gone from the log before a consumer had them";
        registry.register("durable_missed", missed_help, missed);
        all
    }
}

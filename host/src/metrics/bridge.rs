//! The bridge to an MQTT broker.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a bridge counts.
#[derive(Clone, Debug, Default)]
pub struct BridgeMetrics {
    /// 1 while it is connected and its subscriptions stand.
    pub connected: Gauge,
    /// Attempts to connect, also those that failed.
    pub attempts: Counter,
    /// Connections that have ended.
    pub disconnects: Counter,
    /// Messages of the broker that were accepted, or that a plugin consumed.
    pub received: Counter,
    /// Messages that the broker has acknowledged.
    pub sent: Counter,
    /// Messages that wait to be sent, or for the broker's acknowledgement.
    pub waiting: Gauge,
    refused: Family<[(&'static str, &'static str); 2], Counter>,
}

impl BridgeMetrics {
    /// Makes them and tells the registry of them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let Self { connected, attempts, disconnects, received, sent, waiting, refused } = all.clone();
        registry.register("bridge_connected", "1 while the broker is reached and subscribed to", connected);
        registry.register("bridge_attempts", "Attempts to connect to the broker", attempts);
        registry.register("bridge_disconnects", "Connections to the broker that have ended", disconnects);
        registry.register("bridge_received", "Messages of the broker that were accepted", received);
        registry.register("bridge_sent", "Messages that the broker has acknowledged", sent);
        registry.register("bridge_waiting", "Messages that wait for the broker", waiting);
        let help = "Messages that did not pass the bridge, by direction and reason";
        registry.register("bridge_refused", help, refused);
        all
    }

    /// A message did not pass: its direction is `in` or `out`, its reason one of a closed set.
    pub fn refused(&self, direction: &'static str, reason: &'static str) {
        self.refused.get_or_create(&[("direction", direction), ("reason", reason)]).inc();
    }
}

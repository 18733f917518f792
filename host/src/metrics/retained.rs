//! Retained messages.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is retained.
#[derive(Clone, Debug, Default)]
pub struct RetainedMetrics {
    /// Retained messages.
    pub messages: Gauge,
    /// Their bytes.
    pub bytes: Gauge,
}

impl RetainedMetrics {
    /// Makes them and tells the registry of them.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let Self { messages, bytes } = all.clone();
        registry.register("retained_messages", "Topics that have a retained message", messages);
        registry.register("retained_bytes", "Topics, metadata and payloads of retained messages", bytes);
        all
    }
}

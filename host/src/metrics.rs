//! What the router counts, and its Prometheus text.
//!
//! Handles are resolved once and kept: counting a message is a few relaxed additions to cells that the
//! thread shares with few others, without look-ups or locks. Labels come from closed sets (gateways,
//! outcomes, the deployer's plugins and logs), never from topics or clients, so that nobody outside can
//! make the number of series grow.

mod bridge;
mod certificate;
mod durable;
mod gateway;
mod outbox;
mod plugin;
mod readiness;
mod retained;
mod shadow;
mod stage;
mod tally;
mod text;

pub use bridge::BridgeMetrics;
pub use certificate::CertificateMetrics;
pub use durable::DurableMetrics;
pub use gateway::{Decision, GatewayMetrics};
pub use outbox::{ConsumerMetrics, OutboxMetrics};
pub use plugin::{Granted, Limit, PluginUse};
pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
pub use readiness::Readiness;
pub use retained::RetainedMetrics;
pub use shadow::ShadowMetrics;
pub use stage::{End, StageMetrics};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::config::PluginLimits;
use gateway::{Gateways, Labels};
use plugin::Plugins;
use stage::Stages;

type ByName = [(&'static str, String); 1];

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    stages: Arc<Stages>,
    plugins: Arc<Plugins>,
    gateways: Arc<Gateways>,
    known: Mutex<BTreeMap<&'static str, Arc<GatewayMetrics>>>,
    families: gateway::Families,
    outboxes: outbox::Families,
    certificates: certificate::Families,
    loads: Family<Labels<1>, Counter>,
    rollbacks: Family<[(&'static str, String); 2], Counter>,
    appended: Family<ByName, Counter>,
    durable: Family<ByName, Gauge>,
    shadows: shadow::Shadows,
    dropped: Family<ByName, Counter>,
    /// New versions that went live.
    pub plugin_swaps: Counter,
    /// Processes that were started to compile a plugin.
    pub plugin_compilations: Counter,
    /// Messages set aside.
    pub dead_letters: DeadLetterMetrics,
    /// Requests that wait for their reply.
    pub requests: Gauge,
    /// Durable consumers.
    pub consumers: DurableMetrics,
    /// Retained messages.
    pub retained: RetainedMetrics,
    /// The bridge to an MQTT broker.
    pub bridge: BridgeMetrics,
    /// Damage, loss and data set aside, as the store reports them.
    pub store_incidents: Gauge,
}

/// Counters of one log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Messages handed to the writer.
    pub appended: Counter,
    /// Offsets below this are on disk.
    pub durable: Gauge,
}

/// Counters of the dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterMetrics {
    /// Messages set aside.
    pub kept: Counter,
    /// Letters that went to make room for newer ones.
    pub evicted: Counter,
}

/// What the open connections of a gateway hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Open connections.
    pub connections: i64,
    /// Their subscriptions.
    pub subscriptions: i64,
    /// Messages and answers that wait for them.
    pub queued_messages: i64,
    /// Their bytes.
    pub queued_bytes: i64,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("weir");
        let (stages, gateways) = (Arc::<Stages>::default(), Arc::<Gateways>::default());
        registry.register_collector(Box::new(Arc::clone(&stages)));
        let plugins = Arc::<Plugins>::default();
        registry.register_collector(Box::new(Arc::clone(&plugins)));
        registry.register_collector(Box::new(Arc::clone(&gateways)));
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", version);
        let families = gateway::Families::register(&mut registry);
        let outboxes = outbox::Families::register(&mut registry);
        let certificates = certificate::Families::register(&mut registry);
        let (loads, appended, durable) = (Family::default(), Family::default(), Family::default());
        let rollbacks = Family::default();
        let back = "Plugins that went back to an older version, by who brought them back";
        registry.register("plugin_rollbacks", back, Family::clone(&rollbacks));
        let dropped = Family::default();
        let [plugin_swaps, plugin_compilations] = std::array::from_fn(|_| Counter::default());
        let dead_letters = DeadLetterMetrics::default();
        let failures = "Plugin versions that did not go live, by the step that failed";
        registry.register("plugin_load_failures", failures, Family::clone(&loads));
        registry.register("plugin_swaps", "Plugin versions that went live", plugin_swaps.clone());
        let compilations = "Plugins that were compiled, since the cache did not have them";
        registry.register("plugin_compilations", compilations, plugin_compilations.clone());
        let store_incidents = Gauge::default();
        let incidents = "Damage, loss and data set aside since the start; `weir log list` says what";
        registry.register("store_incidents", incidents, store_incidents.clone());
        registry.register("dead_letters", "Messages set aside", dead_letters.kept.clone());
        let evicted = "Dead letters that went to make room for newer ones";
        registry.register("dead_letters_evicted", evicted, dead_letters.evicted.clone());
        let requests = Gauge::default();
        registry.register("requests_waiting", "Requests that wait for their reply", requests.clone());
        registry.register("log_appended", "Messages handed to the log's writer", Family::clone(&appended));
        registry.register("log_durable_offset", "Offsets below this are on disk", Family::clone(&durable));
        let lost = "Messages that a log of input did not keep, since its queue was full";
        registry.register("log_input_dropped", lost, Family::clone(&dropped));
        let consumers = DurableMetrics::register(&mut registry);
        let retained = RetainedMetrics::register(&mut registry);
        let bridge = BridgeMetrics::register(&mut registry);
        let shadows = shadow::Shadows::register(&mut registry);
        let known = Mutex::default();
        Self {
            registry,
            stages,
            plugins,
            gateways,
            known,
            families,
            outboxes,
            certificates,
            loads,
            rollbacks,
            appended,
            durable,
            shadows,
            dropped,
            plugin_swaps,
            plugin_compilations,
            dead_letters,
            requests,
            consumers,
            retained,
            bridge,
            store_incidents,
        }
    }

    /// Calls of one version of a plugin at one stage: `auth`, `filter`, `transform`, `storage`, `query`.
    /// Resolve it when the version is loaded.
    pub fn stage(&self, stage: &'static str, plugin: &str, version: &str) -> StageMetrics {
        self.stages.get(stage, plugin, version)
    }

    /// Calls of a version at all stages, and how many of them failed.
    pub fn plugin_totals(&self, plugin: &str, version: &str) -> (u64, u64) {
        self.stages.totals(plugin, version)
    }

    /// Drops the series of a version that will not come back, else each reload would leave some behind.
    pub fn forget_stage(&self, plugin: &str, version: &str) {
        self.stages.forget(plugin, version);
    }

    /// What one shadow counts.
    pub fn shadow(&self, plugin: &str) -> ShadowMetrics {
        self.shadows.get(plugin)
    }

    /// Drops the series of a shadow that is gone.
    pub fn forget_shadow(&self, plugin: &str) {
        self.shadows.forget(plugin);
    }

    /// What a binding may take, for a version that is being loaded. `state` holds the bytes of its state.
    pub fn plugin_use(&self, plugin: &str, limits: &PluginLimits, state: Arc<AtomicU64>) -> Arc<PluginUse> {
        self.plugins.open(plugin, limits, state)
    }

    /// The version that takes it is live.
    pub fn show_plugin_use(&self, plugin: &str, live: &Arc<PluginUse>) {
        self.plugins.show(plugin, live);
    }

    /// Drops what is counted of bindings that are gone.
    pub fn retain_plugins(&self, stays: impl Fn(&str) -> bool) {
        self.plugins.retain(stays);
    }

    /// What one gateway counts. Resolve it when the gateway is built.
    pub fn gateway(&self, name: &'static str) -> Arc<GatewayMetrics> {
        let mut known = self.known.lock();
        let metrics =
            known.entry(name).or_insert_with(|| Arc::new(self.families.gateway(name, &self.gateways)));
        Arc::clone(metrics)
    }

    /// Load failures by step: one of the stages of `plugin::LoadError::STAGES`.
    pub fn load_failures(&self, step: &'static str) -> Counter {
        self.loads.get_or_create_owned(&[("step", step)])
    }

    /// How often a plugin went back to an older version, by `operator` or `budget`.
    pub fn rollback(&self, plugin: &str, by: &'static str) -> Counter {
        self.rollbacks.get_or_create_owned(&[("plugin", plugin.to_owned()), ("by", by.to_owned())])
    }

    /// What one configured log counts.
    pub fn log(&self, name: &str) -> LogMetrics {
        let labels = [("log", name.to_owned())];
        LogMetrics {
            appended: self.appended.get_or_create_owned(&labels),
            durable: self.durable.get_or_create_owned(&labels),
        }
    }

    /// What one log of input did not keep.
    pub fn input_dropped(&self, log: &str) -> Counter {
        self.dropped.get_or_create_owned(&[("log", log.to_owned())])
    }

    /// What one listener that speaks TLS counts.
    pub fn certificate(&self, listener: &'static str) -> CertificateMetrics {
        self.certificates.listener(listener)
    }

    /// What one outbox counts.
    pub fn outbox(&self, name: &str) -> OutboxMetrics {
        self.outboxes.outbox(name)
    }

    /// What one durable reader of the logs counts.
    pub fn consumer(&self, name: &str) -> ConsumerMetrics {
        self.outboxes.consumer(name)
    }

    /// Sets what the connections of each gateway hold; gateways left out hold nothing.
    pub fn set_load(&self, loads: &BTreeMap<&'static str, Load>) {
        for name in loads.keys() {
            self.gateway(name);
        }
        for (name, metrics) in self.known.lock().iter() {
            metrics.set_load(loads.get(name).copied().unwrap_or_default());
        }
    }

    /// The Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> String {
        let mut open = String::new();
        match prometheus_client::encoding::text::encode(&mut open, &self.registry) {
            Ok(()) => text::prometheus(&open),
            // Writing into a String cannot fail; an empty page is still better than none.
            Err(std::fmt::Error) => String::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

//! Candidates beside live versions.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Labels = [(&'static str, String); 2];

const RESULTS: [&str; 4] = ["same", "different", "failed", "skipped"];

/// How often one candidate agreed with the live version.
#[derive(Clone, Debug, Default)]
pub struct ShadowMetrics {
    /// It made the same of the message.
    pub same: Counter,
    /// It did not.
    pub different: Counter,
    /// It failed.
    pub failed: Counter,
    /// It was not compared.
    pub skipped: Counter,
}

/// Of all candidates.
#[derive(Clone, Debug, Default)]
pub(super) struct Shadows(Family<Labels, Counter>);

fn labels(plugin: &str, result: &str) -> Labels {
    [("plugin", plugin.to_owned()), ("result", result.to_owned())]
}

impl Shadows {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let compared = "Messages on which a shadow was compared with the live version, by result";
        registry.register("plugin_shadow", compared, Family::clone(&all.0));
        all
    }

    pub(super) fn get(&self, plugin: &str) -> ShadowMetrics {
        let [same, different, failed, skipped] =
            RESULTS.map(|result| self.0.get_or_create_owned(&labels(plugin, result)));
        ShadowMetrics { same, different, failed, skipped }
    }

    pub(super) fn forget(&self, plugin: &str) {
        for result in RESULTS {
            self.0.remove(&labels(plugin, result));
        }
    }
}

//! Calls into plugins, by stage, plugin and version.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::tally::{Snapshot, Tally};

/// How one call of a plugin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A filter kept the message.
    Keep,
    /// A filter dropped it.
    Drop,
    /// A filter or transform refused it.
    Refuse,
    /// A transform left it as it was.
    Unchanged,
    /// A transform returned one message or more.
    Changed,
    /// A transform returned none.
    Consumed,
    /// An auth plugin said yes.
    Allow,
    /// An auth plugin said no.
    Deny,
    /// An auth plugin did not know the client.
    Abstain,
    /// A storage plugin answered.
    Done,
    /// The guest trapped, or broke the contract.
    Trap,
    /// The deadline passed.
    Timeout,
    /// The plugin said that it failed.
    Error,
    /// It asked for more memory than it may have, and trapped.
    Memory,
    /// The engine failed: no fault of the plugin's.
    Engine,
    /// It was not called, since it had failed too often.
    Skipped,
}

/// In the order of the enum: an end's number is its place here.
const ENDS: [(End, &str); 16] = [
    (End::Keep, "keep"),
    (End::Drop, "drop"),
    (End::Refuse, "refuse"),
    (End::Unchanged, "unchanged"),
    (End::Changed, "changed"),
    (End::Consumed, "consumed"),
    (End::Allow, "allow"),
    (End::Deny, "deny"),
    (End::Abstain, "abstain"),
    (End::Done, "done"),
    (End::Trap, "trap"),
    (End::Timeout, "timeout"),
    (End::Error, "error"),
    (End::Memory, "memory"),
    (End::Engine, "engine"),
    (End::Skipped, "skipped"),
];

impl End {
    /// The word in metrics; a closed set.
    pub fn as_str(self) -> &'static str {
        ENDS.get(self as usize).map_or("", |(_, word)| word)
    }

    /// Whether the plugin failed, as opposed to having said something.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Trap | Self::Timeout | Self::Error | Self::Memory | Self::Engine | Self::Skipped)
    }
}

/// Calls of one version at one stage. Clones count into the same cells.
#[derive(Clone, Debug)]
pub struct StageMetrics(Arc<Tally>);

impl StageMetrics {
    /// Counts one call: three relaxed additions.
    pub fn ended(&self, end: End, took: Duration) {
        self.0.add(end as usize, took);
    }

    /// Calls and, among them, failures so far.
    pub fn totals(&self) -> (u64, u64) {
        let ends = self.0.snapshot().ends;
        let failures = ENDS.iter().zip(ends).filter(|((end, _), _)| end.is_failure());
        (ends.iter().sum(), failures.map(|(_, count)| count).sum())
    }
}

/// Stage, plugin, version.
type Key = (&'static str, String, String);

/// Every version that is known.
#[derive(Debug, Default)]
pub(super) struct Stages {
    known: Mutex<BTreeMap<Key, Arc<Tally>>>,
}

impl Stages {
    pub(super) fn get(&self, stage: &'static str, plugin: &str, version: &str) -> StageMetrics {
        let mut known = self.known.lock();
        let tally = known.entry((stage, plugin.to_owned(), version.to_owned())).or_default();
        StageMetrics(Arc::clone(tally))
    }

    pub(super) fn totals(&self, plugin: &str, version: &str) -> (u64, u64) {
        let known = self.known.lock();
        let of = known.iter().filter(|((_, name, digest), _)| name == plugin && digest == version);
        of.map(|(_, tally)| StageMetrics(Arc::clone(tally)).totals())
            .fold((0, 0), |(calls, failures), (c, f)| (calls + c, failures + f))
    }

    pub(super) fn forget(&self, plugin: &str, version: &str) {
        self.known.lock().retain(|(_, name, digest), _| name != plugin || digest != version);
    }
}

impl Collector for Stages {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let known: Vec<(Key, Snapshot)> =
            self.known.lock().iter().map(|(key, tally)| (key.clone(), tally.snapshot())).collect();
        let calls = "Calls into plugins, by how they ended";
        let mut family = out.encode_descriptor("plugin_calls", calls, None, MetricType::Counter)?;
        for (key, sum) in &known {
            for ((_, end), count) in ENDS.iter().zip(sum.ends).filter(|(_, count)| *count > 0) {
                let [stage, plugin, version] = labels(key);
                let labels = [stage, plugin, version, ("end", *end)];
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let seconds = "Wall-clock time of calls into plugins";
        let mut family = out.encode_descriptor("plugin_seconds", seconds, None, MetricType::Histogram)?;
        for (key, sum) in &known {
            let labels = labels(key);
            let mut series = family.encode_family(&labels)?;
            series.encode_histogram::<NoLabelSet>(sum.seconds, sum.count, &sum.buckets, None)?;
        }
        Ok(())
    }
}

fn labels((stage, plugin, version): &Key) -> [(&'static str, &str); 3] {
    [("stage", stage), ("plugin", plugin), ("version", version)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_counted_under_its_own_name() {
        for (place, (end, _)) in ENDS.iter().enumerate() {
            assert_eq!(*end as usize, place, "{end:?}");
        }
    }
}

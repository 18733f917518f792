//! How often plugins were called, from the router's `/metrics`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

/// Calls by kind of plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kinds {
    /// Who may come in, and what they may do.
    pub auth: u64,
    /// Keep or drop.
    pub filter: u64,
    /// Change.
    pub transform: u64,
    /// Store and query.
    pub storage: u64,
}

impl Kinds {
    /// The kinds that were never called.
    pub(super) fn idle(&self) -> Vec<&'static str> {
        let all = [
            ("auth", self.auth),
            ("filter", self.filter),
            ("transform", self.transform),
            ("storage", self.storage),
        ];
        all.into_iter().filter(|(_, calls)| *calls == 0).map(|(kind, _)| kind).collect()
    }
}

/// The router's counters, added up over time: those of a version that was swapped out disappear, and what
/// they said must not.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<String, Counter>);

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    stage: Stage,
    last: u64,
    sum: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Auth,
    Filter,
    Transform,
    Storage,
}

/// The counter of all plugin calls.
const CALLS: &str = "weir_plugin_calls_total{";

impl Calls {
    /// Takes in the text of `/metrics` as it is now.
    pub(super) fn take(&mut self, text: &str) -> Result<()> {
        for line in text.lines().filter(|line| line.starts_with(CALLS)) {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no counter: {line}"))?;
            let value: f64 = value.parse().with_context(|| format!("no counter: {line}"))?;
            let stage = stage(series).with_context(|| format!("a stage that nobody knows: {line}"))?;
            let counter = self.0.entry(series.to_owned()).or_default();
            let now = value as u64;
            // A counter that fell began anew.
            counter.sum += now.checked_sub(counter.last).unwrap_or(now);
            counter.last = now;
            counter.stage = stage;
        }
        Ok(())
    }

    /// The sums.
    pub(super) fn kinds(&self) -> Kinds {
        let sum = |stage| self.0.values().filter(|counter| counter.stage == stage).map(|c| c.sum).sum();
        Kinds {
            auth: sum(Stage::Auth),
            filter: sum(Stage::Filter),
            transform: sum(Stage::Transform),
            storage: sum(Stage::Storage),
        }
    }
}

/// The kind by the label `stage`, which tells a storage plugin's queries apart.
fn stage(series: &str) -> Option<Stage> {
    let (_, rest) = series.split_once("stage=\"")?;
    Some(match rest.split('"').next()? {
        "auth" => Stage::Auth,
        "filter" => Stage::Filter,
        "transform" => Stage::Transform,
        "storage" | "query" => Stage::Storage,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"# TYPE weir_plugin_calls_total counter
weir_plugin_calls_total{stage="auth",plugin="api-key",version="a",end="allow"} 3
weir_plugin_calls_total{stage="auth",plugin="api-key",version="a",end="deny"} 4
weir_plugin_calls_total{stage="filter",plugin="dedupe",version="b",end="keep"} 10
weir_plugin_calls_total{stage="transform",plugin="map",version="c",end="changed"} 9
weir_plugin_seconds_count{stage="transform",plugin="map",version="c"} 9
weir_plugin_swaps_total 1
"#;

    #[test]
    fn calls_are_summed_by_kind() {
        let mut calls = Calls::default();
        calls.take(BEFORE).unwrap();
        assert_eq!(calls.kinds(), Kinds { auth: 7, filter: 10, transform: 9, storage: 0 });
        assert_eq!(calls.kinds().idle(), ["storage"]);
    }

    #[test]
    fn swapped_versions_still_count() {
        let mut calls = Calls::default();
        calls.take(BEFORE).unwrap();
        calls.take(BEFORE).unwrap();
        let after = r#"weir_plugin_calls_total{stage="transform",plugin="map",version="d",end="changed"} 2
weir_plugin_calls_total{stage="filter",plugin="dedupe",version="b",end="keep"} 4
weir_plugin_calls_total{stage="storage",plugin="latest",version="e",end="done"} 1"#;
        calls.take(after).unwrap();
        assert_eq!(calls.kinds(), Kinds { auth: 7, filter: 14, transform: 11, storage: 1 });
        for bad in
            [r#"weir_plugin_calls_total{stage="filter"} many"#, r#"weir_plugin_calls_total{stage="x"} 1"#]
        {
            calls.take(bad).unwrap_err();
        }
    }
}

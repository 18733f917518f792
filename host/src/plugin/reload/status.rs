//! What `weir plugin list` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Binding, LoadError, PluginInfo, PluginState};

/// One line per binding, failed and vanished ones too.
pub fn list<'a>(
    live: &[Arc<Binding>],
    failed: impl Iterator<Item = (&'a str, &'a LoadError)>,
    closed: &[(Arc<str>, i64)],
) -> BTreeMap<String, PluginInfo> {
    let mut all: BTreeMap<String, PluginInfo> = BTreeMap::new();
    for binding in live {
        all.insert(binding.spec.name.clone(), active(binding));
    }
    for (name, order) in closed {
        let reason = format!(
            "its file is gone: everybody who comes here is refused until `weir plugin forget {name}`"
        );
        all.insert(name.to_string(), absent(name, "auth", *order, PluginState::Tombstone, reason));
    }
    for (name, error) in failed {
        let entry = all
            .entry(name.to_owned())
            .or_insert_with(|| absent(name, "", 0, PluginState::Failed, String::new()));
        let serving = entry.state == PluginState::Active;
        let note = if serving { format!(" (version {} serves on)", entry.version) } else { String::new() };
        entry.state = PluginState::Failed;
        entry.reason = Some(format!("{}: {error}{note}", error.stage()));
    }
    all
}

fn active(binding: &Binding) -> PluginInfo {
    PluginInfo {
        name: binding.spec.name.clone(),
        file: binding.spec.source.to_string(),
        kind: binding.kind().to_string(),
        version: binding.shared.version.to_string(),
        order: binding.spec.order,
        topics: binding.spec.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        state: PluginState::Active,
        reason: None,
        loaded_us: Some(binding.loaded_us),
        calls: 0,
        failures: 0,
    }
}

fn absent(name: &str, kind: &str, order: i64, state: PluginState, reason: String) -> PluginInfo {
    PluginInfo {
        name: name.to_owned(),
        file: String::new(),
        kind: kind.to_owned(),
        version: String::new(),
        order,
        topics: Vec::new(),
        state,
        reason: Some(reason),
        loaded_us: None,
        calls: 0,
        failures: 0,
    }
}

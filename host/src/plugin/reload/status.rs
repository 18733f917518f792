//! What `weir plugin list` shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::binding::Spec;
use super::super::{Binding, Closed, Grants, Kind, LoadError, PluginInfo, PluginState};

/// One line per binding, failed and vanished ones too.
pub fn list<'a>(
    live: &[Arc<Binding>],
    failed: impl Iterator<Item = (&'a str, Option<&'a Spec>, &'a LoadError)>,
    closed: &[Closed],
) -> BTreeMap<String, PluginInfo> {
    let mut all: BTreeMap<String, PluginInfo> = BTreeMap::new();
    for binding in live {
        all.insert(binding.spec.name.clone(), active(binding));
    }
    for closed in closed {
        let (name, kind) = (&closed.name, closed.kind);
        let reason = match kind {
            Kind::Auth => format!(
                "its file is gone: everybody who comes here is refused until `weir plugin forget {name}`"
            ),
            _ => format!(
                "it does not load: on-error = {:?} holds for messages of its topics until it does, or its files are gone",
                closed.policy.as_str()
            ),
        };
        let topics = closed.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let mut line = absent(name, closed.order, PluginState::Tombstone, reason);
        (line.kind, line.topics) = (kind.to_string(), topics);
        all.insert(name.to_string(), line);
    }
    for (name, spec, error) in failed {
        let order = spec.map_or(0, |spec| spec.order);
        let line = all
            .entry(name.to_owned())
            .or_insert_with(|| absent(name, order, PluginState::Failed, String::new()));
        if let (Some(spec), "") = (spec, line.file.as_str()) {
            line.file = spec.source.to_string();
            line.grants = spec.into();
        }
        let note = match line.state {
            PluginState::Active => format!(" (version {} serves on)", line.version),
            PluginState::Tombstone => {
                " (it was live: until it loads again, its policy holds for what it should have seen)"
                    .to_owned()
            }
            _ => String::new(),
        };
        line.state = PluginState::Failed;
        line.reason = Some(format!("{}: {error}{note}", error.stage()));
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
        notes: Vec::new(),
        grants: (&binding.spec).into(),
        loaded_us: Some(binding.loaded_us),
        calls: 0,
        failures: 0,
        lag: None,
        missed: None,
        shadow: None,
    }
}

pub fn absent(name: &str, order: i64, state: PluginState, reason: String) -> PluginInfo {
    PluginInfo {
        name: name.to_owned(),
        file: String::new(),
        kind: String::new(),
        version: String::new(),
        order,
        topics: Vec::new(),
        state,
        reason: Some(reason),
        notes: Vec::new(),
        grants: Grants::default(),
        loaded_us: None,
        calls: 0,
        failures: 0,
        lag: None,
        missed: None,
        shadow: None,
    }
}

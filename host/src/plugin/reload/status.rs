//! What `weir plugin list` shows.

use std::collections::BTreeMap;

use super::super::{Binding, Closed, Grants, Kind, PluginInfo, PluginState};
use super::loader::{Failed, Loader};

/// Unix microseconds as people read them.
pub fn time(us: u64) -> String {
    let text = weir_contract::time::rfc3339(us);
    format!("{}Z", text.split('.').next().unwrap_or_default().replace('T', " "))
}

/// One line per binding: failed, vanished and disabled ones too.
pub fn list(loader: &Loader, closed: &[Closed]) -> BTreeMap<String, PluginInfo> {
    let mut all: BTreeMap<String, PluginInfo> = BTreeMap::new();
    for (name, live) in &loader.live {
        let line = PluginInfo { reason: note(loader, name), ..active(&live.binding) };
        all.insert(name.clone(), line);
    }
    for closed in closed {
        all.insert(closed.name.to_string(), shut(closed));
    }
    for (name, failed) in &loader.failed {
        let order = failed.spec.as_ref().map_or(0, |spec| spec.order);
        let line = all
            .entry(name.clone())
            .or_insert_with(|| absent(name, order, PluginState::Failed, String::new()));
        fails(line, failed);
    }
    for (name, record) in loader.versions.all() {
        let Some(since) = record.disabled_us else { continue };
        let order = loader.asked.get(name).map_or(0, |asked| asked.spec.order);
        let line = all
            .entry(name.clone())
            .or_insert_with(|| absent(name, order, PluginState::Disabled, String::new()));
        disabled(line, loader, &record.kind, since);
    }
    loader.shadows.list(&mut all, absent);
    all
}

/// What is to be said of a binding that serves.
fn note(loader: &Loader, name: &str) -> Option<String> {
    let over = loader.live.get(name).and_then(|live| live.note.clone());
    let record = loader.versions.get(name);
    let asked =
        loader.asked.get(name).and_then(|asked| Some((asked.file.as_ref().ok()?.digest, &asked.spec)));
    let in_quarantine =
        record.zip(asked).is_some_and(|(record, (digest, spec))| record.is_quarantined(&digest, spec));
    let folder = match in_quarantine {
        true => "what lies in the folder is quarantined until it changes, or",
        false => "that version stays quarantined",
    };
    let back = record.and_then(|record| record.back.as_ref()).map(|back| {
        let (from, at, why) = (&back.from, time(back.time_us), &back.reason);
        format!("rolled back from {from} at {at}: {why}; {folder} until `weir plugin forget {name}`")
    });
    match (back, over) {
        (Some(back), Some(over)) => Some(format!("{over}; {back}")),
        (back, over) => back.or(over),
    }
}

fn shut(closed: &Closed) -> PluginInfo {
    let (name, kind) = (&closed.name, closed.kind);
    let reason = match kind {
        Kind::Auth => {
            format!("its file is gone: everybody who comes here is refused until `weir plugin forget {name}`")
        }
        _ => format!(
            "it does not load: on-error = {:?} holds for messages of its topics until it does, or its files are gone",
            closed.policy.as_str()
        ),
    };
    let topics = closed.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let line = absent(name, closed.order, PluginState::Tombstone, reason);
    PluginInfo { kind: kind.to_string(), topics, ..line }
}

fn fails(line: &mut PluginInfo, Failed { spec, error, .. }: &Failed) {
    if let (Some(spec), "") = (spec, line.file.as_str()) {
        line.file = spec.source.to_string();
        line.grants = spec.into();
    }
    let note = match line.state {
        PluginState::Active => format!(" (version {} serves on)", line.version),
        PluginState::Tombstone => {
            " (it was live: until it loads again, its policy holds for what it should have seen)".to_owned()
        }
        _ => String::new(),
    };
    line.state = PluginState::Failed;
    line.reason = Some(format!("{}: {error}{note}", error.stage()));
}

fn disabled(line: &mut PluginInfo, loader: &Loader, kind: &str, since: u64) {
    let name = &line.name;
    let door = match line.state {
        PluginState::Tombstone => "; everybody who comes here is refused",
        _ => "",
    };
    let at = time(since);
    line.reason = Some(format!("disabled by the operator at {at}{door}: `weir plugin enable {name}`"));
    line.state = PluginState::Disabled;
    if line.kind.is_empty() {
        kind.clone_into(&mut line.kind);
    }
    if let Some(asked) = loader.asked.get(name) {
        line.file = asked.spec.source.to_string();
        line.topics = asked.spec.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    }
}

fn active(binding: &Binding) -> PluginInfo {
    PluginInfo {
        file: binding.spec.source.to_string(),
        grants: (&binding.spec).into(),
        kind: binding.kind().to_string(),
        version: binding.shared.version.to_string(),
        topics: binding.spec.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        loaded_us: Some(binding.loaded_us),
        ..absent(&binding.spec.name, binding.spec.order, PluginState::Active, String::new())
    }
}

fn absent(name: &str, order: i64, state: PluginState, reason: String) -> PluginInfo {
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

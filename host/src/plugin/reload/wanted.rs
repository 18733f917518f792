//! What the folder asks for: bindings by name, each with its component.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::super::binding::{Isolation, Mode, Source, Spec};
use super::super::folder::{Entry, File, Seal};
use super::super::{Kind, LoadError, Problem, component, stock};
use crate::config::{LimitsTable, PluginLimits};

/// A binding that the folder asks for, with its component.
#[derive(Clone)]
pub struct Wanted {
    /// The binding file's, or the component's, stem.
    pub stem: String,
    /// What the file says.
    pub spec: Spec,
    /// The whole file; empty if there is none.
    pub text: Arc<str>,
    /// The component, or why there is none.
    pub file: Result<File, LoadError>,
}

/// Bindings by name, and files that say nothing usable by stem. `owner` is the stem of the file that a name has
/// belonged to so far: while that file is there, no other can take the name.
pub fn wanted<'o>(
    folder: &Path,
    entries: &BTreeMap<String, Entry>,
    owner: impl Fn(&str) -> Option<&'o str>,
) -> (BTreeMap<String, Wanted>, BTreeMap<String, LoadError>) {
    let mut specs: Vec<(String, Spec)> = Vec::new();
    let mut broken = BTreeMap::new();
    for (stem, entry) in entries {
        match &entry.toml {
            None => {}
            Some(Err(error)) => drop(broken.insert(stem.clone(), error.clone())),
            Some(Ok(text)) => match Spec::parse(stem, &folder.join(format!("{stem}.toml")), text) {
                Ok(parsed) => specs.extend(parsed.into_iter().map(|spec| (stem.clone(), spec))),
                Err(error) => drop(broken.insert(stem.clone(), error)),
            },
        }
    }
    // A shadow of the very component that it is made of does not take that one's place.
    let is_own = |spec: &Spec| match (&spec.mode, &spec.source) {
        (Mode::Shadow { of, .. }, Source::File(stem)) => of == stem,
        _ => false,
    };
    let used = specs.iter().filter(|(_, spec)| !is_own(spec)).map(|(_, spec)| spec.source.clone());
    let used: BTreeSet<_> = used.collect();
    let bare = entries.iter().filter(|(stem, entry)| {
        entry.toml.is_none() && entry.wasm.is_some() && !used.contains(&Source::File((*stem).clone()))
    });
    specs.extend(bare.map(|(stem, _)| (stem.clone(), Spec::bare(stem))).collect::<Vec<_>>());
    specs.sort_by_key(|(stem, spec)| (owner(&spec.name) != Some(stem), *stem != spec.name));
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for (stem, spec) in specs {
        let name = spec.name.clone();
        let elder = owner(&name).filter(|elder| *elder != stem && entries.contains_key(*elder));
        let holder = wanted.get(&name).map(|holder| holder.stem.as_str()).or(elder);
        if let Some(holder) = holder {
            let message =
                format!("the name {name:?} belongs to the files {holder}.*: names are unique in the folder");
            let file = folder.join(format!("{stem}.toml"));
            broken.insert(stem, LoadError::Binding(Problem { file, line: None, message }));
        } else {
            let file = source(entries, &spec.source);
            let text = entries.get(&stem).and_then(|entry| entry.toml.clone()?.ok()).unwrap_or_default();
            wanted.insert(name, Wanted { stem, spec, text, file });
        }
    }
    (wanted, broken)
}

/// The limits of a binding's calls.
pub fn limits(spec: &Spec, all: &PluginLimits, ceiling: &LimitsTable) -> Result<PluginLimits, LoadError> {
    all.with(&spec.limits, ceiling).map_err(|(name, why)| LoadError::at(&["limits", name], why))
}

/// A storage plugin writes whole batches, of many messages, on one instance.
pub fn check_isolation(spec: &Spec, kind: Kind) -> Result<(), LoadError> {
    if kind != Kind::Storage || spec.isolation == Isolation::Shared {
        return Ok(());
    }
    let message = "isolation: a storage plugin gets its messages in batches on one instance, so that only \
        \"shared\" is accepted for it";
    Err(LoadError::at(&["isolation"], message))
}

fn source(entries: &BTreeMap<String, Entry>, source: &Source) -> Result<File, LoadError> {
    let missing = |reason: String| LoadError::Read { path: source.to_string().into(), reason };
    match source {
        Source::Stock(name) => {
            let bytes = stock::component(name).ok_or_else(|| {
                let there = stock::names().join(", ");
                LoadError::at(
                    &["plugin"],
                    format!("plugin \"stock:{name}\": there is no such stock plugin, but {there}"),
                )
            })?;
            Ok(File { digest: component::digest(bytes), bytes: bytes.into(), seal: Seal::Embedded })
        }
        Source::File(stem) => match entries.get(stem).and_then(|entry| entry.wasm.clone()) {
            Some(file) => file,
            None => Err(missing("not in the plugins folder".into())),
        },
    }
}

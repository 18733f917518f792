//! What the folder asks for: bindings by name, each with its component.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::binding::{Source, Spec};
use super::super::folder::{Entry, File};
use super::super::{LoadError, Problem, component, stock};

/// A binding that the folder asks for, with its component.
pub struct Wanted {
    /// The binding file's, or the component's, stem.
    pub stem: String,
    /// What the file says.
    pub spec: Spec,
    /// The component, or why there is none.
    pub file: Result<File, LoadError>,
}

/// Bindings by name, and files that say nothing usable by stem.
pub fn wanted(
    folder: &Path,
    entries: &BTreeMap<String, Entry>,
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
    let used: BTreeSet<_> = specs.iter().map(|(_, spec)| spec.source.clone()).collect();
    let bare = entries.iter().filter(|(stem, entry)| {
        entry.toml.is_none() && entry.wasm.is_some() && !used.contains(&Source::File((*stem).clone()))
    });
    specs.extend(bare.map(|(stem, _)| (stem.clone(), Spec::bare(stem))).collect::<Vec<_>>());
    let mut wanted = BTreeMap::new();
    for (stem, spec) in specs {
        let file = source(entries, &spec.source);
        let name = spec.name.clone();
        match wanted.entry(name) {
            Slot::Vacant(slot) => drop(slot.insert(Wanted { stem, spec, file })),
            Slot::Occupied(slot) => {
                let name = slot.key();
                let message =
                    format!("another binding has the name {name:?} too: names are unique in the folder");
                let file = folder.join(format!("{stem}.toml"));
                broken.insert(stem, LoadError::Binding(Problem { file, line: None, message }));
            }
        }
    }
    (wanted, broken)
}

fn source(entries: &BTreeMap<String, Entry>, source: &Source) -> Result<File, LoadError> {
    let missing = |reason: String| LoadError::Read { path: source.to_string().into(), reason };
    match source {
        Source::Stock(name) => {
            let bytes = stock::component(name).ok_or_else(|| {
                missing(format!("no such stock plugin: there are {}", stock::names().join(", ")))
            })?;
            Ok(File { digest: component::digest(bytes), bytes: bytes.into() })
        }
        Source::File(stem) => match entries.get(stem).and_then(|entry| entry.wasm.clone()) {
            Some(file) => file,
            None => Err(missing("not in the plugins folder".into())),
        },
    }
}

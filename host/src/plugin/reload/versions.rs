//! What is remembered of the bindings over restarts: their versions with components and texts, and what happened.

mod files;
mod history;
mod record;

pub use history::{Event, History, HistoryLine};
pub use record::{Back, Kept, Pair, Record};

use std::collections::BTreeMap;
use std::path::Path;

use super::super::LoadError;
use super::super::binding::{Source, Spec};
use super::super::component;
use super::super::folder::{File, Seal};
use super::wanted::Wanted;
use crate::store::{Store, Table};
use files::Files;

/// The table in the store: binding name → its [`Record`] as JSON.
const TABLE: &str = "plugin-versions";
/// Bindings that the folder no longer asks for and whose versions are kept all the same.
const GONE: usize = 64;

/// The versions of all bindings.
pub struct Versions {
    table: Table,
    files: Files,
    records: BTreeMap<String, Record>,
    /// What happened.
    pub history: History,
}

impl Versions {
    /// What the store and the folder remember.
    pub fn open(store: &Store, folder: &Path) -> Result<Self, LoadError> {
        let state = |error: crate::store::StoreError| LoadError::State(error.to_string());
        let table = store.table(TABLE).map_err(state)?;
        let files = Files::open(folder)
            .map_err(|error| LoadError::Read { path: folder.to_owned(), reason: error.to_string() })?;
        let mut records: BTreeMap<String, Record> = BTreeMap::new();
        for (name, record) in table.iter().map_err(state)? {
            let Ok(name) = String::from_utf8(name) else { continue };
            let Ok(mut record) = serde_json::from_slice::<Record>(&record) else {
                tracing::error!(plugin = name, "the record of the plugin's versions is not understood");
                continue;
            };
            record
                .pairs_mut()
                .for_each(|pair| pair.spec = files.text(pair).ok().and_then(|t| spec(pair, &name, &t)));
            records.insert(name, record);
        }
        let history = History::open(store.table(history::TABLE).map_err(state)?).map_err(state)?;
        let versions = Self { table, files, records, history };
        versions.sweep();
        Ok(versions)
    }

    /// What is remembered of a binding.
    pub fn get(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// All that is remembered.
    pub fn all(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.records.iter()
    }

    /// Since when the operator has it switched off, Unix microseconds.
    pub fn disabled_us(&self, name: &str) -> Option<u64> {
        self.records.get(name)?.disabled_us
    }

    /// Remembers; on the disk when it returns.
    pub fn save(&mut self, name: &str, record: Record) -> Result<(), String> {
        let text = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
        self.table.put(name.as_bytes(), &text).map_err(|error| error.to_string())?;
        self.records.insert(name.to_owned(), record);
        self.sweep();
        Ok(())
    }

    /// As [`save`](Self::save); while the store takes nothing, it is remembered until the next restart.
    pub fn save_or_tell(&mut self, name: &str, record: Record) {
        if let Err(error) = self.save(name, record.clone()) {
            tracing::error!(
                plugin = name,
                error,
                "what became of the plugin is forgotten with the next restart"
            );
            self.records.insert(name.to_owned(), record);
        }
    }

    /// Forgets a binding. False: there was nothing.
    pub fn forget(&mut self, name: &str) -> Result<bool, String> {
        let known = self.table.remove(name.as_bytes()).map_err(|error| error.to_string())?;
        self.records.remove(name);
        self.history.forget(name);
        self.sweep();
        Ok(known)
    }

    /// Keeps the files of a version.
    pub fn keep(&self, pair: &Pair, wanted: &Wanted) -> Result<(), String> {
        let file = wanted.file.as_ref().map_err(ToString::to_string)?;
        let kept = self.files.keep(pair, &file.bytes, &wanted.text, seal_text(wanted));
        kept.map_err(|error| error.to_string())
    }

    /// A kept version, as the folder would ask for it.
    pub fn wanted(&self, kept: &Kept) -> Result<Wanted, LoadError> {
        let gone = |(path, reason)| LoadError::Read { path, reason };
        let text = self.files.text(&kept.pair).map_err(gone)?;
        let Some(spec) = kept.pair.spec.clone() else {
            let reason = "this router does not understand its binding file any more".into();
            return Err(LoadError::Read { path: format!("{}.toml", kept.pair.stem).into(), reason });
        };
        let bytes = self.files.component(&kept.pair).map_err(gone)?;
        let seal = match (&spec.source, self.files.seal(&kept.pair).map_err(gone)?) {
            // It was part of the program that kept it, and its digest stands in the store.
            (Source::Stock(_), _) => Seal::Embedded,
            (Source::File(_), Some(text)) => Seal::Text(text.into()),
            (Source::File(_), None) => Seal::None,
        };
        let file = File { bytes: bytes.into(), digest: kept.pair.digest, seal };
        Ok(Wanted { stem: kept.pair.stem.clone(), spec, text: text.into(), file: Ok(file) })
    }

    /// What happened to a binding, oldest first, with the binding files that are still kept.
    pub fn lines(&self, name: &str) -> Vec<HistoryLine> {
        let record = self.records.get(name);
        let text = |line: &HistoryLine| {
            let kept = record?.kept.iter().find(|kept| Some(kept.number) == line.number)?;
            self.files.text(&kept.pair).ok()
        };
        self.history.of(name).map(|line| HistoryLine { binding: text(line), ..line.clone() }).collect()
    }

    /// Forgets what is remembered of bindings that are long gone. `asked`: by the folder, by name.
    pub fn let_go(&mut self, asked: impl Fn(&str) -> bool) {
        let gone = |name: &&String| !asked(name);
        let unknown: Vec<_> = self
            .history
            .names()
            .filter(gone)
            .filter(|name| !self.records.contains_key(*name))
            .cloned()
            .collect();
        unknown.iter().for_each(|name| self.history.forget(name));
        let idle = self.records.iter().filter(|(name, record)| gone(name) && record.disabled_us.is_none());
        let last = |record: &Record| record.kept.iter().map(|kept| kept.since_us).max();
        let mut idle: Vec<_> = idle.map(|(name, record)| (last(record), name.clone())).collect();
        idle.sort();
        for (_, name) in idle.iter().rev().skip(GONE) {
            if let Err(error) = self.forget(name) {
                tracing::warn!(plugin = name, error, "versions of a plugin that is gone cannot be forgotten");
            }
        }
    }

    fn sweep(&self) {
        self.files.sweep(self.records.values().flat_map(Record::pairs));
    }
}

impl Pair {
    /// What lies in the folder.
    pub fn of(wanted: &Wanted, digest: [u8; 32]) -> Self {
        let text = component::digest(wanted.text.as_bytes());
        let seal = seal_text(wanted).map(|seal| component::digest(seal.as_bytes()));
        Self { digest, text, seal, stem: wanted.stem.clone(), spec: Some(wanted.spec.clone()) }
    }
}

fn seal_text(wanted: &Wanted) -> Option<&str> {
    match &wanted.file.as_ref().ok()?.seal {
        Seal::Text(text) => Some(text),
        Seal::Embedded | Seal::None | Seal::Unreadable(_) => None,
    }
}

/// What a kept binding file says of a binding.
fn spec(pair: &Pair, name: &str, text: &str) -> Option<Spec> {
    let file = format!("{}.toml", pair.stem);
    let specs = Spec::parse(&pair.stem, Path::new(&file), text).ok()?;
    specs.into_iter().find(|spec| spec.name == name)
}

//! Which bindings have ever been live: so that nothing opens because a file vanished, or does not load after a
//! restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_contract::topic::Pattern;

use super::super::binding::{Policy, Spec};
use super::super::{Closed, Kind, LoadError};
use crate::store::Table;

/// The table in the store: binding name → what is remembered.
const TABLE: &str = "bindings";

/// What is remembered of a binding that was live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    stem: String,
    kind: String,
    order: i64,
    topics: Vec<String>,
    /// None: the kind's default.
    #[serde(default)]
    on_error: Option<Policy>,
}

/// The bindings that were live once, in memory and in the store.
pub struct Ledger {
    table: Table,
    records: BTreeMap<String, Record>,
}

impl Ledger {
    /// What the store remembers.
    pub fn open(store: &crate::store::Store) -> Result<Self, LoadError> {
        let state = |error: crate::store::StoreError| LoadError::State(error.to_string());
        let table = store.table(TABLE).map_err(state)?;
        let kept = table.iter().map_err(state)?.into_iter().filter_map(|(name, record)| {
            Some((String::from_utf8(name).ok()?, serde_json::from_slice(&record).ok()?))
        });
        let records = kept.collect();
        Ok(Self { table, records })
    }

    /// A binding goes live. Storage plugins stand in nobody's way, so they are not remembered.
    pub fn note(&mut self, stem: &str, spec: &Spec, kind: Kind) -> Result<(), LoadError> {
        if kind == Kind::Storage {
            return Ok(());
        }
        let record = Record {
            stem: stem.to_owned(),
            kind: kind.as_str().to_owned(),
            order: spec.order,
            on_error: spec.on_error,
            topics: spec.topics.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        };
        if self.records.get(&spec.name) != Some(&record) {
            let state = |error: String| LoadError::State(error);
            let text = serde_json::to_vec(&record).map_err(|error| state(error.to_string()))?;
            self.table.put(spec.name.as_bytes(), &text).map_err(|error| state(error.to_string()))?;
            self.records.insert(spec.name.clone(), record);
        }
        Ok(())
    }

    /// The names of all bindings that are remembered.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.records.keys()
    }

    /// The stem of the file that the name belonged to when it was last live.
    pub fn stem(&self, name: &str) -> Option<&str> {
        self.records.get(name).map(|record| record.stem.as_str())
    }

    /// Whether the name was an auth plugin's when it was last live.
    pub fn was_auth(&self, name: &str) -> bool {
        self.records.get(name).is_some_and(|record| record.kind == Kind::Auth.as_str())
    }

    /// Forgets a binding. False: it was not known, or is of another kind than `kind`.
    pub fn forget(&mut self, name: &str, kind: Option<Kind>) -> Result<bool, String> {
        let known = self.records.get(name).is_some_and(|r| kind.is_none_or(|kind| r.kind == kind.as_str()));
        if known {
            self.table.remove(name.as_bytes()).map_err(|error| error.to_string())?;
            self.records.remove(name);
        }
        Ok(known)
    }

    /// Bindings that were live, are not, and must not be passed by: auth plugins always, filters and transforms
    /// for as long as the folder asks for them (`asked`: by binding name and file stem).
    pub fn closed(&self, live: impl Fn(&str) -> bool, asked: impl Fn(&str, &str) -> bool) -> Vec<Closed> {
        let absent = self.records.iter().filter(|(name, _)| !live(name));
        let closed = absent.filter_map(|(name, record)| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == record.kind)?;
            let topics = record.topics.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            let stands = kind == Kind::Auth || asked(name, &record.stem);
            let policy = record.on_error.unwrap_or(Policy::default_for(kind));
            let name = Arc::from(name.as_str());
            stands.then_some(Closed { name, kind, order: record.order, topics, policy })
        });
        closed.collect()
    }

    /// Filters and transforms that the folder no longer asks for: their removal was meant.
    pub fn let_go(&mut self, live: impl Fn(&str) -> bool, asked: impl Fn(&str, &str) -> bool) {
        let gone = self.records.iter().filter(|(name, record)| {
            record.kind != Kind::Auth.as_str() && !live(name) && !asked(name, &record.stem)
        });
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Err(error) = self.forget(&name, None) {
                tracing::warn!(plugin = name, error, "a binding that is gone cannot be forgotten");
            }
        }
    }
}

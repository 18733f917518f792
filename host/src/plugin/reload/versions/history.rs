//! What happened to the bindings: a bounded number of lines each, in the store.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::store::{StoreError, Table};

/// Lines that are kept of each binding.
pub const LINES: usize = 50;
/// Most bytes of a reason.
const REASON_BYTES: usize = 1_000;
/// The table in the store: binding name, 0, number (u64, big-endian) → line.
pub(super) const TABLE: &str = "plugin-history";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A version went live.
    Live,
    /// A version did not load: `stage` and `reason` say why.
    Failed,
    /// An older version serves again.
    RolledBack,
    /// The live version failed too often, and there is no other.
    OverBudget,
    /// A version is not tried again while it lies in the folder.
    Quarantined,
    /// The operator switched the binding off.
    Disabled,
    /// The operator switched it on again.
    Enabled,
    /// The folder no longer asks for it.
    Unbound,
    /// The operator lifted the quarantine.
    Forgotten,
}

impl Event {
    /// The word in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::OverBudget => "over-budget",
            Self::Quarantined => "quarantined",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Unbound => "unbound",
            Self::Forgotten => "forgotten",
        }
    }
}

/// One line of `weir plugin history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// Unix microseconds.
    pub time_us: u64,
    /// What happened.
    pub event: Event,
    /// First 12 digits of the component's digest; empty where none is concerned.
    #[serde(default)]
    pub version: String,
    /// The kept version's number, for `weir plugin rollback --to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Who rolled it back: `operator` or `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The stage that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Why, at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The binding file of a version that is still kept. Filled in when it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<String>,
}

impl HistoryLine {
    /// A line that says only this.
    pub fn new(event: Event, version: &str) -> Self {
        Self {
            time_us: crate::message::now_us(),
            event,
            version: version.to_owned(),
            number: None,
            by: None,
            stage: None,
            reason: None,
            binding: None,
        }
    }

    /// With a reason, cut to its bound.
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.get(..reason.floor_char_boundary(REASON_BYTES)).unwrap_or("").to_owned());
        self
    }

    fn says_the_same(&self, other: &Self) -> bool {
        Self { time_us: other.time_us, ..self.clone() } == *other
    }
}

/// The lines of all bindings.
pub struct History {
    table: Table,
    lines: BTreeMap<String, VecDeque<(u64, HistoryLine)>>,
}

impl History {
    pub(super) fn open(table: Table) -> Result<Self, StoreError> {
        let mut lines: BTreeMap<String, VecDeque<_>> = BTreeMap::new();
        for (key, value) in table.iter()? {
            if let (Some((name, number)), Ok(line)) = (parse(&key), serde_json::from_slice(&value)) {
                lines.entry(name).or_default().push_back((number, line));
            }
        }
        Ok(Self { table, lines })
    }

    /// Oldest first.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &HistoryLine> {
        self.lines.get(name).into_iter().flatten().map(|(_, line)| line)
    }

    /// Adds a line, unless it says what the last one says: a restart is no news.
    pub fn add(&mut self, name: &str, line: HistoryLine) {
        let lines = self.lines.entry(name.to_owned()).or_default();
        let last = lines.back();
        if last.is_some_and(|(_, last)| last.says_the_same(&line)) {
            return;
        }
        let number = last.map_or(0, |(number, _)| number + 1);
        let written = serde_json::to_vec(&line).map_err(|error| error.to_string());
        let key = key(name, number);
        let written = written.and_then(|text| self.table.put(&key, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::warn!(plugin = name, error, "a line of the plugin's history cannot be kept");
        }
        lines.push_back((number, line));
        while lines.len() > LINES {
            if let Some((number, _)) = lines.pop_front() {
                remove(&self.table, name, number);
            }
        }
    }

    /// Drops all lines of a binding.
    pub fn forget(&mut self, name: &str) {
        for (number, _) in self.lines.remove(name).unwrap_or_default() {
            remove(&self.table, name, number);
        }
    }

    /// The bindings that have a history.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.lines.keys()
    }
}

fn remove(table: &Table, name: &str, number: u64) {
    if let Err(error) = table.remove(&key(name, number)) {
        tracing::warn!(plugin = name, %error, "a line of the plugin's history cannot be removed");
    }
}

fn key(name: &str, number: u64) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn parse(key: &[u8]) -> Option<(String, u64)> {
    let (rest, number) = key.split_last_chunk::<8>()?;
    let (_zero, name) = rest.split_last()?;
    Some((String::from_utf8(name.to_vec()).ok()?, u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreOptions};

    #[test]
    fn a_bounded_number_of_lines_survives_and_nothing_is_said_twice() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), StoreOptions::default()).unwrap();
        let open = || History::open(store.table(TABLE).unwrap()).unwrap();
        let mut history = open();
        for number in 0..=LINES {
            let reason = format!("{number} {}", "ä".repeat(REASON_BYTES));
            for _ in 0..2 {
                history.add("a", HistoryLine::new(Event::Failed, "").because(&reason));
            }
        }
        history.add("a-b", HistoryLine::new(Event::Live, "0123456789ab"));
        let kept: Vec<_> = history.of("a").cloned().collect();
        assert_eq!(kept.len(), LINES);
        assert!(kept[0].reason.as_deref().unwrap().starts_with("1 ä"));
        let mut again = open();
        assert_eq!(again.of("a").cloned().collect::<Vec<_>>(), kept);
        again.forget("a");
        assert_eq!((open().of("a").count(), open().of("a-b").count()), (0, 1));
    }
}

//! Logs: which messages are kept, and for how long.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::unit;

/// One log: an ordered, retained stream of messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Written")]
pub struct LogRule {
    /// `[a-z0-9][a-z0-9-]*`, at most 63 bytes; also the name of its folder.
    pub name: String,
    /// Patterns of the topics that it keeps.
    pub topics: Vec<String>,
    /// How long messages are kept; none = no such limit. Default 24 h, with `record_input` 1 h.
    pub max_age: Option<Duration>,
    /// Bytes on disk; none = no such limit. Default 1 GiB.
    pub max_bytes: Option<u64>,
    /// How many messages are kept; none = no such limit. Default none.
    pub max_messages: Option<u64>,
    /// Bytes up to which the log grows for consumers that lag, against the limits above; none = without end.
    /// Default 4 GiB.
    pub hold_max_bytes: Option<u64>,
    /// It keeps messages as they came in, before any plugin, for the operator alone.
    pub record_input: bool,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    topics: Vec<String>,
    #[serde(default, deserialize_with = "age")]
    max_age: Option<Option<Duration>>,
    #[serde(default = "default_bytes", deserialize_with = "unit::optional_size")]
    max_bytes: Option<u64>,
    #[serde(default, deserialize_with = "unit::optional_count")]
    max_messages: Option<u64>,
    #[serde(default = "default_hold", deserialize_with = "unit::optional_size")]
    hold_max_bytes: Option<u64>,
    #[serde(default)]
    record_input: bool,
}

fn age<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<Duration>>, D::Error> {
    unit::optional_duration(input).map(Some)
}

fn default_age(record_input: bool) -> Duration {
    Duration::from_secs(if record_input { 60 * 60 } else { 24 * 60 * 60 })
}

fn default_bytes() -> Option<u64> {
    Some(1 << 30)
}

fn default_hold() -> Option<u64> {
    Some(4 << 30)
}

impl From<Written> for LogRule {
    fn from(written: Written) -> Self {
        let Written { name, topics, max_age, max_bytes, max_messages, hold_max_bytes, record_input } =
            written;
        let max_age = max_age.unwrap_or_else(|| Some(default_age(record_input)));
        Self { name, topics, max_age, max_bytes, max_messages, hold_max_bytes, record_input }
    }
}

impl LogRule {
    /// The name of its folder, and by which it stands in metrics and exports. What was recorded must never be taken for
    /// a log that may be read, so that setting or removing `record_input` begins another log.
    pub fn folder(&self) -> String {
        if self.record_input { format!("{}.input", self.name) } else { self.name.clone() }
    }
}

impl Default for LogRule {
    fn default() -> Self {
        Self {
            name: "default".into(),
            topics: vec!["#".into()],
            max_age: Some(default_age(false)),
            max_bytes: default_bytes(),
            max_messages: None,
            hold_max_bytes: default_hold(),
            record_input: false,
        }
    }
}

//! What the operator sees of plugins: one [`PluginInfo`] per binding, one [`Problem`] per mistake.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::binding::Spec;
use super::shadow::{ShadowCounts, ShadowReport};
use super::{Deed, HistoryLine, Refused};

/// Lists the bindings; the admin listener knows plugins only through this.
pub trait PluginView: Send + Sync {
    /// Every binding, in pipeline order.
    fn list(&self) -> Vec<PluginInfo>;

    /// Does something to a binding; live when it returns. Ok says what was done, Err why nothing was.
    fn act(&self, name: &str, deed: Deed) -> Result<String, Refused>;

    /// What happened to a binding, oldest first.
    fn history(&self, name: &str) -> Result<Vec<HistoryLine>, Refused>;

    /// What came of a shadow so far. None: no shadow of this name runs.
    fn shadow(&self, name: &str) -> Option<ShadowReport>;
}

/// One line of `weir plugin list`.
#[derive(Clone, Debug, Serialize)]
pub struct PluginInfo {
    /// The binding's name.
    pub name: String,
    /// `NAME.wasm`, or `stock:NAME`.
    pub file: String,
    /// `auth`, `filter`, `transform`, `storage`; empty if the file could not be read that far.
    pub kind: String,
    /// First 12 hexadecimal digits of the component's SHA-256; empty if it could not be read.
    pub version: String,
    /// Place among the bindings of its kind, lowest first.
    pub order: i64,
    /// Patterns of the topics that it sees.
    pub topics: Vec<String>,
    /// What it is doing.
    pub state: PluginState,
    /// Why it failed, is disabled, was taken away or stores nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it did, or wanted to do, without a grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it may do beyond its messages.
    pub grants: Grants,
    /// Since when this version serves, Unix microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loaded_us: Option<u64>,
    /// Calls of this version.
    pub calls: u64,
    /// Traps, timeouts and errors among them.
    pub failures: u64,
    /// Storage: offsets of all logs that are on the disk and that it has not passed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Storage: offsets that retention took before it had read them, since the router started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Of a shadow: how often it agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowLine>,
}

/// What `weir plugin list` says of a shadow.
#[derive(Clone, Debug, Serialize)]
pub struct ShadowLine {
    /// The live binding.
    pub of: String,
    /// Share of its messages.
    pub share: f64,
    /// How often it agreed.
    #[serde(flatten)]
    pub counts: ShadowCounts,
}

/// What a binding is granted beyond its messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Patterns of topics that it may emit to although the publisher may not.
    pub emit: Vec<String>,
    /// URLs below which it may post.
    pub post: Vec<String>,
    /// Realms whose accounts it may look up.
    pub accounts: Vec<String>,
    /// Interfaces of the host.
    pub imports: Vec<String>,
    /// Keys of its configuration whose values are secrets; never the values, nor where they stand.
    pub secrets: Vec<String>,
    /// What else it does is counted and let through.
    pub count_only: bool,
}

impl From<&Spec> for Grants {
    fn from(spec: &Spec) -> Self {
        Self {
            emit: spec.emit.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            post: spec.post.iter().map(ToString::to_string).collect(),
            accounts: spec.accounts.clone(),
            imports: spec.imports.clone(),
            secrets: spec.secrets.iter().map(|(key, _)| key.clone()).collect(),
            count_only: spec.count_only,
        }
    }
}

impl fmt::Display for Grants {
    /// The keys of a binding that grant something; `none` if none does.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { emit, post, accounts, imports, secrets, count_only } = self;
        let keys = [
            ("emit", emit),
            ("post", post),
            ("accounts", accounts),
            ("imports", imports),
            ("secrets", secrets),
        ];
        let mut none = true;
        for (key, granted) in keys.into_iter().filter(|(_, granted)| !granted.is_empty()) {
            write!(out, "{}{key} = {granted:?}", if none { "" } else { ", " })?;
            none = false;
        }
        match (none, count_only) {
            (true, true) => out.write_str("count-only"),
            (false, true) => out.write_str(", count-only"),
            (true, false) => out.write_str("none"),
            (false, false) => Ok(()),
        }
    }
}

/// What a binding is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// Serving.
    Active,
    /// Compared with a binding that is.
    Shadow,
    /// For the binding that it is to be compared with.
    Waiting,
    /// Not serving, or serving an older version: `reason` says why.
    Failed,
    /// Switched off by the operator.
    Disabled,
    /// Its file is gone and it still denies, so that nothing opens because a file vanished.
    Tombstone,
}

impl PluginState {
    /// The word in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Tombstone => "tombstone",
        }
    }
}

/// A mistake in the plugin folder, as `weir check` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The binding or component.
    pub file: PathBuf,
    /// Counted from 1; none for what stands in no line.
    pub line: Option<usize>,
    /// What was found and what is accepted.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(out, "{}: {}", self.file.display(), self.message),
        }
    }
}

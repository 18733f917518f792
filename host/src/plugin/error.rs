//! Why a plugin does not go live, and why a call into one has no answer: three failures, three types.

use std::path::PathBuf;
use std::sync::Arc;

use super::Problem;
use crate::config::ConfigError;
use crate::metrics::End;

/// Why a plugin file or binding is not used. The version before it, if any, serves on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine itself.
    #[error("the WebAssembly engine failed: {0}")]
    Engine(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Over the limit.
    #[error("{found} bytes: at most {accepted} are accepted (plugin.file_bytes)")]
    TooBig {
        /// Size of the file.
        found: u64,
        /// The limit.
        accepted: usize,
    },
    /// Not a plugin's name.
    #[error(
        "the name {0:?} is not taken: accepted are 1 to 63 of a-z, 0-9 and -, so rename the file (_ as -)"
    )]
    Name(String),
    /// Not a component.
    #[error(
        "not a WebAssembly component ({0}): build for wasm32-wasip2; core modules and precompiled code are refused"
    )]
    NotAComponent(String),
    /// Not signed as this router demands.
    #[error("{0}")]
    Signature(String),
    /// Does not compile.
    #[error("does not compile: {0}")]
    Compile(String),
    /// No kind among the exports.
    #[error(
        "exports none of weir:plugin's auth, filter, transform, storage: use one export_*! macro of the SDK"
    )]
    NoKind,
    /// More than one.
    #[error("exports several kinds ({0}): exactly one is accepted, build one component for each")]
    SeveralKinds(String),
    /// Another version of the contract.
    #[error("exports {found}, this router speaks {wanted}: rebuild against its SDK")]
    Version {
        /// What the component exports.
        found: String,
        /// What the host wants.
        wanted: String,
    },
    /// A typo would otherwise be silently without effect.
    #[error("exports {0}, which this router does not know")]
    UnknownExport(String),
    /// Not allowed.
    #[error("it asks for {imports}, which it may not have: {remedy}")]
    Imports {
        /// All that are refused.
        imports: String,
        /// The line that would grant them, or that none does.
        remedy: String,
    },
    /// Types do not match.
    #[error("does not fit weir:plugin@0.1.0: {0}")]
    Types(String),
    /// `init` said no.
    #[error("refuses its configuration at `config{path}`: {reason}")]
    Config {
        /// JSON Pointer.
        path: String,
        /// What is accepted.
        reason: String,
    },
    /// `init` failed.
    #[error("init failed: {0}")]
    Init(CallError),
    /// `selftest` said no.
    #[error("self-test failed: {0}")]
    SelfTest(String),
    /// A sample message of the binding.
    #[error("sample message {number} (topic {topic:?}): expected {expected}, got {came}")]
    Sample {
        /// Its place in the file, from 1.
        number: usize,
        /// Its topic.
        topic: String,
        /// What the file expects.
        expected: &'static str,
        /// What the plugin made of it.
        came: String,
    },
    /// The state that is there is of another schema, and cannot be made this version's.
    #[error("{0}")]
    Migration(String),
    /// The binding file.
    #[error("{0}")]
    Binding(Problem),
    /// It needs another binding, which is not there yet.
    #[error("waits for {0}")]
    Waits(String),
    /// A secret of the binding is not where its file says.
    #[error("[secrets] {key}: {reason}")]
    Secret {
        /// Its key.
        key: String,
        /// Where it was looked for, and why it is not there.
        reason: String,
    },
    /// Something in the binding's file that shows only when it is loaded.
    #[error("{message}")]
    At {
        /// The keys that lead to it.
        keys: Vec<String>,
        /// What is wrong, and what is accepted.
        message: String,
    },
    /// Another error, with its place in the binding's file.
    #[error("{problem}")]
    Placed {
        /// The place, and the error in words.
        problem: Problem,
        /// The error.
        error: Box<LoadError>,
    },
    /// The store refused to open the binding's state.
    #[error("its state cannot be opened: {0}")]
    State(String),
}

impl LoadError {
    /// Every stage at which loading can end, in the order of the steps; `engine` may be anywhere.
    pub const STAGES: [&'static str; 15] = [
        "read",
        "size",
        "format",
        "signature",
        "kind",
        "imports",
        "compile",
        "instantiate",
        "init",
        "self-test",
        "sample",
        "binding",
        "state",
        "migration",
        "engine",
    ];

    /// An error at a key of the binding's file, not yet with its line.
    pub fn at(keys: &[&str], message: impl Into<String>) -> Self {
        Self::At { keys: keys.iter().map(|&key| key.to_owned()).collect(), message: message.into() }
    }

    /// An engine error with its whole chain of causes.
    pub fn engine(error: impl Into<wasmtime::Error>) -> Self {
        Self::Engine(format!("{:#}", error.into()))
    }

    /// The stage at which loading ended, one of [`STAGES`](Self::STAGES).
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Engine(_) => "engine",
            Self::Read { .. } | Self::Name(_) => "read",
            Self::TooBig { .. } => "size",
            Self::NotAComponent(_) => "format",
            Self::Signature(_) => "signature",
            Self::Compile(_) => "compile",
            Self::NoKind | Self::SeveralKinds(_) | Self::Version { .. } | Self::UnknownExport(_) => "kind",
            Self::Imports { .. } => "imports",
            Self::Types(_) => "instantiate",
            Self::Config { .. } | Self::Init(_) => "init",
            Self::SelfTest(_) => "self-test",
            Self::Sample { .. } => "sample",
            Self::Binding(_) | Self::At { .. } | Self::Secret { .. } | Self::Waits(_) => "binding",
            Self::Placed { error, .. } => error.stage(),
            Self::State(_) => "state",
            Self::Migration(_) => "migration",
        }
    }
}

impl From<ConfigError> for LoadError {
    fn from(error: ConfigError) -> Self {
        Self::Binding(match error {
            ConfigError::At { file, line, message } => Problem { file, line: Some(line), message },
            ConfigError::Read { file, error } => Problem { file, line: None, message: error.to_string() },
            ConfigError::Setting(message) => Problem { file: PathBuf::new(), line: None, message },
        })
    }
}

/// The plugin failed: what a call ended with instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A trap; the instance is gone. The guest's own panic text where it gave one.
    #[error("trapped: {0}")]
    Trap(Arc<str>),
    /// Ran over its deadline; the instance is gone.
    #[error("took longer than {0} ms")]
    Timeout(u128),
    /// Returned more or other than it may; counts as a trap.
    #[error("returned what it may not: {0}")]
    Output(String),
    /// `err(unavailable)`.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// `err(internal)`.
    #[error("internal: {0}")]
    Internal(String),
    /// More memory, or a larger table, than it may have; the instance is gone.
    #[error("ran out of memory: {0}")]
    Memory(Arc<str>),
    /// The engine failed, not the plugin.
    #[error("the engine failed: {0}")]
    Engine(Arc<str>),
    /// It was not called, since it failed too often.
    #[error("{0}")]
    Skipped(String),
}

impl CallError {
    /// The cause in metrics: a closed set.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Timeout(_) => "timeout",
            Self::Output(_) => "output",
            Self::Unavailable(_) | Self::Internal(_) => "error",
            Self::Memory(_) => "memory",
            Self::Engine(_) => "engine",
            Self::Skipped(_) => "skipped",
        }
    }

    /// Whether a fresh instance may do better with the same message.
    pub fn worth_a_retry(&self) -> bool {
        matches!(self, Self::Trap(_) | Self::Memory(_) | Self::Output(_) | Self::Unavailable(_))
    }
}

impl From<&CallError> for End {
    fn from(error: &CallError) -> Self {
        match error {
            CallError::Timeout(_) => Self::Timeout,
            CallError::Unavailable(_) | CallError::Internal(_) => Self::Error,
            CallError::Trap(_) | CallError::Output(_) => Self::Trap,
            CallError::Memory(_) => Self::Memory,
            CallError::Engine(_) => Self::Engine,
            CallError::Skipped(_) => Self::Skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_stage_of_the_closed_set() {
        let (text, path) = (String::new, PathBuf::new);
        for (error, stage) in [
            (LoadError::Read { path: path(), reason: text() }, "read"),
            (LoadError::Name(text()), "read"),
            (LoadError::TooBig { found: 2, accepted: 1 }, "size"),
            (LoadError::NotAComponent(text()), "format"),
            (LoadError::Signature(text()), "signature"),
            (LoadError::NoKind, "kind"),
            (LoadError::SeveralKinds(text()), "kind"),
            (LoadError::Version { found: text(), wanted: text() }, "kind"),
            (LoadError::UnknownExport(text()), "kind"),
            (LoadError::Imports { imports: text(), remedy: text() }, "imports"),
            (LoadError::Compile(text()), "compile"),
            (LoadError::Types(text()), "instantiate"),
            (LoadError::Config { path: text(), reason: text() }, "init"),
            (LoadError::Init(CallError::Timeout(1)), "init"),
            (LoadError::SelfTest(text()), "self-test"),
            (LoadError::Binding(Problem { file: path(), line: None, message: text() }), "binding"),
            (LoadError::Secret { key: text(), reason: text() }, "binding"),
            (LoadError::at(&["plugin"], text()), "binding"),
            (LoadError::State(text()), "state"),
            (LoadError::Migration(text()), "migration"),
            (LoadError::Sample { number: 1, topic: text(), expected: "keep", came: text() }, "sample"),
            (LoadError::Engine(text()), "engine"),
        ] {
            assert_eq!(error.stage(), stage, "{error:?}");
            assert!(LoadError::STAGES.contains(&stage), "{stage}");
        }
    }
}

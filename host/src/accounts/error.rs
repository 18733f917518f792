//! Why an account could not be made or changed.

use weir_contract::topic::TopicError;

/// What went wrong, in one line.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// The name cannot be a principal's.
    #[error(
        "the name {name:?} cannot be used: {error}; accepted is one topic level without / + # and a leading $"
    )]
    Name {
        /// As given.
        name: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Not one of the four.
    #[error("the origin {0:?} is unknown; accepted are device, page, sensor, service")]
    Origin(String),
    /// A scope is no pattern.
    #[error("the {action} pattern {pattern:?} cannot be used: {error}")]
    Pattern {
        /// `publish` or `subscribe`.
        action: &'static str,
        /// As given, or with `{principal}` and `{tenant}` replaced if only then it is wrong.
        pattern: String,
        /// What is wrong with it.
        error: TopicError,
    },
    /// Too many scopes.
    #[error("{count} {action} patterns are given; at most {most} are accepted")]
    Patterns {
        /// `publish` or `subscribe`.
        action: &'static str,
        /// How many were given.
        count: usize,
        /// How many are accepted.
        most: usize,
    },
    /// Attributes that a principal cannot have.
    #[error("the attributes are not acceptable: {0}")]
    Attributes(&'static str),
    /// It would never work.
    #[error("the key would expire at {0}, which is past")]
    Expired(String),
    /// No key has this id.
    #[error("no key has the id {0:?}; `weir key list` shows the ids")]
    UnknownKey(String),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error("the accounts cannot be stored: {0}")]
    Store(Box<dyn std::error::Error + Send + Sync>),
}

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
    #[error("it would expire at {0}, which is past")]
    Expired(String),
    /// A password could not be hashed: there is no memory, or no random numbers.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
    /// Whoever guesses it is in, or it is too long to be looked at.
    #[error(
        "the password has {bytes} bytes; accepted are 8 to 1024, fewer only if that is asked for (`--allow-weak`, or `\"weak\": true`)"
    )]
    Password {
        /// Its length.
        bytes: usize,
    },
    /// No key has this id.
    #[error("no key has the id {0:?}; `weir key list` shows the ids")]
    UnknownKey(String),
    /// A tenant's name is also a topic level and part of paths.
    #[error(
        "the tenant name {0:?} cannot be used; accepted are 1 to 63 of a-z 0-9 -, the first no -, and none of {1}"
    )]
    TenantName(String, String),
    /// What the tenant before it published would be the new one's.
    #[error(
        "a tenant {name} was deleted at {at}, and what it published may be kept still: take another name, or ask for this one again (`--again`, or `\"again\": true`) if the new tenant may read it"
    )]
    TenantNameKept {
        /// The name.
        name: String,
        /// When, as RFC 3339 text.
        at: String,
    },
    /// `main` is always there.
    #[error("the tenant main cannot be deleted")]
    TenantMain,
    /// Deleting it would leave what belongs to it without anybody.
    #[error(
        "the tenant {name} has {keys} keys, {logins} logins, {users} users, {rooms} rooms and {networks} networks: take them back first"
    )]
    TenantInUse {
        /// The tenant.
        name: String,
        /// Its keys that work.
        keys: usize,
        /// Its logins that work.
        logins: usize,
        /// Its users, of rooms and of tenta.
        users: usize,
        /// Its users' rooms.
        rooms: usize,
        /// Its networks of sensors.
        networks: usize,
    },
    /// There is one already.
    #[error("the {what} {name:?} exists already")]
    Exists {
        /// `tenant`, `user` or `room`.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// There is none.
    #[error("there is no {what} {name:?}")]
    Unknown {
        /// `tenant`, `user`, `room` or `endpoint`.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// The key would not tell the two apart.
    #[error("this API key is another user's: each user needs its own")]
    KeyTaken,
    /// Whoever guesses it is the user.
    #[error(
        "the API key has {bytes} bytes; at least {least} are accepted, fewer only if that is asked for (`--allow-weak`, or `\"weak\": true`)"
    )]
    KeyWeak {
        /// Its length.
        bytes: usize,
        /// The shortest.
        least: usize,
    },
    /// It could not stand in a header.
    #[error("the API key cannot be used; accepted are up to 256 printable ASCII letters without blanks")]
    KeyText,
    /// Another endpoint's.
    #[error("this code is another endpoint's")]
    CodeTaken,
    /// It could not stand in a path.
    #[error("the code cannot be used; accepted are 1 to 255 of A-Z a-z 0-9 _")]
    Code,
    /// A text that is too long, or empty.
    #[error("{what} has {bytes} bytes; {accepted}")]
    Text {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The rule.
        accepted: &'static str,
    },
    /// A configuration of a sensor that is too long.
    #[error(
        "the configuration has {bytes} bytes; at most {most} are accepted (accounts.configuration_bytes)"
    )]
    Configuration {
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// As many as there may be.
    #[error("there are {most} {what} already, which is the most ({setting})")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
        /// Where it is set.
        setting: &'static str,
    },
    /// Its owner vanished while it was made; that would be a bug.
    #[error("it cannot be kept: {0}")]
    Orphan(super::directory::Orphan),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// The store failed.
    #[error("the accounts cannot be stored: {0}")]
    Store(Box<dyn std::error::Error + Send + Sync>),
}

impl AccountsError {
    pub(super) fn unknown(what: &'static str, name: &str) -> Self {
        Self::Unknown { what, name: name.to_owned() }
    }
}

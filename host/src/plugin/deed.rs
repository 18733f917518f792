//! What an operator may do to a binding while the router runs, and why it may not be possible.

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The version before serves again, or the kept one of this number or digest.
    Rollback(Option<String>),
    /// It is taken out of the chain until it is enabled again; an auth plugin's place stays closed.
    Disable,
    /// It is what the folder says again.
    Enable,
    /// Live: its quarantine is lifted. Not live: it is forgotten.
    Forget,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such binding.
    #[error("no plugin is named {name:?}: there are {}", .known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// All there are.
        known: Vec<String>,
    },
    /// It cannot be done now.
    #[error("{0}")]
    Impossible(String),
    /// The router is ending.
    #[error("the router is stopping")]
    Stopping,
}

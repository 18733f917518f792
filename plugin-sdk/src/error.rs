//! The three ways to say no: a [`Refusal`] is the publisher's fault, an [`Error`] the plugin's, a
//! [`ConfigError`] the deployer's.

use crate::bindings::imports::weir::plugin::types as wit;

/// What a plugin's methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A "no" that the publisher may hear: reason (1 to 1,024 bytes, cut beyond), a JSON Pointer to the place in
/// the payload, and whether to end the session after answering.
pub use wit::Refusal;

impl Refusal {
    /// A refusal of the whole payload. Say what was wrong and what is accepted.
    pub fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string(), path: String::new(), disconnect: false }
    }

    /// Names the place in the payload, as a JSON Pointer: `/readings/0/unit`.
    #[must_use]
    pub fn at(mut self, pointer: impl ToString) -> Self {
        self.path = pointer.to_string();
        self
    }

    /// Asks the gateway to end the session after it has answered.
    #[must_use]
    pub fn and_disconnect(mut self) -> Self {
        self.disconnect = true;
        self
    }
}

/// Why a call has no ordinary result.
///
/// By `?`, a [`Refusal`] becomes [`Error::Refused`], a `StateError` or an `AccountsError` becomes
/// [`Error::Unavailable`], and any `std::error::Error` becomes [`Error::Internal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The message is wrong. Not a failure: filters and transforms return it as their `Refuse` arm, auth
    /// plugins as a denial.
    Refused(Refusal),
    /// Something outside the message is in the way. The host calls once more with a fresh instance, then
    /// applies the binding's `on-error` policy. At most 4 KiB, logged, never sent to clients.
    Unavailable(String),
    /// A broken assumption. No second try; the policy applies. At most 4 KiB, logged.
    Internal(String),
}

impl Error {
    /// A broken assumption, in words.
    pub fn internal(what: impl ToString) -> Self {
        Self::Internal(what.to_string())
    }
}

// No `impl std::error::Error for Error`, nor for `Refusal` or `StateError`: the conversion below would then
// overlap with the standard library's `From<T> for T`.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(no) if no.path.is_empty() => write!(out, "refused: {}", no.reason),
            Self::Refused(no) => write!(out, "refused: {} at {}", no.reason, no.path),
            Self::Unavailable(text) => write!(out, "unavailable: {text}"),
            Self::Internal(text) => write!(out, "internal: {text}"),
        }
    }
}

/// The failure arm of the contract. A refusal only gets here where there is no arm for one.
impl From<Error> for wit::Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(text) => Self::Unavailable(text),
            Error::Internal(text) => Self::Internal(text),
            Error::Refused(refusal) => Self::Internal(Error::Refused(refusal).to_string()),
        }
    }
}

/// Why a plugin does not accept its configuration. `weir check` turns the path into file, line and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// JSON Pointer into `[config]`, for example `/fields/0/scale`; empty = the whole.
    pub path: String,
    /// What was found and what is accepted: 1 to 1,024 bytes.
    pub reason: String,
}

impl ConfigError {
    /// An error at the place that a JSON Pointer names.
    pub fn new(path: impl ToString, reason: impl ToString) -> Self {
        Self { path: path.to_string(), reason: reason.to_string() }
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            write!(out, "{}", self.reason)
        } else {
            write!(out, "{} at {}", self.reason, self.path)
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for wit::ConfigError {
    fn from(error: ConfigError) -> Self {
        Self { path: error.path, reason: error.reason }
    }
}

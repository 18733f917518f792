//! Key and value pairs that outlive the instance: ordered, private to the binding, shared by its instances.
//!
//! A message's whole pass is one transaction. Reads see the pass's own writes; writes are kept when the
//! message is accepted, or when this very plugin stopped it by a verdict, and are gone after an error, a trap
//! or a refusal by a later stage. When another shard changed what was read, the pass is run again: so
//! read-then-set is atomic, without locks.
//!
//! Keys: 1 to 512 bytes, ordered bytewise. Values: at most 256 KiB. At most 1,000 writes a call, 64 MiB in
//! all by default. `new`, `SelfTest::run`, `Storage::store` and `Storage::query` may read only.
//!
//! ```
//! use weir_plugin::{Filter, Key, Message, Result, Verdict, state};
//!
//! /// Keeps each sender's first hundred messages.
//! #[derive(Default)]
//! struct FirstHundred;
//!
//! impl Filter for FirstHundred {
//!     fn check(&self, message: &Message) -> Result<Verdict> {
//!         let seen = state::increment(Key::new("seen").text(message.session().name()), 1)?;
//!         Ok(Verdict::keep_if(seen <= 100))
//!     }
//! }
//! # weir_plugin::export_filter!(FirstHundred);
//! ```

use crate::{Error, Range, Result, Time, host};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of a key.
pub const MAX_KEY: usize = 512;

/// Most bytes of a value.
pub const MAX_VALUE: usize = 256 * 1024;

/// Most pairs that one scan returns; the bytes are limited to [`MAX_SCAN_BYTES`] too.
pub const MAX_SCAN: usize = 1_000;

/// Most bytes of keys and values that one scan returns.
pub const MAX_SCAN_BYTES: usize = 1024 * 1024;

/// Most writes of one call.
pub const MAX_WRITES: usize = 1_000;

/// Key and value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Why a call did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateError {
    /// The write would exceed the quota, which is given, in bytes.
    Quota(u64),
    /// Key or value over its limit, or an empty key.
    TooLarge,
    /// Written where `state` can only be read.
    ReadOnly,
    /// `increment` on a value that is not 8 bytes long.
    NotANumber,
    /// The store is broken, closed or full, or there is no host at all.
    Unavailable(String),
}

impl std::fmt::Display for StateError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Quota(bytes) => write!(out, "the state's quota of {bytes} bytes is used up"),
            Self::TooLarge => write!(out, "a key is 1 to {MAX_KEY} bytes, a value at most {MAX_VALUE}"),
            Self::ReadOnly => write!(out, "state can only be read here"),
            Self::NotANumber => write!(out, "the value is no counter: it is not 8 bytes long"),
            Self::Unavailable(text) => write!(out, "the state is unavailable: {text}"),
        }
    }
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<crate::bindings::imports::weir::plugin::state::StateError> for StateError {
    fn from(error: crate::bindings::imports::weir::plugin::state::StateError) -> Self {
        use crate::bindings::imports::weir::plugin::state::StateError as Raw;
        match error {
            Raw::Quota(bytes) => Self::Quota(bytes),
            Raw::TooLarge => Self::TooLarge,
            Raw::ReadOnly => Self::ReadOnly,
            Raw::NotANumber => Self::NotANumber,
            Raw::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

/// None: absent or expired.
pub fn get(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, StateError> {
    host::get(key.as_ref())
}

/// Creates or replaces.
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), StateError> {
    host::set(key.as_ref(), Some((value.as_ref(), None)))
}

/// Creates or replaces, and the host deletes it at that time; it is never seen after it.
pub fn set_until(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expires: Time) -> Result<(), StateError> {
    host::set(key.as_ref(), Some((value.as_ref(), Some(expires.micros()))))
}

/// Deleting what is not there is fine.
pub fn delete(key: impl AsRef<[u8]>) -> Result<(), StateError> {
    host::set(key.as_ref(), None)
}

/// Adds to a counter and returns the new value; an absent one counts as 0, and it wraps.
pub fn increment(key: impl AsRef<[u8]>, delta: i64) -> Result<i64, StateError> {
    host::increment(key.as_ref(), delta)
}

/// Pairs of the range in order, at most `limit`, [`MAX_SCAN`] and [`MAX_SCAN_BYTES`]: go on with
/// `range.beyond(last key)`. The whole range counts as read.
pub fn scan(range: Range, limit: usize) -> Result<Vec<Pair>, StateError> {
    host::scan(&range, u32::try_from(limit.min(MAX_SCAN)).unwrap_or(u32::MAX))
}

/// [`get`] of what [`set_json`] wrote.
pub fn get_json<T: DeserializeOwned>(key: impl AsRef<[u8]>) -> Result<Option<T>> {
    Ok(get(key)?.map(|value| serde_json::from_slice(&value)).transpose()?)
}

/// [`set`] of a value as JSON.
pub fn set_json(key: impl AsRef<[u8]>, value: &impl Serialize) -> Result<()> {
    Ok(set(key, serde_json::to_vec(value)?)?)
}

//! How many dead letters are kept.

use serde::Deserialize;

use super::unit;

/// How many dead letters are kept: beyond either, the oldest goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetters {
    /// Letters.
    #[serde(deserialize_with = "unit::count")]
    pub max_letters: usize,
    /// Their bytes; the newest is kept whatever its size.
    #[serde(deserialize_with = "unit::size")]
    pub max_bytes: usize,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { max_letters: 10_000, max_bytes: 64 << 20 }
    }
}

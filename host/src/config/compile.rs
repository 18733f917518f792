//! How plugins are compiled: in a process of its own, within these limits.

use std::time::Duration;

use serde::Deserialize;

use super::unit;

/// What the compiling of one plugin may take, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compile {
    /// Memory, in bytes, beyond what the compiler takes before it begins.
    #[serde(deserialize_with = "unit::size")]
    pub memory_bytes: usize,
    /// Processor time; the system counts whole seconds, so it is rounded up.
    #[serde(deserialize_with = "unit::duration")]
    pub cpu: Duration,
    /// Wall-clock time: of a busy machine it takes more than of the processor.
    #[serde(deserialize_with = "unit::duration")]
    pub deadline: Duration,
    /// Compiled code kept on the disk, in bytes; beyond it, what was not used for longest goes.
    #[serde(deserialize_with = "unit::size")]
    pub cache_bytes: usize,
}

impl Default for Compile {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            cpu: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
            cache_bytes: 512 << 20,
        }
    }
}

//! Durable consumers: named readers of the logs that go on where they stopped, after a disconnect, a restart or
//! a crash. What they were given and have not acknowledged comes again.
//!
//! - [`Registry`]: all of them, whether somebody reads or not (`open`, `attach`, `ack`, `end`).
//! - `window`: what one of them has had of one log. `consumer`: its windows and members.
//! - `pump`: the task that reads the logs for a consumer that has members, and hands messages to them.
//! - `record`, `keep`: what is on the disk, and when it is written. `list`: what operators see and do.
//!
//! A message is read from the log, never from the publisher, so that a consumer has nothing that a crash could
//! take back. A consumer's record is written behind (within 100 ms): a crash makes some messages come again.
//! An acknowledgement that asks for an answer gets it when it is on the disk.

mod ack;
mod attach;
mod consumer;
mod keep;
mod list;
mod open;
mod pump;
mod record;
mod window;

pub use ack::{Ack, Saved};
pub use attach::Attached;
pub use list::{ConsumerInfo, LogInfo};
pub use open::{Asked, Made, Request, check_name};

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use weir_contract::topic::Pattern;

use crate::metrics::DurableMetrics;
use crate::session::Session;
use crate::store::{Log, Store, SubmitError};
use consumer::Consumer;

/// The space in the store.
const SPACE: &str = "$consumers";
/// Longest name, in bytes.
const NAME_BYTES: usize = 64;
/// Consumers that read their logs from the disk at the same time; the others wait for their turn.
const READS: usize = 4;
/// Messages of one read. They may wait in memory until there is room in flight: reading one for each
/// acknowledgement would cost as much as reading them all.
const PAGE: usize = 64;
/// Their bytes; a larger message comes alone.
const PAGE_BYTES: usize = 64 * 1024;
/// Offsets of one acknowledgement.
const OFFSETS: usize = 10_000;
/// How often records that changed are written, at least while acknowledgements need no answer.
pub const KEEP_EVERY: Duration = Duration::from_millis(100);
/// After a restart nobody can have read for a while: a consumer is kept for so long at least.
const GRACE: Duration = Duration::from_secs(60);

/// Until when a message must be acknowledged, in milliseconds.
pub const ACK_WAIT_MS: RangeInclusive<u64> = 100..=3_600_000;
/// Messages that may be in flight.
pub const MAX_IN_FLIGHT: RangeInclusive<u64> = 1..=10_000;
/// How long a consumer is kept without a reader, in milliseconds: up to 30 days.
pub const EXPIRES_AFTER_MS: RangeInclusive<u64> = 1_000..=30 * 24 * 3_600_000;

/// What a consumer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What is not acknowledged for so long comes again.
    pub ack_wait: Duration,
    /// Messages that may wait for their acknowledgement.
    pub max_in_flight: usize,
    /// Without a reader for so long, it is deleted.
    pub expires_after: Duration,
}

impl Default for Options {
    /// 30 s, 256 messages, 7 days.
    fn default() -> Self {
        Self {
            ack_wait: Duration::from_secs(30),
            max_in_flight: 256,
            expires_after: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The caller's fault.
    #[error("{0}")]
    Invalid(String),
    /// The store's queue is full.
    #[error("the store's queue is full: try again")]
    Overloaded,
    /// The store cannot take it.
    #[error("{0}")]
    Unavailable(String),
    /// The router is stopping.
    #[error("the router is stopping")]
    ShuttingDown,
}

impl From<SubmitError> for Refused {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Full { .. } => Self::Overloaded,
            SubmitError::Closed => Self::ShuttingDown,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// Whose consumer, and which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: Arc<str>,
    /// The principal; none = a group, which all principals of the tenant may share.
    owner: Option<Arc<str>>,
    name: Arc<str>,
}

impl Key {
    fn of(session: &Session, name: &str, shared: bool) -> Self {
        let principal = &session.principal;
        Self {
            tenant: Arc::clone(&principal.tenant),
            owner: (!shared).then(|| Arc::clone(&principal.name)),
            name: name.into(),
        }
    }
}

/// How much of what a pattern matches the logs keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// No topic.
    Nothing,
    /// Some topics, as far as can be told.
    Some,
    /// Every topic.
    All,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Made by one principal.
    pub per_principal: usize,
    /// In all.
    pub total: usize,
}

/// All durable consumers.
pub struct Registry {
    store: Store,
    space: Arc<str>,
    /// The rules of the logs, in the order of `store.logs()`.
    topics: Vec<Vec<Pattern>>,
    most: Most,
    metrics: DurableMetrics,
    all: RwLock<HashMap<Key, Arc<Consumer>>>,
    /// What each session is attached to.
    sessions: Mutex<HashMap<Arc<str>, Vec<Arc<Consumer>>>>,
    /// Consumers whose record or hold is behind.
    changed: Mutex<Vec<Arc<Consumer>>>,
    /// There is one.
    behind: Notify,
    reads: Semaphore,
    closing: CancellationToken,
}

impl Registry {
    fn find(&self, key: &Key) -> Option<Arc<Consumer>> {
        self.all.read().get(key).cloned()
    }

    /// How much of what a pattern matches the logs keep.
    pub fn keeps(&self, pattern: &Pattern) -> Keeps {
        let covered = |topics: &Vec<Pattern>| topics.iter().any(|topic| topic.covers(pattern.as_str()));
        match () {
            () if self.logs_of(pattern).is_empty() => Keeps::Nothing,
            () if self.topics.iter().any(covered) => Keeps::All,
            () => Keeps::Some,
        }
    }

    /// The logs that may keep messages of such topics.
    fn logs_of(&self, pattern: &Pattern) -> Vec<Log> {
        // No log keeps the router's own topics, whatever its rules say.
        let own = weir_contract::topic::is_reserved(pattern.as_str());
        let logs = self.store.logs().iter().zip(&self.topics);
        let met = logs.filter(|(_, topics)| !own && topics.iter().any(|topic| topic.overlaps(pattern)));
        met.map(|(log, _)| log.clone()).collect()
    }
}

#[cfg(test)]
mod tests;

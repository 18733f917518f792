//! How far a rebuild is, as the operator sees it.

use serde::{Deserialize, Serialize};

use crate::message::now_us;
use crate::store::{Log, StoreError};

/// How far a rebuild is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RebuildReport {
    /// What it is doing.
    pub state: RebuildState,
    /// First 12 hexadecimal digits of the digest of the version that stores.
    pub version: String,
    /// When it began, Unix microseconds.
    pub started_us: u64,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<u64>,
    /// Messages of the logs that it has passed, also of topics that are not the plugin's.
    pub done: u64,
    /// Messages that there are to pass; rises while messages come in.
    pub of: u64,
    /// From where on in each log the rebuilt data covers it.
    pub begins: Vec<Beginning>,
    /// Why it does not get on and tries again, or why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a rebuild is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RebuildState {
    /// The old data serves; the new data is being made.
    Running,
    /// The new data serves.
    Done,
    /// The plugin was taken away, the router stops, or the logs have lost messages meanwhile: the old data stays.
    Stopped,
}

/// Where the rebuilt data begins in a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beginning {
    /// The log.
    pub log: String,
    /// Its oldest message: what came before is gone from the log, and so from the rebuilt data.
    pub offset: u64,
    /// When that message was received, Unix microseconds; none in an empty log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_us: Option<u64>,
}

impl RebuildReport {
    /// One that begins now.
    pub(super) fn new(version: &str, begins: Vec<Beginning>) -> Self {
        Self {
            state: RebuildState::Running,
            version: version.to_owned(),
            started_us: now_us(),
            ended_us: None,
            done: 0,
            of: 0,
            begins,
            error: None,
        }
    }

    pub(super) fn end(&mut self, state: RebuildState) {
        self.state = state;
        self.ended_us = Some(now_us());
        self.error = None;
    }
}

impl Beginning {
    /// Of what is in the log now.
    pub(super) fn of(log: &Log) -> Result<Self, StoreError> {
        let oldest = log.oldest();
        let first = log.read(oldest, &|_| true, 1, 1)?.messages.into_iter().next();
        Ok(Self {
            log: log.name().to_string(),
            offset: first.as_ref().map_or(oldest, |stored| stored.place.offset),
            time_us: first.map(|stored| stored.message.received_us()),
        })
    }
}

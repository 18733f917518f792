//! Trying a candidate on what has really happened: recorded messages go through two chains of their own, one as it is
//! live and one with the candidate in it, and what differs is told. Nothing comes of it: no state, no log, nobody is
//! sent anything.

mod changes;
mod run;
mod side;

pub use side::{Became, SideResult};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, channel};

use crate::pipeline::explain::Step;
use crate::plugin::{Candidate, Plugins};
use crate::store::Store;

/// Lines that wait for who reads them; the replay waits for room.
const LINES: usize = 16;

/// What a try is asked to do.
#[derive(Debug)]
pub struct Asked {
    /// What is tried.
    pub candidate: Candidate,
    /// From when on, Unix microseconds.
    pub since_us: u64,
    /// Differences that are told; all are counted.
    pub limit: usize,
    /// Tell every step of them.
    pub steps: bool,
}

/// One line of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    /// The candidate has passed every step before the swap.
    Loaded {
        /// Its binding.
        plugin: String,
        /// Its version.
        version: String,
        /// The version that it would take the place of; none: it would be added.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// A message of which the two do not make the same.
    Difference(Box<Difference>),
    /// The end.
    Done(Summary),
    /// It ended before its time.
    Failed {
        /// The step of the activation, or `replay`.
        step: String,
        /// Why, and what is accepted.
        reason: String,
    },
}

/// A message of which the two do not make the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// As it was published.
    pub topic: String,
    /// When it came in, Unix microseconds.
    pub time_us: u64,
    /// What became of it as things are.
    pub live: SideResult,
    /// What would become of it.
    pub candidate: SideResult,
    /// What differs, in words.
    pub changes: Vec<String>,
    /// Every step, live and with the candidate, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
}

/// Every step of both runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Steps {
    /// As things are.
    pub live: Vec<Step>,
    /// With the candidate.
    pub candidate: Vec<Step>,
}

/// What came of all messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Recorded messages that went through both chains.
    pub replayed: u64,
    /// Both made the same of it.
    pub same: u64,
    /// They did not.
    pub different: u64,
    /// A plugin failed as things are.
    pub live_failed: u64,
    /// A plugin failed with the candidate in the chain.
    pub candidate_failed: u64,
    /// Recorded messages that are gone or cannot be read.
    pub lost: u64,
    /// It ended because it took too long: later messages were not replayed.
    pub out_of_time: bool,
}

/// Why nothing is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTried {
    /// One at a time.
    #[error("another try is under way: one at a time, so that messages are not hurt")]
    Busy,
    /// Nothing to replay.
    #[error(
        "no log records input, so there is nothing to replay: add a [[log]] with record_input = true, and try again when messages have come"
    )]
    NothingRecorded,
    /// The router is going.
    #[error("the router is stopping")]
    Stopping,
}

/// Tries candidates, one at a time, each on a thread of its own.
pub struct Trials {
    store: Store,
    plugins: Arc<Plugins>,
    pass: PassLimits,
    busy: AtomicBool,
    stopping: AtomicBool,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Tries candidates; the admin listener knows them only through this.
pub trait TrialView: Send + Sync {
    /// Largest component that is taken, in bytes.
    fn most_file_bytes(&self) -> usize;

    /// Begins a try. It ends early when nobody reads its lines any more.
    fn begin(&self, asked: Asked) -> Result<Receiver<Line>, NotTried>;
}

impl TrialView for Arc<Trials> {
    fn most_file_bytes(&self) -> usize {
        self.plugins.most_file_bytes()
    }

    fn begin(&self, asked: Asked) -> Result<Receiver<Line>, NotTried> {
        self.begin_one(asked)
    }
}

/// As they hold for messages that are published.
#[derive(Clone, Copy, Debug)]
pub struct PassLimits {
    /// Longest pass.
    pub deadline: Duration,
    /// Most messages of one pass.
    pub messages: usize,
}

impl Trials {
    /// Over the recorded input of a store.
    pub fn new(store: Store, plugins: Arc<Plugins>, pass: PassLimits) -> Arc<Self> {
        let (busy, stopping) = Default::default();
        Arc::new(Self { store, plugins, pass, busy, stopping, thread: Mutex::default() })
    }

    fn begin_one(self: &Arc<Self>, asked: Asked) -> Result<Receiver<Line>, NotTried> {
        if !self.store.logs().iter().any(crate::store::Log::is_input) {
            return Err(NotTried::NothingRecorded);
        }
        if self.stopping.load(Ordering::Acquire) {
            return Err(NotTried::Stopping);
        }
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(NotTried::Busy);
        }
        let (lines, read) = channel(LINES);
        let trials = Arc::clone(self);
        let work = move || {
            run::run(&trials, asked, &lines);
            trials.busy.store(false, Ordering::Release);
        };
        match std::thread::Builder::new().name("plugin-try".into()).spawn(work) {
            Ok(thread) => *self.thread.lock() = Some(thread),
            Err(error) => {
                tracing::error!(%error, "no thread to try a plugin");
                self.busy.store(false, Ordering::Release);
                return Err(NotTried::Busy);
            }
        }
        Ok(read)
    }

    /// Ends what is under way, and waits for it.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
impl TrialView for () {
    fn most_file_bytes(&self) -> usize {
        0
    }

    fn begin(&self, _: Asked) -> Result<Receiver<Line>, NotTried> {
        Err(NotTried::NothingRecorded)
    }
}

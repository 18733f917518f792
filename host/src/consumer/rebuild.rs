//! A storage plugin's data made anew from the log, by its current version, while the old data goes on serving.
//!
//! A thread of its own fills the next generation of the key space as the storage thread fills the live one, with
//! cursors of its own, and never overtakes it. When it has come close, it makes the storage thread stand still for
//! the last stretch and makes its generation the live one, which is one write to the disk: a crash before it leaves
//! the old data, a crash after it the new. What has effects outside the key space is not done again: posts are
//! discarded, and messages that cannot be stored are left out without becoming dead letters a second time.

mod report;
mod run;

pub use report::{Beginning, RebuildReport, RebuildState};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::Consumers;
use crate::store::{Generation, StoreError};

/// What a storage thread and a rebuild of its data agree on.
pub(super) struct Fence {
    /// Held for a batch of the storage thread, and by the rebuild for its last stretch.
    pub(super) turn: Mutex<()>,
    /// The generation that is being filled.
    pub(super) building: Mutex<Option<Generation>>,
    /// There may be generations that nobody reads any more.
    pub(super) litter: AtomicBool,
}

impl Default for Fence {
    /// At the start there may be what a crash has left.
    fn default() -> Self {
        Self { turn: Mutex::default(), building: Mutex::default(), litter: AtomicBool::new(true) }
    }
}

/// A rebuild, from the outside.
pub(super) struct Rebuild {
    report: Arc<Mutex<RebuildReport>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Why no rebuild began.
#[derive(Debug, thiserror::Error)]
pub enum RebuildRefused {
    /// No storage binding of that name.
    #[error("no storage plugin is named {name:?}: there are {}", if there_are.is_empty() { "none" } else { there_are })]
    Unknown {
        /// The name.
        name: String,
        /// Those that there are.
        there_are: String,
    },
    /// One at a time.
    #[error("{0} is being rebuilt already: `weir plugin list` shows how far it is")]
    Running(String),
    /// Only with `partial`.
    #[error(
        "{plugin} cannot be rebuilt whole: {what}. What came of that would be gone from its data, too; `--partial` (in the request `\"partial\":true`) rebuilds from what is left"
    )]
    Gone {
        /// The plugin.
        plugin: String,
        /// How much.
        what: String,
    },
    /// The disk.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system.
    #[error("the thread for it cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Rebuilds storage plugins, for the operator.
pub trait RebuildView: Send + Sync {
    /// Begins one; what it will cover. Without `partial`, only if the logs have lost nothing that may be in the data.
    fn rebuild(&self, name: &str, partial: bool) -> Result<RebuildReport, RebuildRefused>;

    /// Those that are under way, and the last one of each plugin since the router started.
    fn rebuilds(&self) -> BTreeMap<String, RebuildReport>;
}

impl RebuildView for Arc<Consumers> {
    fn rebuild(&self, name: &str, partial: bool) -> Result<RebuildReport, RebuildRefused> {
        let mut running = self.running.lock();
        let there_are = running.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
        let Some(consumer) = running.get_mut(name) else {
            return Err(RebuildRefused::Unknown { name: name.into(), there_are });
        };
        if consumer.rebuild.as_ref().is_some_and(Rebuild::is_running) {
            return Err(RebuildRefused::Running(name.into()));
        }
        let rebuild = run::start(self, consumer, partial)?;
        let report = rebuild.report.lock().clone();
        consumer.rebuild = Some(rebuild);
        Ok(report)
    }

    fn rebuilds(&self) -> BTreeMap<String, RebuildReport> {
        let running = self.running.lock();
        let of = running.iter().filter_map(|(name, consumer)| {
            let report = consumer.rebuild.as_ref()?.report.lock().clone();
            Some((name.to_string(), report))
        });
        of.collect()
    }
}

impl Rebuild {
    pub(super) fn is_running(&self) -> bool {
        // A thread that panicked leaves its report as it was.
        self.report.lock().state == RebuildState::Running && !self.thread.is_finished()
    }

    /// Asks it to end; what it has filled is lost, unless it is live.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    /// The same, and waits.
    pub(super) fn end(self) {
        self.stop();
        // A thread that panicked has said so; its generation never went live.
        drop(self.thread.join());
    }
}

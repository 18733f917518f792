//! What is kept of a consumer on the disk, as JSON: who, what, and where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::store::Log;

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) tenant: String,
    /// The principal; none = a group.
    pub(super) owner: Option<String>,
    pub(super) name: String,
    /// The principal that made it, against whose limit it counts.
    pub(super) maker: String,
    pub(super) pattern: String,
    pub(super) ack_wait_ms: u64,
    pub(super) max_in_flight: usize,
    pub(super) expires_after_ms: u64,
    /// When somebody last read, Unix microseconds.
    pub(super) active_us: u64,
    pub(super) redelivered: u64,
    pub(super) missed: u64,
    pub(super) logs: BTreeMap<String, LogRecord>,
}

/// Where it stands in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogRecord {
    /// The life of the log in which `next - 1` was given.
    pub(super) epoch: u64,
    pub(super) next: u64,
    /// In flight: first offset, how many in a row, how often delivered.
    pub(super) open: Vec<(u64, u64, u32)>,
    /// Acknowledged ahead: first offset, how many in a row.
    pub(super) ahead: Vec<(u64, u64)>,
    /// Missed, and nobody was there to be told: first offset, and the one after the last.
    pub(super) gap: Option<(u64, u64)>,
}

impl LogRecord {
    pub(super) fn of(log: &Log, window: &Window, gap: Option<&Range<u64>>) -> Self {
        let mut open: Vec<(u64, u64, u32)> = Vec::new();
        for (offset, deliveries) in window.open() {
            match open.last_mut() {
                Some((first, count, same)) if *first + *count == offset && *same == deliveries => *count += 1,
                _ => open.push((offset, 1, deliveries)),
            }
        }
        let mut ahead: Vec<(u64, u64)> = Vec::new();
        for offset in window.ahead() {
            match ahead.last_mut() {
                Some((first, count)) if *first + *count == offset => *count += 1,
                _ => ahead.push((offset, 1)),
            }
        }
        let next = window.next();
        let epoch = next.checked_sub(1).map_or(0, |last| log.epoch_of(last));
        Self { epoch, next, open, ahead, gap: gap.map(|gap| (gap.start, gap.end)) }
    }

    /// The window as it was.
    pub(super) fn window(&self) -> Window {
        let open = self.open.iter().flat_map(|(first, count, deliveries)| {
            (*first..first.saturating_add(*count)).map(|offset| (offset, *deliveries))
        });
        let ahead: BTreeSet<u64> =
            self.ahead.iter().flat_map(|(first, count)| *first..first.saturating_add(*count)).collect();
        Window::restored(self.next, open, ahead)
    }
}

//! How much waits: items and bytes.

use bytes::Bytes;

use crate::message::{Routed, Run};
use crate::session::OutboundLimits;

/// Bytes counted for an item beside its content.
pub(super) const ITEM_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Amount {
    pub(in crate::session) items: usize,
    pub(in crate::session) bytes: usize,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: usize) {
        self.add_all(1, bytes);
    }

    pub(super) fn add_all(&mut self, items: usize, bytes: usize) {
        self.items += items;
        self.bytes += bytes;
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.take_all(1, bytes);
    }

    pub(super) fn take_all(&mut self, items: usize, bytes: usize) {
        self.items -= items;
        self.bytes -= bytes;
    }

    /// Whether one more item of so many bytes keeps the bounds. An item larger than the whole bound still goes to
    /// a reader that has nothing else waiting.
    pub(super) fn fits(self, bytes: usize, limits: OutboundLimits) -> bool {
        self.items < limits.messages && (self.bytes + bytes <= limits.bytes || self.items == 0)
    }
}

/// Bytes of a message.
pub(super) fn size(routed: &Routed) -> usize {
    routed.message.size() + ITEM_BYTES
}

/// Items and bytes of a run.
pub(super) fn amount(run: &Run) -> (usize, usize) {
    let items = run.messages().len();
    (items, run.bytes() + items * ITEM_BYTES)
}

/// Bytes of an answer.
pub(super) fn of_frame(frame: &Bytes) -> usize {
    frame.len() + ITEM_BYTES
}

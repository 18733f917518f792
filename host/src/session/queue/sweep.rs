//! Sweeping empty slots out of the queue, all together.

use std::mem;
use std::sync::Arc;

use super::{Queue, Slot};
use crate::config::Overflow;
use crate::session::gap::gather;

/// Empty slots that are left beside a quarter of the full ones. More than any router has logs, since as many gaps
/// may be left after a sweep.
pub(super) const SPARE: usize = if cfg!(test) { 8 } else { 512 };

impl Queue {
    /// Sweeps when empty slots are many beside the full ones, so that each costs little.
    pub(super) fn sweep_if_due(&mut self) {
        let most = self.full.items / 4 + SPARE;
        if self.empty() > most {
            self.sweep();
            // Gaps between messages that must not be lost: then each log's become one, told at once.
            if self.empty() > most / 2 {
                self.gather_all();
            }
            self.renumber();
        }
    }

    /// Closes the holes, and makes one gap per log of those with no message in between.
    fn sweep(&mut self) {
        let mut gaps = Vec::new();
        for slot in mem::take(&mut self.slots) {
            match slot {
                Slot::Hole => {}
                Slot::Lost(gap) => gather(&mut gaps, *gap),
                full => {
                    self.slots.extend(gaps.drain(..).map(|gap| Slot::Lost(Box::new(gap))));
                    self.slots.push_back(full);
                }
            }
        }
        self.slots.extend(gaps.into_iter().map(|gap| Slot::Lost(Box::new(gap))));
    }

    fn gather_all(&mut self) {
        let before = &mut self.before;
        self.slots.retain_mut(|slot| match mem::replace(slot, Slot::Hole) {
            Slot::Hole => false,
            Slot::Lost(gap) => {
                gather(before, *gap);
                false
            }
            full => {
                *slot = full;
                true
            }
        });
    }

    fn renumber(&mut self) {
        self.searched = self.first;
        for (slot, number) in self.slots.iter().zip(self.first..) {
            if let Slot::Message(routed, Overflow::LatestOnly) = slot {
                self.latest.insert(Arc::clone(&routed.message.topic), number);
            }
        }
    }
}

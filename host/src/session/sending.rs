//! The retained messages that a subscription begins with, on their way to the session's queue.
//!
//! They go out in order of their topics, as the queue has room, while what is published is delivered as ever. So
//! that of each topic the retained message comes before what is newer, a message that is published pushes its
//! topic's retained one before itself if that has not had its turn.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use weir_contract::topic::Pattern;

use super::outbound::{Outbound, Pushed};
use crate::config::Overflow;
use crate::message::{Routed, now_us};
use crate::retained::{Kept, Looked, Retained};

/// Topics that are looked at in one go: meanwhile nothing that matches is delivered.
const LOOK: usize = 512;
/// Messages that are pushed in one go.
const PUSH: usize = 32;

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There may be more.
    Some,
    /// The next one has so many bytes, and no room.
    Full(usize),
    /// Nothing is left, or the subscription has ended.
    All,
}

/// A subscription's way through the retained messages.
#[derive(Debug)]
pub(super) struct Sending {
    retained: Arc<Retained>,
    /// By position of the log: from this offset on, messages come anyway.
    starts: Vec<(usize, u64)>,
    /// Topics up to this one have had their turn.
    after: Option<Arc<str>>,
    /// Topics beyond it that had their turn early.
    early: HashSet<Arc<str>>,
}

impl Sending {
    pub(super) fn new(retained: &Arc<Retained>, starts: &[(usize, u64)]) -> Self {
        let (starts, early) = (starts.to_vec(), HashSet::new());
        Self { retained: Arc::clone(retained), starts, after: None, early }
    }

    /// Pushes some.
    pub(super) fn turn(&mut self, pattern: &Pattern, outbound: &Outbound) -> Sent {
        let Self { retained, starts, after, early } = self;
        let (mut left, mut full, mut last) = (PUSH, None, None);
        let looked = retained.look(pattern, after.as_deref(), LOOK, |topic, kept| {
            if early.contains(topic) || comes_anyway(starts, kept) {
                return ControlFlow::Continue(());
            }
            let size = kept.message.size();
            if left == 0 || !outbound.has_room_for(size) {
                full = (left > 0).then_some(size);
                return ControlFlow::Break(());
            }
            if outbound.push_message(&kept.routed(), Overflow::Disconnect) != Pushed::Queued {
                return ControlFlow::Break(());
            }
            left -= 1;
            last = Some(Arc::clone(topic));
            ControlFlow::Continue(())
        });
        match looked {
            Looked::All => return Sent::All,
            Looked::UpTo(topic) => *after = Some(topic),
            Looked::Stopped if outbound.is_closed() => return Sent::All,
            Looked::Stopped => *after = last.or_else(|| after.take()),
        }
        if let Some(after) = after {
            early.retain(|topic| topic > after);
        }
        full.map_or(Sent::Some, Sent::Full)
    }

    /// A message is about to be pushed: first goes what its topic has retained so far. Called under the lock of
    /// the topic's log, before what the message itself retains is put in its place.
    pub(super) fn before(&mut self, routed: &Routed, outbound: &Outbound, overflow: Overflow) {
        let topic = &routed.message.topic;
        if self.after.as_ref().is_some_and(|after| topic <= after) || self.early.contains(topic) {
            return;
        }
        let kept = self.retained.get(topic);
        if kept.is_some() || routed.message.is_retained() {
            self.early.insert(Arc::clone(topic));
        }
        let due = kept.filter(|kept| !kept.has_expired(now_us()) && !comes_anyway(&self.starts, kept));
        if let Some(kept) = due {
            // Full: as its topic's policy says, which the message itself meets next.
            let _ = outbound.push_message(&kept.routed(), overflow);
        }
    }
}

/// Whether it is published after the subscription's beginning, or read from the log for it.
fn comes_anyway(starts: &[(usize, u64)], kept: &Kept) -> bool {
    let Some((log, place)) = kept.log.zip(kept.place.as_ref()) else { return false };
    starts.iter().any(|(at, start)| *at == log && *start <= place.offset)
}

#[cfg(test)]
mod tests;

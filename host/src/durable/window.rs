//! What a consumer has had of one log: up to where it was read, and what of that is not acknowledged.
//!
//! Everything below `next` that is not `open` is done with. So the window is as large as what waits for an
//! acknowledgement, however far apart those messages stand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

/// Acknowledgements of what was not delivered yet (in this life of the router) that are kept.
const AHEAD: usize = 10_000;

/// The window of one log.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// The first offset that was not looked at.
    next: u64,
    /// Delivered, not acknowledged.
    open: BTreeMap<u64, Open>,
    /// Of these, the ones that are to be delivered again.
    due: BTreeSet<u64>,
    /// When the others will be.
    timers: BTreeSet<(Instant, u64)>,
    /// At or above `next`, acknowledged: a client saw them before the router was killed.
    ahead: BTreeSet<u64>,
    /// How many messages each member holds.
    held: HashMap<u64, usize>,
}

#[derive(Clone, Debug)]
struct Open {
    deliveries: u32,
    /// Who has it, and until when it may be acknowledged.
    out: Option<(u64, Instant)>,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    /// It counts.
    Now,
    /// It was acknowledged before.
    Before,
    /// Too many are acknowledged ahead of what was delivered.
    TooFar,
}

impl Window {
    /// Nothing at or above `next` has been delivered, everything below is done with.
    pub(super) fn new(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// As it was before a restart: `open` with their deliveries, all to be delivered again.
    pub(super) fn restored(next: u64, open: impl Iterator<Item = (u64, u32)>, ahead: BTreeSet<u64>) -> Self {
        let open: BTreeMap<_, _> =
            open.map(|(offset, deliveries)| (offset, Open { deliveries, out: None })).collect();
        Self { next, due: open.keys().copied().collect(), open, ahead, ..Self::default() }
    }

    /// The first offset that was not looked at.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Everything below is done with.
    pub(super) fn cursor(&self) -> u64 {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    /// Delivered, not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// How many of these a member holds.
    pub(super) fn held_by(&self, member: u64) -> usize {
        self.held.get(&member).copied().unwrap_or(0)
    }

    /// Offsets in flight with their deliveries, ascending.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, u32)> {
        self.open.iter().map(|(offset, open)| (*offset, open.deliveries))
    }

    /// Acknowledged ahead of their delivery, ascending.
    pub(super) fn ahead(&self) -> impl Iterator<Item = u64> {
        self.ahead.iter().copied()
    }

    /// Whether a message at this offset is still to be delivered for the first time.
    pub(super) fn wants(&self, offset: u64) -> bool {
        offset >= self.next && !self.ahead.contains(&offset)
    }

    /// Whether this message is to be delivered again.
    pub(super) fn is_due(&self, offset: u64) -> bool {
        self.due.contains(&offset)
    }

    /// The first message that is to be delivered again, at or above `from`.
    pub(super) fn first_due(&self, from: u64) -> Option<u64> {
        self.due.range(from..).next().copied()
    }

    /// When the next message will have to be delivered again.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Hands a message to a member, which has it until `until`. Returns how many times that has been done.
    pub(super) fn deliver(&mut self, offset: u64, member: u64, until: Instant) -> u32 {
        self.due.remove(&offset);
        let open = self.open.entry(offset).or_insert(Open { deliveries: 0, out: None });
        open.deliveries = open.deliveries.saturating_add(1);
        open.out = Some((member, until));
        let deliveries = open.deliveries;
        self.timers.insert((until, offset));
        *self.held.entry(member).or_default() += 1;
        self.pass(offset.saturating_add(1));
        deliveries
    }

    /// Nothing below `next` is to be delivered for the first time any more.
    pub(super) fn pass(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
            self.ahead = self.ahead.split_off(&next);
        }
        while self.ahead.remove(&self.next) {
            self.next += 1;
        }
    }

    /// Acknowledges one message.
    pub(super) fn ack(&mut self, offset: u64) -> Acked {
        if self.close(offset) {
            return Acked::Now;
        }
        if offset < self.next || self.ahead.contains(&offset) {
            return Acked::Before;
        }
        if self.ahead.len() >= AHEAD {
            return Acked::TooFar;
        }
        self.ahead.insert(offset);
        self.pass(self.next);
        Acked::Now
    }

    /// Acknowledges everything up to an offset. Returns how many messages were in flight.
    pub(super) fn ack_up_to(&mut self, offset: u64) -> usize {
        let these: Vec<u64> = self.open.range(..=offset).map(|(offset, _)| *offset).collect();
        for offset in &these {
            self.close(*offset);
        }
        self.pass(offset.saturating_add(1));
        these.len()
    }

    /// What was not acknowledged in time is to be delivered again.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, offset)) = self.timers.first().copied()
            && at <= now
        {
            self.take_back(offset);
        }
    }

    /// A member is gone: what it has is to be delivered again.
    pub(super) fn release(&mut self, member: u64) {
        let its = |(offset, open): (&u64, &Open)| {
            open.out.is_some_and(|(holder, _)| holder == member).then_some(*offset)
        };
        let these: Vec<u64> = self.open.iter().filter_map(its).collect();
        these.into_iter().for_each(|offset| self.take_back(offset));
    }

    /// Messages below `oldest` are gone from the log. Returns which of them are missed: not delivered, or
    /// not acknowledged and to be delivered again.
    pub(super) fn trim(&mut self, oldest: u64) -> Option<Range<u64>> {
        let due: Vec<u64> = self.due.range(..oldest).copied().collect();
        let unseen = (self.next < oldest).then_some(self.next..oldest);
        let from = due.first().copied().or(unseen.as_ref().map(|unseen| unseen.start))?;
        let to = unseen.map(|unseen| unseen.end).or(due.last().map(|last| last + 1))?;
        for offset in due {
            self.close(offset);
        }
        self.pass(oldest);
        Some(from..to)
    }

    /// Takes it out of flight. False: it was not in flight.
    fn close(&mut self, offset: u64) -> bool {
        let Some(open) = self.open.remove(&offset) else { return false };
        self.due.remove(&offset);
        self.forget(offset, open.out);
        true
    }

    fn take_back(&mut self, offset: u64) {
        let Some(open) = self.open.get_mut(&offset) else { return };
        let out = open.out.take();
        self.due.insert(offset);
        self.forget(offset, out);
    }

    fn forget(&mut self, offset: u64, out: Option<(u64, Instant)>) {
        let Some((member, until)) = out else { return };
        self.timers.remove(&(until, offset));
        if let Some(held) = self.held.get_mut(&member) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&member);
            }
        }
    }
}

#[cfg(test)]
mod tests;

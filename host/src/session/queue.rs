//! What waits for one connection, in order, within its bounds: which messages are lost when there are too many,
//! and where the gaps are.
//!
//! Everything here is done under the lock of a log's lane, so that every push costs the same on average however
//! much waits: a message that is lost leaves its slot empty, and empty slots are swept out all together.

mod amount;
mod sweep;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use super::gap::{Gap, gather};
use super::outbound::{Item, Load, OutboundLimits, Pushed};
use crate::config::Overflow;
use crate::message::{Routed, Run};
use crate::metrics::GatewayMetrics;
use amount::{Amount, amount, size};

/// Items taken at once. What the writer has taken is on its way and no policy applies to it any more.
const TAKE: usize = 64;
/// Bytes beyond which nothing more is taken at once.
const TAKE_BYTES: usize = 256 * 1024;

/// Slots that an empty queue keeps. A burst leaves it large, and an idle connection should hold no memory for the
/// bursts of its past.
const KEPT: usize = 64;

/// Trailing gaps that are looked at for one of the same log.
const LOOK_BACK: usize = 8;

#[derive(Debug)]
pub(super) struct Queue {
    limits: OutboundLimits,
    slots: VecDeque<Slot>,
    /// Number of the first slot; the slots after it count on.
    first: u64,
    /// What was lost before the first slot, which is a full one.
    before: Vec<Gap>,
    /// What full slots hold.
    full: Amount,
    /// Of the items in runs those beside the first.
    joined: usize,
    /// Those of them that hold messages which may be lost.
    loose: Amount,
    /// No message before the slot of this number may be lost.
    searched: u64,
    /// The slot of the waiting message of each topic of which only the newest waits.
    latest: HashMap<Arc<str>, u64>,
    /// Messages handed to the writer.
    taken: u64,
    /// Messages lost, in the order of [`Overflow::LOSING`].
    lost: [u64; 3],
    metrics: Option<Arc<GatewayMetrics>>,
    closed: bool,
    overflowed: bool,
    /// How many hold it: as long as somebody does, nothing is taken.
    holders: usize,
}

#[derive(Debug)]
enum Slot {
    Message(Arc<Routed>, Overflow),
    /// None of them may be lost.
    Run(Arc<Run>),
    Control(Bytes),
    Close(u16, String),
    /// Messages were lost here.
    Lost(Box<Gap>),
    /// Nothing is here any more.
    Hole,
}

impl Queue {
    pub(super) fn new(limits: OutboundLimits) -> Self {
        Self {
            limits,
            slots: VecDeque::new(),
            first: 0,
            before: Vec::new(),
            full: Amount::default(),
            joined: 0,
            loose: Amount::default(),
            searched: 0,
            latest: HashMap::new(),
            taken: 0,
            lost: [0; 3],
            metrics: None,
            closed: false,
            overflowed: false,
            holders: 0,
        }
    }

    pub(super) fn count_in(&mut self, metrics: Arc<GatewayMetrics>) {
        self.metrics = Some(metrics);
    }

    pub(super) fn push_message(&mut self, routed: &Arc<Routed>, overflow: Overflow) -> Pushed {
        if self.closed {
            return Pushed::Closed;
        }
        if overflow == Overflow::LatestOnly
            && let Some(number) = self.latest.get(&routed.message.topic)
        {
            self.lose(*number);
        }
        let size = size(routed);
        if !self.full.fits(size, self.limits) && (overflow == Overflow::DropNew || !self.make_room(size)) {
            let Some(policy) = overflow.losing() else { return self.cut() };
            self.count(policy);
            self.lost_last(Gap::of(routed));
            return Pushed::Lost;
        }
        self.full.add(size);
        if overflow != Overflow::Disconnect {
            self.loose.add(size);
            if overflow == Overflow::LatestOnly {
                self.latest.insert(Arc::clone(&routed.message.topic), self.next());
            }
        }
        self.slots.push_back(Slot::Message(Arc::clone(routed), overflow));
        Pushed::Queued
    }

    /// Of topics whose policy is `disconnect`. None: they must be pushed one by one, since not all of them have room.
    pub(super) fn push_run(&mut self, run: &Arc<Run>) -> Option<Pushed> {
        if self.closed {
            return Some(Pushed::Closed);
        }
        let (items, bytes) = amount(run);
        if self.full.items + items > self.limits.messages || self.full.bytes + bytes > self.limits.bytes {
            return None;
        }
        self.full.add_all(items, bytes);
        self.joined += items - 1;
        self.slots.push_back(Slot::Run(Arc::clone(run)));
        Some(Pushed::Queued)
    }

    pub(super) fn push_control(&mut self, frame: Bytes) -> Pushed {
        if self.closed {
            return Pushed::Closed;
        }
        let size = amount::of_frame(&frame);
        if !self.full.fits(size, self.limits) && !self.make_room(size) {
            return self.cut();
        }
        self.full.add(size);
        self.slots.push_back(Slot::Control(frame));
        Pushed::Queued
    }

    /// False: it was closed before.
    pub(super) fn close(&mut self, code: u16, reason: String) -> bool {
        let open = !mem::replace(&mut self.closed, true);
        if open {
            self.full.add(0);
            self.slots.push_back(Slot::Close(code, reason));
        }
        open
    }

    /// Gives what goes out next to `put`, gaps where they are.
    pub(super) fn take(&mut self, mut put: impl FnMut(Load)) {
        let (mut bytes, mut left) = (0, TAKE);
        while left > 0 {
            if !self.before.is_empty() {
                self.before.drain(..).for_each(|gap| put(Load::One(Item::Gap(Box::new(gap)))));
            }
            if bytes >= TAKE_BYTES {
                break;
            }
            let Some(slot) = self.slots.pop_front() else { break };
            let (load, items, size) = match slot {
                Slot::Message(routed, overflow) => {
                    let size = size(&routed);
                    self.forget(&routed, overflow, size, self.first);
                    self.taken += 1;
                    (Load::One(Item::Message(routed)), 1, size)
                }
                Slot::Run(run) => {
                    let (items, size) = amount(&run);
                    self.taken += items as u64;
                    self.joined -= items - 1;
                    (Load::Run(run), items, size)
                }
                Slot::Control(frame) => {
                    let size = amount::of_frame(&frame);
                    (Load::One(Item::Control(frame)), 1, size)
                }
                Slot::Close(code, reason) => (Load::One(Item::Close(code, reason)), 1, 0),
                // The first slot is a full one.
                Slot::Lost(_) | Slot::Hole => break,
            };
            self.first += 1;
            self.full.take_all(items, size);
            bytes += size;
            left = left.saturating_sub(items);
            put(load);
            self.trim();
        }
    }

    /// Whether there is something to take.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.before.is_empty()
    }

    /// One more holds it.
    pub(super) fn hold(&mut self) {
        self.holders += 1;
    }

    /// One less.
    pub(super) fn release(&mut self) {
        self.holders = self.holders.saturating_sub(1);
    }

    pub(super) fn is_held(&self) -> bool {
        self.holders > 0
    }

    /// Gives back memory. To be called when the writer has nothing to do.
    pub(super) fn shrink(&mut self) {
        if self.slots.capacity() > KEPT {
            self.slots.shrink_to(KEPT);
        }
        if self.latest.capacity() > KEPT {
            self.latest.shrink_to(KEPT);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// All that waits.
    pub(super) fn waiting(&self) -> Amount {
        self.full
    }

    /// Answers and messages that may not be lost.
    pub(super) fn firm(&self) -> Amount {
        Amount { items: self.full.items - self.loose.items, bytes: self.full.bytes - self.loose.bytes }
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn lost(&self) -> [u64; 3] {
        self.lost
    }

    /// Slots that hold nothing.
    fn empty(&self) -> usize {
        self.slots.len() + self.joined - self.full.items
    }

    fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Too much waits that must not be lost: of all that, only the reason for the end is left.
    fn cut(&mut self) -> Pushed {
        let OutboundLimits { messages, bytes } = self.limits;
        let metrics = self.metrics.take();
        if let Some(metrics) = &metrics {
            metrics.slow_readers.inc();
        }
        let (taken, lost) = (self.taken, self.lost);
        *self = Self { taken, lost, metrics, overflowed: true, ..Self::new(self.limits) };
        self.close(1008, format!("slow reader: more than {messages} messages or {bytes} bytes waited"));
        Pushed::Overflowed
    }

    /// Loses the oldest messages that may be lost until so many bytes more keep the bounds. False: what must not
    /// be lost leaves too little, so nothing was.
    fn make_room(&mut self, bytes: usize) -> bool {
        if !self.firm().fits(bytes, self.limits) {
            return false;
        }
        while !self.full.fits(bytes, self.limits) {
            let Some(number) = self.oldest_loose() else { return false };
            self.lose(number);
        }
        true
    }

    /// Goes on where it ended before: no slot is passed twice between two sweeps.
    fn oldest_loose(&mut self) -> Option<u64> {
        self.searched = self.searched.max(self.first);
        let from = usize::try_from(self.searched - self.first).ok()?;
        let loose =
            |slot: &Slot| matches!(slot, Slot::Message(_, overflow) if *overflow != Overflow::Disconnect);
        let found = self.slots.iter().skip(from).position(loose)?;
        self.searched += found as u64;
        Some(self.searched)
    }

    /// Takes a waiting message out and leaves a gap.
    fn lose(&mut self, number: u64) {
        let Some(at) = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        let Slot::Message(routed, overflow) = mem::replace(slot, Slot::Hole) else { return };
        let size = size(&routed);
        self.forget(&routed, overflow, size, number);
        self.full.take(size);
        if let Some(policy) = overflow.losing() {
            self.count(policy);
        }
        let gap = Gap::of(&routed);
        if at == 0 {
            gather(&mut self.before, gap);
            self.trim();
        } else if at + 1 == self.slots.len() {
            self.slots.pop_back();
            self.lost_last(gap);
        } else {
            let joined = match self.slots.get_mut(at - 1) {
                Some(Slot::Lost(earlier)) => earlier.join(&gap),
                _ => false,
            };
            if !joined && let Some(slot) = self.slots.get_mut(at) {
                *slot = Slot::Lost(Box::new(gap));
            }
            self.sweep_if_due();
        }
    }

    fn count(&mut self, policy: usize) {
        if let Some(lost) = self.lost.get_mut(policy) {
            *lost += 1;
        }
        if let Some(metrics) = &self.metrics {
            metrics.lost(policy);
        }
    }

    /// What is known of a message that waits no more.
    fn forget(&mut self, routed: &Routed, overflow: Overflow, size: usize, number: u64) {
        if overflow == Overflow::Disconnect {
            return;
        }
        self.loose.take(size);
        let topic = &routed.message.topic;
        if overflow == Overflow::LatestOnly && self.latest.get(topic) == Some(&number) {
            self.latest.remove(topic);
        }
    }

    /// Notes a gap after all that waits.
    fn lost_last(&mut self, gap: Gap) {
        for slot in self.slots.iter_mut().rev().take(LOOK_BACK) {
            match slot {
                Slot::Lost(last) => {
                    if last.join(&gap) {
                        return;
                    }
                }
                Slot::Hole => {}
                _ => break,
            }
        }
        self.slots.push_back(Slot::Lost(Box::new(gap)));
        self.trim();
        self.sweep_if_due();
    }

    /// Sees to it that the first slot is a full one.
    fn trim(&mut self) {
        while let Some(Slot::Lost(_) | Slot::Hole) = self.slots.front() {
            if let Some(Slot::Lost(gap)) = self.slots.pop_front() {
                gather(&mut self.before, *gap);
            }
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests;

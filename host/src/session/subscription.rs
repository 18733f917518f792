//! One pattern of a session, and for each log whether what is published comes in directly or is still read from
//! the log.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_contract::topic::Pattern;

use super::outbound::Outbound;
use super::sending::{Sending, Sent};
use crate::config::Overflow;
use crate::message::Routed;
use crate::retained::Retained;

/// Messages that a gate holds, and their bytes: what is published while the last flush before it is read.
const GATE: (usize, usize) = (1_024, 256 * 1024);

/// A pattern that a session holds.
#[derive(Debug)]
pub struct Subscription {
    pattern: Pattern,
    /// In the order of the store's logs.
    ways: Mutex<Box<[Way]>>,
    /// It began with a replay.
    replayed: bool,
    retained: Mutex<Begin>,
    /// Ends what it begins with; unset while there is no such thing.
    ended: OnceLock<CancellationToken>,
}

/// The retained messages that it begins with.
#[derive(Debug)]
enum Begin {
    /// None, or they have had their turn.
    Done,
    /// They go out.
    Sending(Box<Sending>),
    /// The subscription was given up.
    Ended,
}

/// How messages of one log come.
#[derive(Debug)]
struct Way {
    /// The first offset that comes by this subscription.
    start: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// As they are published.
    Live,
    /// From the log, up to the present or to the gate.
    Behind,
    /// What is published waits here until all before it has been read.
    Gated(Box<Gate>),
}

#[derive(Debug, Default)]
struct Gate {
    held: VecDeque<Arc<Routed>>,
    bytes: usize,
    /// The first message that was not held: reading has to go on there.
    full_at: Option<u64>,
}

/// What becomes of a message that is being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It goes to the session's queue.
    Live,
    /// The gate holds it.
    Held,
    /// It will be read from the log.
    Later,
}

/// What a gate gives.
#[derive(Debug)]
pub enum Gated {
    /// The next message.
    Next(Arc<Routed>),
    /// Nothing is left: from now on messages are live.
    Live,
    /// Nothing is left, but messages from this offset on were not held.
    Full(u64),
}

impl Subscription {
    /// In a router with so many logs. `starts`: the position of each log that may have matching topics, and the
    /// first offset that comes of it; with `replayed` that is read from the log.
    pub fn new(pattern: Pattern, logs: usize, starts: &[(usize, u64)], replayed: bool) -> Arc<Self> {
        let way = |at| match starts.iter().find(|(log, _)| *log == at) {
            Some((_, start)) if replayed => Way { start: *start, phase: Phase::Behind },
            Some((_, start)) => Way { start: *start, phase: Phase::Live },
            None => Way { start: 0, phase: Phase::Live },
        };
        let ways = (0..logs).map(way).collect();
        let ended = OnceLock::new();
        if replayed {
            ended.get_or_init(CancellationToken::new);
        }
        Arc::new(Self { pattern, ways: Mutex::new(ways), replayed, retained: Mutex::new(Begin::Done), ended })
    }

    /// From now on the retained messages that match are to be sent, from the first one. `starts`: of each log that
    /// may have matching topics the offset from which messages come anyway. Called under the locks of these logs.
    /// False: the subscription was given up.
    pub fn begin_retained(&self, retained: &Arc<Retained>, starts: &[(usize, u64)]) -> bool {
        let mut begin = self.retained.lock();
        if matches!(*begin, Begin::Ended) {
            return false;
        }
        *begin = Begin::Sending(Box::new(Sending::new(retained, starts)));
        self.ended.get_or_init(CancellationToken::new);
        true
    }

    /// Whether retained messages are on their way.
    pub fn is_sending(&self) -> bool {
        matches!(*self.retained.lock(), Begin::Sending(_))
    }

    /// Pushes some of the retained messages, as many as have room.
    pub fn send_retained(&self, outbound: &Outbound) -> Sent {
        let mut begin = self.retained.lock();
        let Begin::Sending(sending) = &mut *begin else { return Sent::All };
        let sent = sending.turn(&self.pattern, outbound);
        if sent == Sent::All {
            *begin = Begin::Done;
        }
        sent
    }

    /// Pushes the retained message that must come before this one, which is pushed next.
    pub fn send_before(&self, routed: &Routed, outbound: &Outbound, overflow: Overflow) {
        if let Begin::Sending(sending) = &mut *self.retained.lock() {
            sending.before(routed, outbound, overflow);
        }
    }

    /// What it asks for.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Whether all logs are live.
    pub fn is_live(&self) -> bool {
        !self.replayed || self.ways.lock().iter().all(|way| matches!(way.phase, Phase::Live))
    }

    /// Cancelled when it is given up, and with it what it begins with; none if it begins with nothing.
    pub fn ended(&self) -> Option<&CancellationToken> {
        self.ended.get()
    }

    /// Gives up the replay, and what is retained. Nothing of it comes any more when this has returned.
    pub(crate) fn end(&self) {
        *self.retained.lock() = Begin::Ended;
        if let Some(ended) = self.ended.get() {
            let _ways = self.ways.lock();
            ended.cancel();
        }
    }

    /// Says something of the replay, unless it was given up: behind the answer that ends it, what comes belongs to
    /// another one. It must not wait, and knows nothing of this subscription.
    pub fn unless_ended<R>(&self, say: impl FnOnce() -> R) -> Option<R> {
        let _ways = self.ways.lock();
        let ended = self.ended.get().is_some_and(CancellationToken::is_cancelled);
        (!ended).then(say)
    }

    /// Whether a message of this log has come, or will come, by this subscription without a replay.
    pub fn covers(&self, log: usize, topic: &str, offset: u64) -> bool {
        let ways = self.ways.lock();
        let way = ways.get(log).filter(|way| matches!(way.phase, Phase::Live) && way.start <= offset);
        way.is_some() && self.pattern.matches(topic)
    }

    /// Takes a message of a log that is being published. Called under the log's lock, in order.
    pub fn offer(&self, log: usize, routed: &Arc<Routed>) -> Offer {
        let mut ways = self.ways.lock();
        match ways.get_mut(log).map(|way| &mut way.phase) {
            Some(Phase::Live) | None => Offer::Live,
            Some(Phase::Behind) => Offer::Later,
            Some(Phase::Gated(gate)) => {
                gate.hold(routed);
                Offer::Held
            }
        }
    }

    /// From now on messages of this log are held. Called under the log's lock.
    pub fn close_gate(&self, log: usize) {
        self.set(log, Phase::Gated(Box::default()));
    }

    /// From now on messages of this log are live. Called under the log's lock.
    pub fn go_live(&self, log: usize) {
        self.set(log, Phase::Live);
    }

    fn set(&self, log: usize, phase: Phase) {
        if let Some(way) = self.ways.lock().get_mut(log) {
            way.phase = phase;
        }
    }

    /// Takes the next message that the gate holds; when there is none, the gate is gone. One caller at a time.
    pub fn open_gate(&self, log: usize) -> Gated {
        let mut ways = self.ways.lock();
        let Some(way) = ways.get_mut(log) else { return Gated::Live };
        let Phase::Gated(gate) = &mut way.phase else { return Gated::Live };
        if let Some(next) = gate.held.pop_front() {
            gate.bytes -= next.message.size();
            return Gated::Next(next);
        }
        let (phase, gated) = match gate.full_at {
            None => (Phase::Live, Gated::Live),
            Some(offset) => (Phase::Behind, Gated::Full(offset)),
        };
        way.phase = phase;
        gated
    }
}

impl Gate {
    fn hold(&mut self, routed: &Arc<Routed>) {
        if self.full_at.is_some() {
            return;
        }
        let size = routed.message.size();
        let fits = self.held.len() < GATE.0 && self.bytes + size <= GATE.1;
        if fits || self.held.is_empty() {
            self.bytes += size;
            self.held.push_back(Arc::clone(routed));
        } else {
            // The log has it: nothing is lost.
            self.full_at = Some(routed.place.as_ref().map_or(0, |place| place.offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::{Message, Place};

    fn routed(offset: u64) -> Arc<Routed> {
        let message = Message { topic: "a".into(), meta: Bytes::from_static(&[1]), payload: Bytes::new() };
        Arc::new(Routed::new(message, Some(Place { log: "default".into(), epoch: 1, offset })))
    }

    fn behind() -> Arc<Subscription> {
        Subscription::new(Pattern::parse("a").unwrap(), 1, &[(0, 5)], true)
    }

    #[test]
    fn a_gate_holds_until_it_is_opened() {
        let one = behind();
        assert_eq!(one.offer(0, &routed(7)), Offer::Later);
        assert!(!one.is_live() && !one.covers(0, "a", 7));
        one.close_gate(0);
        assert_eq!(one.offer(0, &routed(8)), Offer::Held);
        let Gated::Next(first) = one.open_gate(0) else { panic!() };
        assert_eq!(first.place.as_ref().unwrap().offset, 8);
        assert!(matches!(one.open_gate(0), Gated::Live));
        assert_eq!(one.offer(0, &routed(9)), Offer::Live);
        assert!(one.is_live() && one.covers(0, "a", 5) && !one.covers(0, "a", 4) && !one.covers(0, "b", 9));
    }

    #[test]
    fn what_was_given_up_says_nothing() {
        let one = behind();
        assert_eq!(one.unless_ended(|| 7), Some(7));
        one.end();
        assert_eq!(one.unless_ended(|| 7), None);
        let live = Subscription::new(Pattern::parse("a").unwrap(), 1, &[(0, 5)], false);
        live.end();
        assert_eq!(live.unless_ended(|| 7), Some(7));
    }

    #[test]
    fn a_full_gate_leaves_the_rest_to_the_log() {
        let one = behind();
        one.close_gate(0);
        for offset in 8..8 + 2 * GATE.0 as u64 {
            assert_eq!(one.offer(0, &routed(offset)), Offer::Held);
        }
        for offset in 8..8 + GATE.0 as u64 {
            let Gated::Next(next) = one.open_gate(0) else { panic!() };
            assert_eq!(next.place.as_ref().unwrap().offset, offset);
            // What comes after a message that was left out must not be held.
            one.offer(0, &routed(5_000));
        }
        let Gated::Full(at) = one.open_gate(0) else { panic!() };
        assert_eq!(at, 8 + GATE.0 as u64);
        assert_eq!(one.offer(0, &routed(6_000)), Offer::Later);
    }
}

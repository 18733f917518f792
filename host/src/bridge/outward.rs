//! Messages on their way to the broker.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::result_code::MqttError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_contract::packed::{self, tag};

use super::life::{GATEWAY, Life};
use super::link::Link;
use crate::durable::Ack;
use crate::gateway::mqtt::{Made, Outgoing, is_v5, properties, publish};
use crate::message::{Mark, Message, Routed, now_us};
use crate::session::Session;

/// Messages that no log keeps and that may wait for a broker which is connected, and their bytes.
const FLEETING: usize = 1_024;
const FLEETING_BYTES: usize = 16 << 20;

/// What waits. Messages of the logs are as many as their consumers let be in flight.
#[derive(Default)]
pub(super) struct Outward {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Default)]
struct State {
    connected: bool,
    waiting: VecDeque<Arc<Routed>>,
    /// Those that no log keeps, and their bytes.
    fleeting: usize,
    fleeting_bytes: usize,
    /// Sent, in this order, and not acknowledged by the broker.
    in_flight: VecDeque<(u16, Arc<Routed>)>,
}

fn is_fleeting(routed: &Routed) -> bool {
    !matches!(routed.mark, Mark::Consumer { .. })
}

impl State {
    fn has(&self, routed: &Routed) -> bool {
        let same = |other: &Arc<Routed>| other.place.is_some() && other.place == routed.place;
        self.waiting.iter().any(same) || self.in_flight.iter().any(|(_, other)| same(other))
    }

    /// False: there is no room.
    fn push(&mut self, routed: Arc<Routed>) -> bool {
        if is_fleeting(&routed) {
            let (count, bytes) = (self.fleeting + 1, self.fleeting_bytes + routed.message.size());
            if !self.connected || count > FLEETING || bytes > FLEETING_BYTES {
                return false;
            }
            (self.fleeting, self.fleeting_bytes) = (count, bytes);
        }
        self.waiting.push_back(routed);
        true
    }

    /// What was popped last is not sent yet.
    fn put_back(&mut self, routed: Arc<Routed>) {
        if is_fleeting(&routed) {
            self.fleeting += 1;
            self.fleeting_bytes += routed.message.size();
        }
        self.waiting.push_front(routed);
    }

    fn pop(&mut self) -> Option<Arc<Routed>> {
        let routed = self.waiting.pop_front()?;
        if is_fleeting(&routed) {
            self.fleeting -= 1;
            self.fleeting_bytes -= routed.message.size();
        }
        Some(routed)
    }

    fn land(&mut self, id: u16) -> Option<Arc<Routed>> {
        let at = self.in_flight.iter().position(|(other, _)| *other == id)?;
        self.in_flight.remove(at).map(|(_, routed)| routed)
    }
}

impl Outward {
    /// Waits until there may be something to send.
    pub(super) async fn changed(&self) {
        self.more.notified().await;
    }
}

impl Life {
    /// Takes a message that the router has for the broker.
    pub(super) fn accept(&self, session: &Session, routed: Arc<Routed>) {
        if !self.is_wanted(&routed) {
            return self.done(session, &routed);
        }
        if routed.expires_us.is_some_and(|at| at <= now_us()) {
            self.told.metrics.refused("out", "expired");
            return self.done(session, &routed);
        }
        let mut state = self.outward.state.lock();
        // A consumer that is attached again begins with what it has not acknowledged.
        if matches!(routed.mark, Mark::Consumer { delivery: 2.., .. }) && state.has(&routed) {
            return;
        }
        let reason = if state.connected { "too-slow" } else { "disconnected" };
        let taken = state.push(Arc::clone(&routed));
        self.show(&state);
        drop(state);
        match taken {
            true => self.outward.more.notify_one(),
            false => self.told.lost(&routed.message.topic, reason),
        }
    }

    /// Whether a message is to go out, by this way of several by which it may have come.
    fn is_wanted(&self, routed: &Routed) -> bool {
        let topic = &*routed.message.topic;
        let Some(there) = self.names.remote(topic) else { return false };
        // The broker has had it on this topic.
        let own = packed::text(&routed.message.meta, tag::GATEWAY) == Some(GATEWAY);
        if own && self.names.comes_in(&there) {
            return false;
        }
        match &routed.mark {
            Mark::Consumer { name, .. } => {
                let first = self.names.leaving().iter().position(|pattern| pattern.matches(topic));
                first.and_then(|nth| self.consumers.get(nth)) == Some(name)
            }
            // What a log keeps comes by its consumer.
            Mark::Live => routed.place.is_none(),
            Mark::Retained => false,
        }
    }

    /// A connection begins. What is not acknowledged is sent once more, before anything else: under its identifier, if
    /// the broker knows the session.
    pub(super) fn resume(&self, link: &Link, present: bool) -> Result<(), MqttError> {
        let mut state = self.outward.state.lock();
        state.connected = true;
        let again = |(id, routed): &(u16, Arc<Routed>)| {
            link.send_again(*id, self.packet(link, &routed.message, *id, true))
        };
        let sent = if present { state.in_flight.iter().try_for_each(again) } else { Ok(()) };
        if !present || sent.is_err() {
            while let Some((_, routed)) = state.in_flight.pop_back() {
                state.waiting.push_front(routed);
            }
        }
        sent
    }

    /// A connection has ended. What no log keeps is not sent again.
    pub(super) fn interrupt(&self) {
        let mut state = self.outward.state.lock();
        state.connected = false;
        let (mut waiting, mut in_flight) = (VecDeque::new(), VecDeque::new());
        let mut lost = Vec::new();
        while let Some(routed) = state.pop() {
            if is_fleeting(&routed) { lost.push(routed) } else { waiting.push_back(routed) }
        }
        for (id, routed) in std::mem::take(&mut state.in_flight) {
            if is_fleeting(&routed) { lost.push(routed) } else { in_flight.push_back((id, routed)) }
        }
        (state.waiting, state.in_flight) = (waiting, in_flight);
        self.show(&state);
        drop(state);
        for routed in lost {
            self.told.lost(&routed.message.topic, "disconnected");
        }
    }

    /// Sends what waits, as far as the broker takes it.
    pub(super) fn send_waiting(&self, link: &Link, session: &Session) {
        let most = usize::from(self.config.max_in_flight.get());
        let mut finished = Vec::new();
        let mut state = self.outward.state.lock();
        while !link.is_full() && link.has_vacancy() && state.in_flight.len() < most {
            let Some(routed) = state.pop() else { break };
            if routed.expires_us.is_some_and(|at| at <= now_us()) {
                self.told.metrics.refused("out", "expired");
                finished.push(routed);
                continue;
            }
            match link.send_assured(|id| self.packet(link, &routed.message, id, false)) {
                Some(Ok(id)) => state.in_flight.push_back((id, routed)),
                None => {
                    state.put_back(routed);
                    break;
                }
                Some(Err(error)) => {
                    let reason = if error == MqttError::PacketTooLarge { "too-large" } else { "invalid" };
                    self.told.lost(&routed.message.topic, reason);
                    finished.push(routed);
                }
            }
        }
        self.show(&state);
        drop(state);
        finished.iter().for_each(|routed| self.done(session, routed));
    }

    /// The broker has a message, or refuses it.
    pub(super) fn landed(&self, session: &Session, id: u16, taken: bool) {
        let mut state = self.outward.state.lock();
        let landed = state.land(id);
        self.show(&state);
        drop(state);
        let Some(routed) = landed else { return };
        match taken {
            true => drop(self.told.metrics.sent.inc()),
            false => self.told.lost(&routed.message.topic, "refused"),
        }
        self.done(session, &routed);
    }

    /// A message needs nothing more: its consumer may go on.
    fn done(&self, session: &Session, routed: &Routed) {
        let (Mark::Consumer { name, shared, .. }, Some(place)) = (&routed.mark, &routed.place) else {
            return;
        };
        let ack = Ack {
            name: name.to_string(),
            shared: *shared,
            log: place.log.to_string(),
            epoch: place.epoch,
            offsets: vec![place.offset],
            up_to: false,
        };
        if let Err(outcome) = self.ingress.ack(session, &ack, None) {
            tracing::debug!(consumer = ack.name, reason = %outcome.reason(), "not acknowledged");
        }
    }

    fn packet(&self, link: &Link, message: &Message, id: u16, dup: bool) -> Made {
        let topic = self.names.remote(&message.topic).ok_or(MqttError::TopicNameInvalid)?;
        let id = NonZeroU16::new(id).ok_or(MqttError::PacketIdentifierInvalid)?;
        let props = if is_v5(link.version()) { properties(message, &[]) } else { Vec::new() };
        let out = Outgoing {
            topic: &topic,
            payload: &message.payload,
            retain: message.is_retained(),
            dup,
            assured: Some((id, false)),
            props: self.names.translated(props),
        };
        publish(link.version(), out)
    }

    fn show(&self, state: &State) {
        let waiting = state.waiting.len() + state.in_flight.len();
        self.told.metrics.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Place;

    fn routed(bytes: usize, offset: Option<u64>) -> Arc<Routed> {
        let message =
            Message { topic: "a".into(), meta: [1].as_slice().into(), payload: vec![0; bytes].into() };
        let place = offset.map(|offset| Place { log: "l".into(), epoch: 1, offset });
        let mark = match place {
            Some(_) => Mark::Consumer { name: "c".into(), shared: false, delivery: 1 },
            None => Mark::Live,
        };
        Arc::new(Routed::marked(message, place, mark))
    }

    #[test]
    fn what_no_log_keeps_waits_only_for_a_broker_that_is_there_and_within_bounds() {
        let mut state = State::default();
        assert!(!state.push(routed(1, None)) && state.push(routed(1, Some(0))));
        state.connected = true;
        for _ in 0..FLEETING {
            assert!(state.push(routed(1, None)));
        }
        assert!(!state.push(routed(1, None)) && state.push(routed(1, Some(1))));
        while state.pop().is_some() {}
        assert!(
            state.push(routed(FLEETING_BYTES / 2, None)) && !state.push(routed(FLEETING_BYTES / 2, None))
        );
        let popped = state.pop().unwrap();
        state.put_back(popped);
        assert!(!state.push(routed(FLEETING_BYTES / 2, None)));
        assert!(state.pop().is_some() && state.push(routed(FLEETING_BYTES / 2, None)));
    }

    #[test]
    fn a_message_is_known_by_its_place() {
        let mut state = State::default();
        state.push(routed(1, Some(7)));
        state.in_flight.push_back((3, routed(1, Some(8))));
        assert!(state.has(&routed(1, Some(7))) && state.has(&routed(1, Some(8))));
        assert!(!state.has(&routed(1, Some(9))) && !state.has(&routed(1, None)));
        assert!(state.land(4).is_none() && state.land(3).is_some() && state.land(3).is_none());
    }
}

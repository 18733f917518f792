//! The protocol's state of one connection, and the bytes that wait to be written. Shared by its reader, its writer and
//! those who acknowledge what it has published.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::packet::{self, Made};
use crate::message::{Outcome, Responder};

/// Bytes that may wait before nothing more is read.
const FULL: usize = 64 * 1024;

pub(super) struct Link {
    state: Mutex<State>,
    /// The writer has something to do.
    out: Notify,
    /// Something was written or acknowledged: the reader may go on.
    progress: Notify,
    most_pending: usize,
}

struct State {
    core: Connection<role::Server>,
    out: Vec<u8>,
    /// PUBLISH packets that are to be acknowledged, in the order in which they came (MQTT 4.6).
    pending: VecDeque<Pending>,
    /// Number of the first of them.
    first: u64,
    /// Nothing is written any more behind what waits.
    closing: bool,
    deadline: Option<Instant>,
    /// The peer wants no reasons in acknowledgements (MQTT-3.1.2-29).
    terse: bool,
}

struct Pending {
    id: u16,
    exactly_once: bool,
    outcome: Option<Outcome>,
}

/// What came in.
#[derive(Default)]
pub(super) struct Received {
    pub(super) packets: Vec<Packet>,
    /// The protocol was broken; with version 5 the peer is told.
    pub(super) fault: Option<MqttError>,
}

impl Link {
    /// `most_bytes`: of an incoming packet. `most_pending`: PUBLISH packets that may wait for their outcome.
    pub(super) fn new(most_bytes: u32, most_pending: usize) -> Arc<Self> {
        let options = ConnectionOptions::new().maximum_packet_size_recv(most_bytes);
        let mut core = Connection::with_options(Version::Undetermined, options);
        core.set_auto_ping_response(true);
        let state = State {
            core,
            out: Vec::new(),
            pending: VecDeque::new(),
            first: 0,
            closing: false,
            deadline: None,
            terse: false,
        };
        let (out, progress) = (Notify::new(), Notify::new());
        Arc::new(Self { state: Mutex::new(state), out, progress, most_pending })
    }

    pub(super) fn version(&self) -> Version {
        self.state.lock().core.get_protocol_version()
    }

    /// When the peer must have sent something, by its keep-alive.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.state.lock().deadline
    }

    /// Takes at most one packet from the bytes.
    pub(super) fn receive(&self, bytes: &mut Cursor<&[u8]>) -> Received {
        let mut state = self.state.lock();
        let events = state.core.recv(bytes);
        let received = state.absorb(events);
        drop(state);
        self.out.notify_one();
        received
    }

    /// Sends a packet. The error is that of a packet that the peer does not take, or a defect of ours.
    pub(super) fn send(&self, made: Made) -> Result<(), MqttError> {
        let packet = made?;
        let mut state = self.state.lock();
        let sent = state.send(packet);
        drop(state);
        self.out.notify_one();
        sent
    }

    /// Sends what may give a reason, without it if the peer wants none or the packet is too large for it.
    pub(super) fn send_with(&self, reason: &str, make: impl Fn(&str) -> Made) -> Result<(), MqttError> {
        let mut state = self.state.lock();
        let sent = state.send_with(reason, make);
        drop(state);
        self.out.notify_one();
        sent
    }

    /// The peer wants no reasons in acknowledgements.
    pub(super) fn be_terse(&self) {
        self.state.lock().terse = true;
    }

    /// Sends what needs a packet identifier, which is free. None: none is.
    pub(super) fn send_assured(&self, make: impl FnOnce(u16) -> Made) -> Option<Result<u16, MqttError>> {
        let mut state = self.state.lock();
        let id = state.core.acquire_packet_id().ok()?;
        let sent = make(id).and_then(|packet| state.send(packet));
        if sent.is_err() {
            state.core.release_packet_id(id);
        }
        drop(state);
        self.out.notify_one();
        Some(sent.map(|()| id))
    }

    /// A packet identifier that is free. None: none is.
    pub(super) fn acquire(&self) -> Option<u16> {
        self.state.lock().core.acquire_packet_id().ok()
    }

    /// Gives one back that was not used.
    pub(super) fn give_back(&self, id: u16) {
        self.state.lock().core.release_packet_id(id);
    }

    /// Takes a packet identifier that the session has had before.
    pub(super) fn reserve(&self, id: u16) {
        if self.state.lock().core.register_packet_id(id).is_err() {
            tracing::error!(id, "a packet identifier is in use twice");
        }
    }

    /// Sends PUBREL once more for an identifier that is reserved.
    pub(super) fn release_again(&self, id: u16) {
        let mut state = self.state.lock();
        // The core counts what is in flight, so it is told of the message and its PUBREC; neither is sent.
        let version = state.core.get_protocol_version();
        let again = packet::placeholder(version, id).and_then(|(publish, pubrec)| {
            let sent = state.core.send(publish);
            if sent.iter().any(|event| matches!(event, Event::NotifyError(_))) {
                return Err(MqttError::ReceiveMaximumExceeded);
            }
            state.core.recv(&mut Cursor::new(&pubrec));
            state.send(packet::pubrel(version, id)?)
        });
        if let Err(error) = again {
            tracing::debug!(id, ?error, "a packet identifier stays reserved");
        }
    }

    /// Identifiers of messages of QoS 2 that came in before, with another connection, and are not released.
    pub(super) fn restore(&self, received: HashSet<u16>) {
        self.state.lock().core.restore_qos2_publish_handled(received.into_iter().collect());
    }

    /// How many more PUBLISH packets of QoS 1 and 2 the peer takes, if it has said so.
    pub(super) fn vacancy(&self) -> Option<u16> {
        self.state.lock().core.get_receive_maximum_vacancy_for_send()
    }

    /// Bytes that are encoded already, of a packet that changes nothing in the protocol's state.
    pub(super) fn push(&self, bytes: &[u8]) {
        self.state.lock().out.extend_from_slice(bytes);
    }

    /// Moves what waits. False: nothing comes after it.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> bool {
        let mut state = self.state.lock();
        into.append(&mut state.out);
        if state.out.capacity() > FULL {
            state.out = Vec::new();
        }
        let open = !state.closing;
        drop(state);
        self.progress.notify_one();
        open
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().out.len()
    }

    /// The writer is to look again.
    pub(super) fn wake(&self) {
        self.out.notify_one();
    }

    /// Nothing is sent any more behind what waits.
    pub(super) fn close(&self) {
        self.state.lock().closing = true;
    }

    /// Waits until there may be something to take, or more room for messages.
    pub(super) async fn changed(&self) {
        self.out.notified().await;
    }

    /// Waits until there is room for what the next packet may cause.
    pub(super) async fn room(&self) {
        loop {
            {
                let state = self.state.lock();
                if state.closing || (state.out.len() < FULL && state.pending.len() < self.most_pending) {
                    return;
                }
            }
            self.progress.notified().await;
        }
    }

    /// Waits until everything that came in has its outcome.
    pub(super) async fn settled(&self) {
        while !self.state.lock().pending.is_empty() {
            self.progress.notified().await;
        }
    }

    /// The end: the peer is told, if its version has words for it.
    pub(super) fn end(&self, code: DisconnectReasonCode, reason: &str) {
        let mut state = self.state.lock();
        if packet::is_v5(state.core.get_protocol_version()) {
            // Before CONNACK nothing may be said.
            let _ = state.send_end(code, reason);
        }
        state.closing = true;
        drop(state);
        self.out.notify_one();
        self.progress.notify_one();
    }

    /// A PUBLISH that is acknowledged by the outcome, in its turn.
    pub(super) fn expect(self: &Arc<Self>, id: u16, exactly_once: bool) -> Responder {
        let mut state = self.state.lock();
        let number = state.first + state.pending.len() as u64;
        state.pending.push_back(Pending { id, exactly_once, outcome: None });
        drop(state);
        let link = Arc::clone(self);
        Responder::new(move |outcome| link.settle(number, outcome))
    }

    fn settle(&self, number: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        let at = usize::try_from(number.wrapping_sub(state.first)).unwrap_or(usize::MAX);
        if let Some(pending) = state.pending.get_mut(at) {
            pending.outcome = Some(outcome);
        }
        while let Some(Pending { id, exactly_once, outcome: Some(outcome) }) =
            state.pending.pop_front_if(|pending| pending.outcome.is_some())
        {
            state.first += 1;
            state.acknowledge(id, exactly_once, &outcome);
        }
        drop(state);
        self.out.notify_one();
        self.progress.notify_one();
    }
}

impl State {
    fn send(&mut self, packet: Packet) -> Result<(), MqttError> {
        if self.closing {
            return Ok(());
        }
        let events = self.core.send(packet);
        self.absorb(events).fault.map_or(Ok(()), Err)
    }

    fn send_with(&mut self, reason: &str, make: impl Fn(&str) -> Made) -> Result<(), MqttError> {
        let reason = if self.terse { "" } else { reason };
        match self.send(make(reason)?) {
            Err(MqttError::PacketTooLarge) if !reason.is_empty() => self.send(make("")?),
            sent => sent,
        }
    }

    /// DISCONNECT may always give its reason, if there is room.
    fn send_end(&mut self, code: DisconnectReasonCode, reason: &str) -> Result<(), MqttError> {
        match self.send(packet::disconnect(code, reason)?) {
            Err(MqttError::PacketTooLarge) => self.send(packet::disconnect(code, "")?),
            sent => sent,
        }
    }

    fn absorb(&mut self, events: Vec<Event>) -> Received {
        let mut received = Received::default();
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received.packets.push(packet),
                Event::RequestSendPacket { packet, .. } if !self.closing => {
                    self.out.append(&mut packet.to_continuous_buffer());
                }
                Event::RequestTimerReset { duration_ms, .. } => {
                    self.deadline = Some(Instant::now() + Duration::from_millis(duration_ms));
                }
                Event::RequestTimerCancel(_) => self.deadline = None,
                Event::RequestClose => self.closing = true,
                Event::NotifyError(error) => received.fault = Some(error),
                Event::RequestSendPacket { .. } | Event::NotifyPacketIdReleased(_) => {}
            }
        }
        received
    }

    /// What refuses a message in earnest acknowledges it with its reason; version 3.1.1 has no words for that. What
    /// could not be taken ends the connection, so that the peer sends it again.
    fn acknowledge(&mut self, id: u16, exactly_once: bool, outcome: &Outcome) {
        let version = self.core.get_protocol_version();
        let reason = &outcome.reason();
        let said = match super::publish::verdict(outcome) {
            Ok((_, code)) if exactly_once => {
                self.send_with(reason, |reason| packet::pubrec(version, id, code, reason))
            }
            Ok((code, _)) => self.send_with(reason, |reason| packet::puback(version, id, code, reason)),
            Err(code) if packet::is_v5(version) => self.send_end(code, reason),
            Err(_) => {
                self.closing = true;
                return;
            }
        };
        if let Err(error) = said {
            tracing::debug!(?error, "an acknowledgement was not sent");
        }
    }
}

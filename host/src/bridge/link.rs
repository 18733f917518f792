//! The protocol's state of one connection to the broker, the bytes that wait to be written, and the messages that are
//! to be acknowledged. Shared by its reader, its writer and those who answer for what it has brought.

use std::collections::VecDeque;
use std::sync::Arc;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{MqttError, PubackReasonCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::gateway::mqtt::{Made, is_v5, puback};
use crate::message::{Level, Outcome, Responder};

/// Bytes that may wait before nothing more is read.
const FULL: usize = 64 * 1024;
/// Bytes of a packet that the broker may send: larger than any message that is accepted, so that one that is too large
/// is refused for itself and does not end the connection again and again.
const MOST_BYTES: u32 = 16 << 20;

pub(super) struct Link {
    state: Mutex<State>,
    /// The writer has something to do.
    out: Notify,
    /// Something was written or acknowledged: the reader may go on.
    progress: Notify,
    most_pending: usize,
    version: Version,
    /// Hears what became of every message that is to be acknowledged.
    heard: Box<dyn Fn(&Outcome) + Send + Sync>,
}

struct State {
    core: Connection<role::Client>,
    out: Vec<u8>,
    /// Messages that are to be acknowledged, in the order in which they came (MQTT 4.6).
    pending: VecDeque<Pending>,
    /// Number of the first of them.
    first: u64,
    /// The message that came last is too early, by so many milliseconds.
    too_early: Option<u64>,
    /// Nothing is written any more behind what waits. Why, if it is no good end.
    closing: bool,
    fault: Option<String>,
}

struct Pending {
    id: u16,
    settled: bool,
}

impl Link {
    /// `most_pending`: messages that may wait for their outcome.
    pub(super) fn new(
        version: Version,
        most_pending: u16,
        heard: impl Fn(&Outcome) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let options =
            ConnectionOptions::new().maximum_packet_size_recv(MOST_BYTES).receive_maximum(most_pending);
        let state = State {
            core: Connection::with_options(version, options),
            out: Vec::new(),
            pending: VecDeque::new(),
            first: 0,
            too_early: None,
            closing: false,
            fault: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            out: Notify::new(),
            progress: Notify::new(),
            most_pending: most_pending.into(),
            version,
            heard: Box::new(heard),
        })
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Takes at most one packet from the bytes.
    pub(super) fn receive(&self, bytes: &mut Cursor<&[u8]>) -> Result<Option<Packet>, MqttError> {
        let mut state = self.state.lock();
        let events = state.core.recv(bytes);
        let received = state.absorb(events);
        drop(state);
        self.out.notify_one();
        received
    }

    /// Sends a packet. The error is that of a packet that the broker does not take, or a defect of ours.
    pub(super) fn send(&self, made: Made) -> Result<(), MqttError> {
        let packet = made?;
        let sent = self.state.lock().send(packet);
        self.out.notify_one();
        sent
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

    /// Sends a message once more that had this identifier with an earlier connection.
    pub(super) fn send_again(&self, id: u16, made: Made) -> Result<(), MqttError> {
        let packet = made?;
        let mut state = self.state.lock();
        state.core.register_packet_id(id)?;
        let sent = state.send(packet);
        drop(state);
        self.out.notify_one();
        sent
    }

    /// Whether the broker takes another message that it has to acknowledge.
    pub(super) fn has_vacancy(&self) -> bool {
        self.state.lock().core.get_receive_maximum_vacancy_for_send().is_none_or(|vacancy| vacancy > 0)
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

    /// Whether the writer has enough to do.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().out.len() >= FULL
    }

    /// The writer is to look again.
    pub(super) fn wake(&self) {
        self.out.notify_one();
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
        loop {
            {
                let state = self.state.lock();
                if state.closing || state.pending.is_empty() {
                    return;
                }
            }
            self.progress.notified().await;
        }
    }

    /// The end, behind what waits. `fault`: why, if it is not meant.
    pub(super) fn end(&self, fault: Option<String>) {
        self.state.lock().end(fault);
        self.out.notify_one();
        self.progress.notify_one();
    }

    /// What was told to [`end`](Self::end) first.
    pub(super) fn fault(&self) -> Option<String> {
        self.state.lock().fault.take()
    }

    /// A message that is acknowledged by its outcome, in its turn.
    pub(super) fn expect(&self, id: u16) -> u64 {
        let mut state = self.state.lock();
        state.pending.push_back(Pending { id, settled: false });
        state.first + state.pending.len() as u64 - 1
    }

    /// Hears the outcome of an expected message.
    pub(super) fn responder(self: &Arc<Self>, number: u64) -> Responder {
        let link = Arc::clone(self);
        Responder::new(move |outcome| link.settle(number, &outcome))
    }

    /// Whether the message that came last has to be published again, after so many milliseconds.
    pub(super) fn too_early(&self) -> Option<u64> {
        self.state.lock().too_early.take()
    }

    /// What is final is acknowledged. What could not be taken now ends the connection, so that the broker sends it again,
    /// and everything behind it.
    pub(super) fn settle(&self, number: u64, outcome: &Outcome) {
        let mut state = self.state.lock();
        match outcome {
            Outcome::RateLimited { retry_after_ms } => state.too_early = Some(*retry_after_ms),
            outcome if is_final(outcome) => {
                if let Some(pending) = state.pending_at(number) {
                    pending.settled = true;
                }
                state.acknowledge(self.version);
            }
            outcome => {
                state.end(Some(format!("a message of the broker cannot be taken now: {}", said(outcome))))
            }
        }
        drop(state);
        (self.heard)(outcome);
        self.out.notify_one();
        self.progress.notify_one();
    }
}

/// Whether nothing better can become of the message when it comes again.
fn is_final(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted { level, messages, .. } => {
            *level >= Level::Logged || messages.iter().all(|message| message.place.is_none())
        }
        Outcome::Overloaded | Outcome::Unavailable { .. } | Outcome::ShuttingDown => false,
        _ => true,
    }
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { note, .. } => note.clone().unwrap_or_else(|| "it is not on the disk".into()),
        outcome => outcome.reason(),
    }
}

impl State {
    fn pending_at(&mut self, number: u64) -> Option<&mut Pending> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.pending.get_mut(at)
    }

    fn acknowledge(&mut self, version: Version) {
        while let Some(Pending { id, .. }) = self.pending.pop_front_if(|pending| pending.settled) {
            self.first += 1;
            let sent =
                puback(version, id, PubackReasonCode::Success, "").and_then(|packet| self.send(packet));
            if let Err(error) = sent {
                self.end(Some(format!("an acknowledgement was not sent: {error}")));
            }
        }
    }

    fn end(&mut self, fault: Option<String>) {
        if !self.closing {
            self.closing = true;
            self.fault = fault;
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), MqttError> {
        if self.closing {
            return Ok(());
        }
        let events = self.core.send(packet);
        self.absorb(events).map(drop)
    }

    fn absorb(&mut self, events: Vec<Event>) -> Result<Option<Packet>, MqttError> {
        let (mut received, mut fault) = (None, None);
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => received = Some(packet),
                Event::RequestSendPacket { packet, .. } if !self.closing => {
                    self.out.append(&mut packet.to_continuous_buffer());
                }
                Event::RequestClose => self.end(None),
                Event::NotifyError(error) => fault = Some(error),
                // We ping by a clock of our own.
                _ => {}
            }
        }
        fault.map_or(Ok(received), Err)
    }
}

/// Tells the broker that we live, and asks whether it does.
pub(super) fn ping(version: Version) -> Made {
    Ok(match is_v5(version) {
        true => v5_0::Pingreq::builder().build()?.into(),
        false => v3_1_1::Pingreq::builder().build()?.into(),
    })
}

/// The last packet of a connection that is meant to end.
pub(super) fn goodbye(version: Version) -> Made {
    Ok(match is_v5(version) {
        true => v5_0::Disconnect::builder().build()?.into(),
        false => v3_1_1::Disconnect::builder().build()?.into(),
    })
}

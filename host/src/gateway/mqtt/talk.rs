//! The life of a connection: CONNECT, then reading and writing side by side, then the end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError, PubrecReasonCode};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::connect::{self, Connect};
use super::flight::Sent;
use super::frame::OPENING;
use super::link::Link;
use super::publish::Incoming;
use super::read::{End, Reader, Source};
use super::roster::Seat;
use super::stay::Stay;
use super::subscribe::{self, Subscriptions};
use super::will::Will;
use super::write::Writer;
use super::{Inner, Visitor, packet, strict};
use crate::gateway::lease::Lease;
use crate::gateway::stall::Stall;
use crate::gateway::stream::{Stream, Upgraded};
use crate::gateway::visit::Visit;
use crate::gateway::ws::{self, Pongs};
use crate::ingress::Burst;
use crate::message::Responder;
use crate::metrics::GatewayMetrics;

/// How long the end may take: outcomes that are due, the last packet, the peer's own end.
const LINGER: Duration = Duration::from_secs(2);

/// A client that was let in.
pub(super) struct Talk {
    pub(super) link: Arc<Link>,
    pub(super) visit: Visit,
    pub(super) subscriptions: Mutex<Subscriptions>,
    /// Identifiers of messages that the client has not acknowledged to the end.
    pub(super) in_flight: Mutex<BTreeMap<u16, Option<Sent>>>,
    /// Of a packet that the client takes.
    pub(super) most_bytes: usize,
    pub(super) metrics: Arc<GatewayMetrics>,
    pub(super) most_in_flight: usize,
    pub(super) session_expiry_max: Duration,
    /// Identifiers of QoS 2 messages that came in and are not released.
    received: Mutex<HashSet<u16>>,
    will: Mutex<Option<Will>>,
    pub(super) app: Arc<Inner>,
    // Behind the visit, so that nobody reads for the session any more when it is kept or ended.
    pub(super) stay: Stay,
    // Last, so that whoever wants the place finds nothing of this session left.
    seat: Seat,
}

enum Ended {
    Reading(End),
    Writing,
    Cut,
    Stopping,
    TakenOver,
}

/// Speaks MQTT until the connection has ended.
pub(super) async fn talk(
    app: &Arc<Inner>,
    stream: Stream,
    visitor: &Visitor,
    lease: &Lease,
    most_stall: Duration,
) {
    match stream.into_upgraded() {
        Some(Upgraded::Plain(mut stream)) => {
            let (read, write) = stream.split();
            converse(app, (read, Stall::new(write, most_stall)), None, visitor, lease).await;
        }
        Some(Upgraded::Sealed(stream)) => {
            let (read, write) = tokio::io::split(stream);
            Box::pin(converse(app, (read, write), None, visitor, lease)).await;
        }
        None => {}
    }
}

/// The same in the messages of a WebSocket.
pub(super) async fn talk_in_messages(app: &Arc<Inner>, opened: ws::Opened, visitor: &Visitor, lease: &Lease) {
    let begin = |early| (early, OPENING, app.unfinished());
    match opened.stream {
        Upgraded::Plain(mut stream) => {
            let (read, write) = stream.split();
            let (early, most, unfinished) = begin(opened.early);
            let halves = (read, Stall::new(write, app.limits.write));
            let (read, write, pongs) = ws::bytes(halves, early, most, unfinished);
            converse(app, (read, write), Some(&pongs), visitor, lease).await;
        }
        Upgraded::Sealed(stream) => {
            let (early, most, unfinished) = begin(opened.early);
            let (read, write, pongs) = ws::bytes(tokio::io::split(stream), early, most, unfinished);
            Box::pin(converse(app, (read, write), Some(&pongs), visitor, lease)).await;
        }
    }
}

/// `pongs`: what else the connection has to say, and says when it is flushed.
async fn converse<R: Source, W: AsyncWrite + Unpin>(
    app: &Arc<Inner>,
    (read, write): (R, W),
    pongs: Option<&Pongs>,
    visitor: &Visitor,
    lease: &Lease,
) {
    let most = app.limits.message_bytes.saturating_add(super::AROUND);
    let most_pending = usize::from(app.config.receive_maximum.get());
    let link = Link::new(u32::try_from(most).unwrap_or(u32::MAX), most_pending);
    let mut reader = Reader::new(read, app.unfinished());
    let mut writer = Writer::new(write);
    let first = async {
        let connect = reader.connect(&link).await.ok()?;
        strict::check_connect(&connect)?;
        connect::admit(app, &link, Connect::of(&connect)?, visitor).await
    };
    let talk = tokio::select! {
        first = timeout(app.limits.headers, first) => first.ok().flatten(),
        () = lease.shutdown() => None,
    };
    if let Some(talk) = &talk {
        reader.allow(most);
        talk.resume().await;
        let ended = tokio::select! {
            biased;
            end = talk.listen(&mut reader) => Ended::Reading(end),
            _ = writer.run(talk) => Ended::Writing,
            () = talk.visit.session().outbound.closed() => Ended::Cut,
            () = lease.shutdown() => Ended::Stopping,
            () = talk.seat.wanted() => Ended::TakenOver,
            () = wake_for(pongs, &link) => Ended::Writing,
        };
        talk.part(&mut writer, ended).await;
    }
    link.close();
    let goodbye = async {
        if writer.finish(&link).await.is_ok() {
            reader.discard().await;
        }
    };
    // A peer that does not go by itself is left behind.
    let _ = timeout(LINGER, goodbye).await;
}

/// Has pongs written, for ever.
async fn wake_for(pongs: Option<&Pongs>, link: &Link) {
    let Some(pongs) = pongs else { return std::future::pending().await };
    loop {
        pongs.due().await;
        link.wake();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let count = i64::try_from(self.subscriptions.lock().len()).unwrap_or(0);
        self.app.sys.subscriptions.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Talk {
    pub(super) fn new(
        app: &Arc<Inner>,
        link: &Arc<Link>,
        visit: Visit,
        (stay, seat): (Stay, Seat),
        connect: &mut Connect,
    ) -> Self {
        let metrics = app.ingress.gateway(super::GATEWAY);
        Self {
            link: Arc::clone(link),
            visit,
            subscriptions: Mutex::default(),
            in_flight: Mutex::default(),
            most_bytes: connect.most_bytes,
            metrics,
            most_in_flight: connect.most_in_flight.min(app.config.max_in_flight.get().into()),
            session_expiry_max: app.config.session_expiry_max,
            received: Mutex::default(),
            will: Mutex::new(connect.will.take()),
            app: Arc::clone(app),
            stay,
            seat,
        }
    }

    /// Whether the client takes another message that it has to acknowledge.
    pub(super) fn has_vacancy(&self) -> bool {
        let vacancy = self.link.vacancy().is_none_or(|vacancy| vacancy > 0);
        vacancy && self.in_flight.lock().len() < self.most_in_flight
    }

    async fn listen<R: Source>(&self, reader: &mut Reader<R>) -> End {
        let mut burst = Burst::default();
        let end = self.hear(reader, &mut burst).await;
        self.hand_over(&mut burst).await;
        end
    }

    /// Publishes that come one behind the other go on together.
    async fn hear<R: Source>(&self, reader: &mut Reader<R>, burst: &mut Burst) -> End {
        loop {
            let packet = match reader.next(&self.link).await {
                Ok(packet) => packet,
                Err(end) => return end,
            };
            self.metrics.bytes_in.inc_by(packet.size() as u64);
            let heard = match packet {
                Packet::V3_1_1Publish(packet) => self.take(Incoming::from(&packet), burst),
                Packet::V5_0Publish(packet) => strict::check_properties(packet.props())
                    .and_then(|()| self.take(Incoming::from(&packet), burst)),
                other => {
                    self.hand_over(burst).await;
                    self.handle(other).await
                }
            };
            match heard {
                Ok(None) if !burst.is_empty() && !burst.is_full() && reader.is_at_hand() => {}
                Ok(None) => {
                    self.hand_over(burst).await;
                    self.link.room().await;
                }
                Ok(Some(end)) => return end,
                Err(error) => return End::Fault(error),
            }
        }
    }

    async fn hand_over(&self, burst: &mut Burst) {
        self.visit.ingress().hand_over(self.visit.session(), burst).await;
    }

    async fn handle(&self, packet: Packet) -> Result<Option<End>, MqttError> {
        match packet {
            Packet::V3_1_1Puback(packet) => self.landed(packet.packet_id()),
            Packet::V5_0Puback(packet) => self.landed(packet.packet_id()),
            Packet::V3_1_1Pubrec(packet) => self.release(packet.packet_id())?,
            Packet::V5_0Pubrec(packet) => match packet.reason_code() {
                None | Some(PubrecReasonCode::Success | PubrecReasonCode::NoMatchingSubscribers) => {
                    self.release(packet.packet_id())?;
                }
                Some(_) => self.landed(packet.packet_id()),
            },
            Packet::V3_1_1Pubrel(packet) => self.complete(packet.packet_id())?,
            Packet::V5_0Pubrel(packet) => self.complete(packet.packet_id())?,
            Packet::V3_1_1Pubcomp(packet) => self.landed(packet.packet_id()),
            Packet::V5_0Pubcomp(packet) => self.landed(packet.packet_id()),
            Packet::V3_1_1Subscribe(packet) => {
                strict::check_entries(packet.entries(), false)?;
                self.subscribe(packet.packet_id(), packet.entries(), None).await?;
            }
            Packet::V5_0Subscribe(packet) => {
                strict::check_entries(packet.entries(), true)?;
                let number = subscribe::number(&packet);
                self.subscribe(packet.packet_id(), packet.entries(), number).await?;
            }
            Packet::V3_1_1Unsubscribe(packet) => {
                self.unsubscribe(packet.packet_id(), packet.entries().iter().map(|entry| entry.as_str()))
                    .await?;
            }
            Packet::V5_0Unsubscribe(packet) => {
                self.unsubscribe(packet.packet_id(), packet.entries().iter().map(|entry| entry.as_str()))
                    .await?;
            }
            Packet::V3_1_1Disconnect(_) => return Ok(Some(self.bye())),
            Packet::V5_0Disconnect(packet) => {
                if let Some(expiry_s) = connect::expiry(packet.props().as_deref().unwrap_or_default())
                    && !self.stay.change(connect::granted(&self.app, expiry_s))
                {
                    return Err(MqttError::ProtocolError);
                }
                let with_will = packet.reason_code() == Some(DisconnectReasonCode::DisconnectWithWillMessage);
                return Ok(Some(if with_will { End::Gone } else { self.bye() }));
            }
            Packet::V3_1_1Pingreq(_) | Packet::V5_0Pingreq(_) => {}
            _ => return Err(MqttError::ProtocolError),
        }
        Ok(None)
    }

    fn take(&self, incoming: Incoming, burst: &mut Burst) -> Result<Option<End>, MqttError> {
        strict::check_publish(&incoming)?;
        if let Some(id) = incoming.exactly_once() {
            self.received.lock().insert(id);
        }
        self.publish(incoming, burst);
        Ok(None)
    }

    fn complete(&self, id: u16) -> Result<(), MqttError> {
        let known = self.received.lock().remove(&id);
        if let Some(session) = &self.stay.session {
            let link = Arc::clone(&self.link);
            let done = move |result: Result<(), _>| {
                // Else the next message under this identifier would be taken for the one that is released.
                if result.is_err() || link.send(packet::pubcomp(link.version(), id, true)).is_err() {
                    link.end(DisconnectReasonCode::ServerBusy, "");
                }
            };
            match session.release(id, Box::new(done)) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    self.link.end(DisconnectReasonCode::ServerBusy, &error.to_string());
                    return Ok(());
                }
            }
        }
        self.link.send(packet::pubcomp(self.link.version(), id, known))
    }

    /// The client goes of its own will.
    fn bye(&self) -> End {
        self.will.lock().take();
        End::Bye
    }

    /// Says why the connection ends, and publishes what the client has left.
    async fn part<W: AsyncWrite + Unpin>(&self, writer: &mut Writer<W>, ended: Ended) {
        match ended {
            Ended::Reading(End::Late) => self.link.end(DisconnectReasonCode::KeepAliveTimeout, ""),
            Ended::Reading(End::Unfinished(code, reason)) => self.link.end(code, &reason),
            Ended::Reading(End::Fault(error)) => {
                tracing::debug!(?error, session = %self.visit.session().id, "an MQTT client broke the protocol");
                self.link.end(super::read::fault(error), "");
            }
            Ended::Reading(End::Bye | End::Gone) | Ended::Writing => {}
            Ended::Cut => {
                let outbound = &self.visit.session().outbound;
                let code = match outbound.has_overflowed() {
                    true => DisconnectReasonCode::QuotaExceeded,
                    false => DisconnectReasonCode::NotAuthorized,
                };
                self.link.end(code, &writer.reason(outbound));
            }
            Ended::TakenOver => self.link.end(DisconnectReasonCode::SessionTakenOver, ""),
            Ended::Stopping => {
                // What was published is acknowledged first.
                let _ = timeout(LINGER, async {
                    tokio::select! {
                        () = self.link.settled() => {}
                        _ = writer.run(self) => {}
                    }
                })
                .await;
                self.link.end(DisconnectReasonCode::ServerShuttingDown, "");
                // Nobody would publish it later.
                self.will.lock().iter_mut().for_each(|will| will.delay = Duration::ZERO);
            }
        }
        self.settle().await;
    }

    /// Leaves the session as it shall be found, and publishes the client's will or puts it off.
    async fn settle(&self) {
        if self.stay.session.is_some() {
            // Whether a message was taken must be known, or it is doubled when it comes again. Each one is decided, also
            // when the router stops.
            self.link.settled().await;
        } else {
            let shared: Vec<_> = {
                let all = self.subscriptions.lock();
                all.iter().filter(|(_, wanted)| wanted.shared).map(|(filter, one)| one.kept(filter)).collect()
            };
            for ended in &shared {
                self.end_consumer(ended).await;
            }
        }
        let Some(will) = self.will.lock().take() else { return };
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        let delay = will.delay.min(self.stay.expires_after());
        match &self.stay.session {
            Some(kept) if !delay.is_zero() => {
                let will = Will { delay, ..will };
                self.app.wills.put_off(ingress, session, kept.owner().clone(), will);
            }
            _ => ingress.publish(session, will.publish, Responder::none()).await,
        }
    }
}

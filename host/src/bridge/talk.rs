//! One connection to the broker, from its answer to CONNECT to its end.

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::{Packet, Qos, RetainHandling, SubEntry, SubOpts, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{PubackReasonCode, SubackReasonCode, SubackReturnCode};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::dial::Connected;
use super::life::Life;
use super::link::{Link, goodbye, ping};
use super::remembered::Remembered;
use super::wire::{Reader, Writer};
use crate::gateway::mqtt::{Incoming, Made, is_v5};
use crate::session::Session;

/// How long the end may take: outcomes that are due, and the last packet.
const LINGER: Duration = Duration::from_secs(2);

impl Life {
    /// Speaks until the connection has ended; why.
    pub(super) async fn talk(&self, connected: Connected, closing: &CancellationToken) -> String {
        let Connected { link, mut reader, mut writer, present, keep_alive } = connected;
        if let Err(error) = self.resume(&link, present) {
            return format!("what waits for its acknowledgement cannot be sent again: {error}");
        }
        if let Err(reason) = self.ask(&link, present).await {
            return reason;
        }
        tracing::info!(broker = %self.config.url, session_present = present, "connected to the MQTT broker");
        tokio::select! {
            biased;
            reason = self.listen(&link, &mut reader, keep_alive) => link.fault().unwrap_or(reason),
            reason = self.speak(&link, &mut writer, keep_alive) => link.fault().unwrap_or(reason),
            () = closing.cancelled() => {
                self.leave(&link, &mut writer, keep_alive).await;
                String::new()
            }
        }
    }

    /// What came in is acknowledged, and the broker told that we go.
    async fn leave(&self, link: &Arc<Link>, writer: &mut Writer, keep_alive: Duration) {
        let settled = async {
            tokio::select! {
                () = link.settled() => {}
                _ = self.speak(link, writer, keep_alive) => {}
            }
        };
        // What is not acknowledged comes again.
        let _ = timeout(LINGER, settled).await;
        let _ = link.send(goodbye(link.version()));
        link.end(None);
        let _ = timeout(LINGER, writer.finish(link)).await;
    }

    async fn listen(&self, link: &Arc<Link>, reader: &mut Reader, keep_alive: Duration) -> String {
        // We ping once in this time, and the answer has as long again.
        let silence = keep_alive.saturating_mul(2);
        loop {
            let packet = match reader.next(link, silence).await {
                Ok(packet) => packet,
                Err(reason) => return reason,
            };
            if let Err(reason) = self.handle(link, packet).await {
                return reason;
            }
            link.room().await;
        }
    }

    async fn handle(&self, link: &Arc<Link>, packet: Packet) -> Result<(), String> {
        let session = self.session.borrow().clone().ok_or("there is no session")?;
        match packet {
            Packet::V3_1_1Publish(packet) => self.take(link, &session, Incoming::from(&packet)).await?,
            Packet::V5_0Publish(packet) => self.take(link, &session, Incoming::from(&packet)).await?,
            Packet::V3_1_1Puback(packet) => self.answered(link, &session, packet.packet_id(), true),
            Packet::V5_0Puback(packet) => {
                let taken = packet.reason_code().as_ref().is_none_or(PubackReasonCode::is_success);
                self.answered(link, &session, packet.packet_id(), taken);
            }
            Packet::V3_1_1Suback(packet) => {
                let granted = |code: SubackReturnCode| match code {
                    SubackReturnCode::SuccessMaximumQos0 => Some(0),
                    SubackReturnCode::Failure => None,
                    _ => Some(1),
                };
                self.granted(packet.return_codes().into_iter().map(granted)).await?;
            }
            Packet::V5_0Suback(packet) => {
                let granted = |code: SubackReasonCode| match code {
                    SubackReasonCode::GrantedQos0 => Some(0),
                    code => code.is_success().then_some(1),
                };
                self.granted(packet.reason_codes().into_iter().map(granted)).await?;
            }
            Packet::V3_1_1Unsuback(_) | Packet::V5_0Unsuback(_) => {}
            Packet::V3_1_1Pingresp(_) | Packet::V5_0Pingresp(_) => {}
            Packet::V5_0Disconnect(packet) => {
                let code = packet.reason_code().map(|code| format!(" ({code})")).unwrap_or_default();
                return Err(format!("it says goodbye{code}"));
            }
            _ => return Err("it sends what only a client may send".into()),
        }
        Ok(())
    }

    fn answered(&self, link: &Link, session: &Session, id: u16, taken: bool) {
        self.landed(session, id, taken);
        link.wake();
    }

    async fn speak(&self, link: &Link, writer: &mut Writer, keep_alive: Duration) -> String {
        let mut pings = interval_at(Instant::now() + keep_alive, keep_alive);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let session = self.session.borrow().clone();
            session.iter().for_each(|session| self.send_waiting(link, session));
            match writer.write(link).await {
                Ok(true) => {}
                Ok(false) => return "it is ended".into(),
                Err(error) => return error.to_string(),
            }
            tokio::select! {
                () = link.changed() => {}
                () = self.outward.changed() => {}
                _ = pings.tick() => {
                    if let Err(error) = link.send(ping(link.version())) {
                        return error.to_string();
                    }
                }
            }
        }
    }

    /// Subscribes to what is to come in, and no more to what came in by an earlier configuration.
    async fn ask(&self, link: &Link, present: bool) -> Result<(), String> {
        let (filters, mut known) = (self.names.filters(), self.remembered().await?);
        let of = self.session_name();
        let old: Vec<_> = match present && known.of == of {
            true => known.filters.iter().filter(|old| !filters.contains(old)).cloned().collect(),
            false => Vec::new(),
        };
        // Both, so that a crash on the way forgets none.
        known.filters = filters.iter().chain(&old).cloned().collect();
        known.of = of;
        self.remember(&known).await?;
        let version = link.version();
        if !old.is_empty() {
            send(link, |id| unsubscribe(version, id, &old))?;
        }
        if filters.is_empty() {
            self.told.metrics.connected.set(1);
            return Ok(());
        }
        send(link, |id| subscribe(version, id, &filters))
    }

    /// The broker has answered SUBSCRIBE: the QoS of each filter, or none.
    async fn granted(&self, all: impl Iterator<Item = Option<u8>>) -> Result<(), String> {
        let filters = self.names.filters();
        for (filter, granted) in filters.iter().zip(all) {
            match granted {
                Some(1) => {}
                Some(_) => tracing::warn!(filter, "the MQTT broker grants QoS 0 only: messages may be lost"),
                None => {
                    self.told.metrics.refused("in", "subscription");
                    tracing::error!(filter, "the MQTT broker refuses a subscription of `in`");
                }
            }
        }
        let known = self.remembered().await?;
        self.remember(&Remembered { of: self.session_name(), filters, ..known }).await?;
        self.told.metrics.connected.set(1);
        Ok(())
    }

    fn session_name(&self) -> String {
        format!("{} {}", self.config.url, self.config.client_id)
    }
}

fn send(link: &Link, make: impl FnOnce(u16) -> Made) -> Result<(), String> {
    match link.send_assured(make) {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!("what comes in cannot be asked for: {error}")),
        None => Err("no packet identifier is free".into()),
    }
}

/// QoS 1; with version 5, none of our own messages, retained ones as such, and once only.
fn subscribe(version: mqtt_protocol_core::mqtt::Version, id: u16, filters: &[String]) -> Made {
    let options = SubOpts::new().set_qos(Qos::AtLeastOnce);
    let five = options.set_nl(true).set_rap(true).set_rh(RetainHandling::SendRetainedIfNotExists);
    let options = if is_v5(version) { five } else { options };
    let entries: Result<Vec<_>, _> = filters.iter().map(|filter| SubEntry::new(&**filter, options)).collect();
    Ok(match is_v5(version) {
        true => v5_0::Subscribe::builder().packet_id(id).entries(entries?).build()?.into(),
        false => v3_1_1::Subscribe::builder().packet_id(id).entries(entries?).build()?.into(),
    })
}

fn unsubscribe(version: mqtt_protocol_core::mqtt::Version, id: u16, filters: &[String]) -> Made {
    let filters = filters.iter().map(String::as_str);
    Ok(match is_v5(version) {
        true => v5_0::Unsubscribe::builder().packet_id(id).entries(filters)?.build()?.into(),
        false => v3_1_1::Unsubscribe::builder().packet_id(id).entries(filters)?.build()?.into(),
    })
}

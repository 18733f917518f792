//! Messages on their way out.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, CorrelationData, GenericPacketTrait, MessageExpiryInterval, PayloadFormat,
    PayloadFormatIndicator, Properties, Property, ResponseTopic, SubscriptionIdentifier, UserProperty,
};
use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};
use weir_contract::packed::{self, tag};

use super::flight::{self, Sent};
use super::packet::{self, Outgoing};
use super::subscribe::{Subscriptions, Wanted};
use super::talk::Talk;
use crate::message::{Mark, Message, Routed, Wire, now_us};
use crate::persistent::Persistent;

/// How one message goes to one session.
struct Manner {
    qos: u8,
    retain: bool,
    /// Identifiers of the subscriptions that it matches.
    ids: Vec<u32>,
}

/// What became of a message.
pub(super) enum Delivered {
    /// It is on its way, and counted in flight if it is acknowledged.
    Yes,
    /// It is not for this client, or larger than it takes.
    No,
}

impl Talk {
    /// Sends a message in the manner that its subscriptions want.
    pub(super) fn deliver(&self, version: Version, routed: &Routed) -> Delivered {
        let Some(manner) = self.manner(routed) else {
            self.done(routed);
            return Delivered::No;
        };
        if manner.qos == 0 {
            let plain = !manner.retain && manner.ids.is_empty() && routed.expires_us.is_none();
            let delivered = self.deliver_at_most_once(version, routed, &manner, plain);
            self.done(routed);
            return delivered;
        }
        let sent = flight::sent(routed);
        if manner.qos == 2
            && let (Some(session), Some(sent)) = (&self.stay.session, &sent)
        {
            return self.deliver_exactly_once(session, version, routed, &manner, sent);
        }
        let again = is_again(routed);
        match self.link.send_assured(|id| make(version, routed, &manner, id, again)) {
            Some(Ok(id)) => {
                self.in_flight.lock().insert(id, sent);
                Delivered::Yes
            }
            Some(Err(error)) => {
                self.done(routed);
                unsent(&routed.message, error)
            }
            None => Delivered::No,
        }
    }

    /// Under the packet identifier that the message has had before, or under one that is on the disk before it is sent.
    fn deliver_exactly_once(
        &self,
        session: &Arc<Persistent>,
        version: Version,
        routed: &Routed,
        manner: &Manner,
        sent: &Sent,
    ) -> Delivered {
        let known = session.packet_of(sent);
        let Some(id) = known.or_else(|| self.link.acquire()) else { return Delivered::No };
        // With an identifier on the disk it has been sent, even if the router was killed before it was counted.
        let packet = make(version, routed, manner, id, known.is_some() || is_again(routed));
        let fits = packet.as_ref().is_ok_and(|packet| packet.size() <= self.most_bytes);
        let said = match known {
            _ if !fits => Err(MqttError::PacketTooLarge),
            Some(_) => self.link.send(packet),
            None => {
                let link = Arc::clone(&self.link);
                let send = move |result: Result<(), _>| {
                    if result.is_err() || link.send(packet).is_err() {
                        link.end(DisconnectReasonCode::ServerBusy, "");
                    }
                };
                session.put(id, sent.clone(), Box::new(send)).map_err(|error| {
                    self.link.give_back(id);
                    self.link.end(DisconnectReasonCode::ServerBusy, &error.to_string());
                    MqttError::ServerBusy
                })
            }
        };
        match said {
            Ok(()) => {
                self.in_flight.lock().insert(id, Some(sent.clone()));
                Delivered::Yes
            }
            Err(error) => {
                if !fits {
                    self.link.give_back(id);
                    session.forget(id);
                    self.done(routed);
                }
                unsent(&routed.message, error)
            }
        }
    }

    fn deliver_at_most_once(
        &self,
        version: Version,
        routed: &Routed,
        manner: &Manner,
        plain: bool,
    ) -> Delivered {
        let message = &routed.message;
        // The packet of a message that nothing is particular about is the same for all its readers.
        if plain {
            let frame = shared_packet(version, routed);
            if !frame.is_empty() && frame.len() <= self.most_bytes {
                self.link.push(&frame);
                return Delivered::Yes;
            }
        }
        match self.link.send(packet::publish(version, outgoing(version, message, manner, None))) {
            Ok(()) => Delivered::Yes,
            Err(error) => unsent(message, error),
        }
    }

    /// None: no subscription wants it.
    fn manner(&self, routed: &Routed) -> Option<Manner> {
        let message = &routed.message;
        let subscriptions = self.subscriptions.lock();
        let own = || packed::text(&message.meta, tag::SESSION) == Some(&*self.visit.session().id);
        let mut manner = Manner { qos: 0, retain: routed.mark == Mark::Retained, ids: Vec::new() };
        let mut wanted = false;
        for subscription in matching(&subscriptions, routed) {
            if subscription.no_local && own() {
                continue;
            }
            wanted = true;
            manner.qos = manner.qos.max(subscription.qos);
            manner.retain |= subscription.retain_as_published && message.is_retained();
            manner.ids.extend(subscription.id);
        }
        // What others than MQTT clients publish has no QoS of its own.
        if let Some([qos]) = packed::first(&message.meta, tag::QOS) {
            manner.qos = manner.qos.min(*qos);
        }
        wanted.then_some(manner)
    }
}

/// Those that want a message which comes in this way.
fn matching<'a>(subscriptions: &'a Subscriptions, routed: &'a Routed) -> impl Iterator<Item = &'a Wanted> {
    subscriptions.values().filter(move |wanted| match &routed.mark {
        Mark::Consumer { name, .. } => wanted.consumer.as_ref() == Some(name),
        _ if wanted.shared || !wanted.pattern.matches(&routed.message.topic) => false,
        Mark::Retained => true,
        // What a log keeps comes by the consumer.
        Mark::Live => wanted.consumer.is_none() || routed.place.is_none(),
    })
}

/// Whether it was handed to a client before, as far as is known.
fn is_again(routed: &Routed) -> bool {
    matches!(routed.mark, Mark::Consumer { delivery: 2.., .. })
}

fn make(version: Version, routed: &Routed, manner: &Manner, id: u16, again: bool) -> packet::Made {
    let id = NonZeroU16::new(id).ok_or(MqttError::PacketIdentifierInvalid)?;
    let out = outgoing(version, &routed.message, manner, Some((id, manner.qos == 2)));
    packet::publish(version, Outgoing { dup: again, ..out })
}

fn unsent(message: &Message, error: MqttError) -> Delivered {
    tracing::debug!(topic = %message.topic, ?error, "a message was not sent to an MQTT client");
    Delivered::No
}

/// The PUBLISH of QoS 0 that all readers of this version share, if nothing is particular about how the message goes to
/// them; encoded by the first that asks. Empty: no packet can carry this message.
pub fn shared_packet(version: Version, routed: &Routed) -> Bytes {
    let wire = if packet::is_v5(version) { Wire::Mqtt5 } else { Wire::Mqtt3 };
    routed.frame(wire, |routed| {
        let plain = Manner { qos: 0, retain: false, ids: Vec::new() };
        match packet::publish(version, outgoing(version, &routed.message, &plain, None)) {
            Ok(packet) => packet.to_continuous_buffer().into(),
            Err(_) => Bytes::new(),
        }
    })
}

fn outgoing<'a>(
    version: Version,
    message: &'a Message,
    manner: &Manner,
    assured: Option<(NonZeroU16, bool)>,
) -> Outgoing<'a> {
    let props = if packet::is_v5(version) { properties(message, &manner.ids) } else { Vec::new() };
    Outgoing {
        topic: &message.topic,
        payload: &message.payload,
        retain: manner.retain,
        dup: false,
        assured,
        props,
    }
}

/// The properties of a message, in the order in which its publisher gave them.
pub(crate) fn properties(message: &Message, ids: &[u32]) -> Properties {
    let mut all = Properties::new();
    for (found, value) in packed::publisher_fields(&message.meta) {
        all.extend(property(found, value));
    }
    all.extend(ids.iter().filter_map(|id| SubscriptionIdentifier::new(*id).ok().map(Property::from)));
    all
}

fn property(found: u8, value: &[u8]) -> Option<Property> {
    let text = || std::str::from_utf8(value).ok();
    match found {
        tag::CONTENT_TYPE => Some(ContentType::new(text()?).ok()?.into()),
        tag::REPLY_TO => Some(ResponseTopic::new(text()?).ok()?.into()),
        tag::CORRELATION => Some(CorrelationData::new(value.to_vec()).ok()?.into()),
        tag::HEADER | tag::USER_PROPERTY => {
            let (name, value) = packed::split_named(value)?;
            Some(UserProperty::new(name, value).ok()?.into())
        }
        tag::TEXT if value == [1] => Some(PayloadFormatIndicator::new(PayloadFormat::String).ok()?.into()),
        tag::EXPIRES_US => {
            let at = u64::from_le_bytes(value.try_into().ok()?);
            // What is left of it (MQTT 5 section 3.3.2.3.3), rounded up: it has not expired.
            let left = at.saturating_sub(now_us()).div_ceil(1_000_000);
            Some(MessageExpiryInterval::new(u32::try_from(left).unwrap_or(u32::MAX)).ok()?.into())
        }
        _ => None,
    }
}

//! Messages on their way out.

use std::num::NonZeroU16;

use bytes::Bytes;
use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::packet::{
    ContentType, CorrelationData, GenericPacketTrait, MessageExpiryInterval, PayloadFormat,
    PayloadFormatIndicator, Properties, Property, ResponseTopic, SubscriptionIdentifier, UserProperty,
};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use weir_contract::packed::{self, tag};

use super::packet::{self, Outgoing};
use super::subscribe::Subscriptions;
use super::talk::Talk;
use crate::message::{Mark, Message, Routed, Wire, now_us};

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
        let Some(manner) = self.manner(routed) else { return Delivered::No };
        if manner.qos == 0 {
            let plain = !manner.retain && manner.ids.is_empty() && routed.expires_us.is_none();
            return self.deliver_at_most_once(version, routed, &manner, plain);
        }
        let message = &routed.message;
        let make = |id: u16| {
            let id = NonZeroU16::new(id).ok_or(MqttError::PacketIdentifierInvalid)?;
            packet::publish(version, outgoing(version, message, &manner, Some((id, manner.qos == 2))))
        };
        match self.link.send_assured(make) {
            Some(Ok(id)) => {
                self.in_flight.lock().insert(id);
                Delivered::Yes
            }
            Some(Err(error)) => unsent(message, error),
            None => Delivered::No,
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
            let wire = if packet::is_v5(version) { Wire::Mqtt5 } else { Wire::Mqtt3 };
            let frame = routed.frame(wire, |_| encode(version, message, manner));
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
        for subscription in matching(&subscriptions, &message.topic) {
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

fn matching<'a>(
    subscriptions: &'a Subscriptions,
    topic: &str,
) -> impl Iterator<Item = &'a super::subscribe::Wanted> {
    subscriptions.values().filter(move |wanted| wanted.pattern.matches(topic))
}

fn unsent(message: &Message, error: MqttError) -> Delivered {
    tracing::debug!(topic = %message.topic, ?error, "a message was not sent to an MQTT client");
    Delivered::No
}

fn encode(version: Version, message: &Message, manner: &Manner) -> Bytes {
    match packet::publish(version, outgoing(version, message, manner, None)) {
        Ok(packet) => packet.to_continuous_buffer().into(),
        Err(_) => Bytes::new(),
    }
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
fn properties(message: &Message, ids: &[u32]) -> Properties {
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

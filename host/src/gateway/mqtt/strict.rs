//! What the protocol forbids and its decoder lets pass.

use mqtt_protocol_core::mqtt::packet::{Packet, Property, RetainHandling, SubEntry};
use mqtt_protocol_core::mqtt::result_code::MqttError;

use super::publish::Incoming;
use super::subscribe::SHARE;

/// The lower half of a packet's first byte (MQTT-2.1.3-1; in version 3.1.1, MQTT-2.2.2-2).
pub(super) fn check_flags(first: u8) -> Result<(), MqttError> {
    let flags = first & 0x0f;
    let right = match first >> 4 {
        // QoS 0 has no DUP (MQTT-3.3.1-2).
        3 => flags & 0x0e != 0x08,
        6 | 8 | 10 => flags == 2,
        _ => flags == 0,
    };
    if right { Ok(()) } else { Err(MqttError::MalformedPacket) }
}

/// Texts of a CONNECT (MQTT 1.5).
pub(super) fn check_connect(packet: &Packet) -> Option<()> {
    let texts = match packet {
        Packet::V3_1_1Connect(packet) => [Some(packet.client_id()), packet.will_topic(), packet.user_name()],
        Packet::V5_0Connect(packet) => [Some(packet.client_id()), packet.will_topic(), packet.user_name()],
        _ => return None,
    };
    (!texts.into_iter().flatten().any(|text| text.contains('\0'))).then_some(())
}

/// Names of topics (MQTT 4.7), and packet identifiers (MQTT 2.2.1).
pub(super) fn check_publish(incoming: &Incoming) -> Result<(), MqttError> {
    let topic = &incoming.publish.topic;
    if topic.contains('\0') || incoming.id == Some(0) {
        return Err(MqttError::MalformedPacket);
    }
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(MqttError::TopicNameInvalid);
    }
    Ok(())
}

/// Properties of a PUBLISH that no client may give (MQTT-3.3.4-6, MQTT-3.3.2-14).
pub(super) fn check_properties(props: &[Property]) -> Result<(), MqttError> {
    let forbidden = |property: &Property| match property {
        Property::SubscriptionIdentifier(_) => true,
        Property::ResponseTopic(topic) => topic.val().contains(['+', '#']),
        _ => false,
    };
    if props.iter().any(forbidden) { Err(MqttError::ProtocolError) } else { Ok(()) }
}

/// Filters and options of a SUBSCRIBE (MQTT-4.7.3-2, MQTT-3.8.3-4; in version 3.1.1, MQTT-3-8.3-4).
pub(super) fn check_entries(entries: &[SubEntry], is_v5: bool) -> Result<(), MqttError> {
    for entry in entries {
        let (filter, options) = (entry.topic_filter(), entry.sub_opts());
        let new = options.nl() || options.rap() || options.rh() != RetainHandling::SendRetained;
        if filter.contains('\0') || (new && !is_v5) {
            return Err(MqttError::MalformedPacket);
        }
        if options.nl() && filter.starts_with(SHARE) {
            return Err(MqttError::ProtocolError);
        }
    }
    Ok(())
}

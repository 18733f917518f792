//! What is published when a client goes without a word (MQTT 5 section 3.1.2.5).

use bytes::Bytes;
use mqtt_protocol_core::mqtt::packet::{Qos, v3_1_1, v5_0};

use super::publish::describe;
use crate::ingress::Publish;

/// A session ends with its connection, and so does every delay of a will.
pub(super) struct Will(pub(super) Publish);

impl Will {
    pub(super) fn early(packet: &v3_1_1::Connect) -> Option<Self> {
        let will = (packet.will_topic()?, packet.will_payload(), packet.will_qos(), packet.will_retain());
        Some(Self(message(will)))
    }

    pub(super) fn late(packet: &v5_0::Connect) -> Option<Self> {
        let will = (packet.will_topic()?, packet.will_payload(), packet.will_qos(), packet.will_retain());
        let mut publish = message(will);
        describe(&mut publish, packet.will_props());
        Some(Self(publish))
    }
}

fn message((topic, payload, qos, retain): (&str, Option<&[u8]>, Qos, bool)) -> Publish {
    Publish {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(payload.unwrap_or_default()),
        qos: Some(qos as u8),
        retain,
        ..Publish::default()
    }
}

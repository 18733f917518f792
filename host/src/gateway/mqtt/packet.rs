//! Packets in the words of both versions.

use std::num::NonZeroU16;

use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::packet::{
    GenericPacketTrait, Packet, Properties, Property, Qos, ReasonString, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, PubackReasonCode,
    PubcompReasonCode, PubrecReasonCode, SubackReasonCode, SubackReturnCode, UnsubackReasonCode,
};

/// Bytes of a reason string.
const REASON: usize = 512;

/// A packet that could not be made: a defect of ours.
pub(crate) type Made = Result<Packet, MqttError>;

pub(crate) fn is_v5(version: Version) -> bool {
    version == Version::V5_0
}

/// A text of the protocol may hold no NUL, and reasons are cut.
fn reasons(reason: &str) -> Properties {
    let cut = reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default().replace('\0', " ");
    match ReasonString::new(cut) {
        Ok(text) if !reason.is_empty() => vec![Property::from(text)],
        _ => Vec::new(),
    }
}

pub(super) fn connack(version: Version, code: ConnectReasonCode, present: bool, props: Properties) -> Made {
    if is_v5(version) {
        let made = v5_0::Connack::builder().session_present(present).reason_code(code).props(props);
        return Ok(made.build()?.into());
    }
    let code = match code {
        ConnectReasonCode::Success => ConnectReturnCode::Accepted,
        ConnectReasonCode::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
        ConnectReasonCode::BadUserNameOrPassword => ConnectReturnCode::BadUserNameOrPassword,
        ConnectReasonCode::NotAuthorized | ConnectReasonCode::Banned => ConnectReturnCode::NotAuthorized,
        ConnectReasonCode::UnsupportedProtocolVersion => ConnectReturnCode::UnacceptableProtocolVersion,
        _ => ConnectReturnCode::ServerUnavailable,
    };
    Ok(v3_1_1::Connack::builder().session_present(present).return_code(code).build()?.into())
}

pub(crate) fn puback(version: Version, id: u16, code: PubackReasonCode, reason: &str) -> Made {
    if !is_v5(version) {
        return Ok(v3_1_1::Puback::builder().packet_id(id).build()?.into());
    }
    let made = v5_0::Puback::builder().packet_id(id);
    Ok(match code {
        PubackReasonCode::Success => made.build()?.into(),
        code => made.reason_code(code).props(reasons(reason)).build()?.into(),
    })
}

pub(super) fn pubrec(version: Version, id: u16, code: PubrecReasonCode, reason: &str) -> Made {
    if !is_v5(version) {
        return Ok(v3_1_1::Pubrec::builder().packet_id(id).build()?.into());
    }
    let made = v5_0::Pubrec::builder().packet_id(id);
    Ok(match code {
        PubrecReasonCode::Success => made.build()?.into(),
        code => made.reason_code(code).props(reasons(reason)).build()?.into(),
    })
}

pub(super) fn pubrel(version: Version, id: u16) -> Made {
    Ok(match is_v5(version) {
        true => v5_0::Pubrel::builder().packet_id(id).build()?.into(),
        false => v3_1_1::Pubrel::builder().packet_id(id).build()?.into(),
    })
}

/// A PUBLISH of QoS 2 of which only the identifier counts, and the bytes of its PUBREC.
pub(super) fn placeholder(version: Version, id: u16) -> Result<(Packet, Vec<u8>), MqttError> {
    let id = NonZeroU16::new(id).ok_or(MqttError::PacketIdentifierInvalid)?;
    let out = Outgoing {
        topic: "-",
        payload: &[],
        retain: false,
        dup: false,
        assured: Some((id, true)),
        props: Vec::new(),
    };
    let pubrec = pubrec(version, id.get(), PubrecReasonCode::Success, "")?;
    Ok((publish(version, out)?, pubrec.to_continuous_buffer()))
}

/// `known`: whether the identifier was of a message that came in.
pub(super) fn pubcomp(version: Version, id: u16, known: bool) -> Made {
    if !is_v5(version) {
        return Ok(v3_1_1::Pubcomp::builder().packet_id(id).build()?.into());
    }
    let made = v5_0::Pubcomp::builder().packet_id(id);
    Ok(match known {
        true => made.build()?.into(),
        false => made.reason_code(PubcompReasonCode::PacketIdentifierNotFound).build()?.into(),
    })
}

pub(super) fn suback(version: Version, id: u16, codes: &[SubackReasonCode], reason: &str) -> Made {
    if is_v5(version) {
        let made = v5_0::Suback::builder().packet_id(id).reason_codes(codes.to_vec()).props(reasons(reason));
        return Ok(made.build()?.into());
    }
    let plain = |code: &SubackReasonCode| match code {
        SubackReasonCode::GrantedQos0 => SubackReturnCode::SuccessMaximumQos0,
        SubackReasonCode::GrantedQos1 => SubackReturnCode::SuccessMaximumQos1,
        SubackReasonCode::GrantedQos2 => SubackReturnCode::SuccessMaximumQos2,
        _ => SubackReturnCode::Failure,
    };
    let codes = codes.iter().map(plain).collect();
    Ok(v3_1_1::Suback::builder().packet_id(id).return_codes(codes).build()?.into())
}

pub(super) fn unsuback(version: Version, id: u16, codes: &[UnsubackReasonCode]) -> Made {
    Ok(match is_v5(version) {
        true => v5_0::Unsuback::builder().packet_id(id).reason_codes(codes.to_vec()).build()?.into(),
        false => v3_1_1::Unsuback::builder().packet_id(id).build()?.into(),
    })
}

/// Only version 5 has one from the server.
pub(super) fn disconnect(code: DisconnectReasonCode, reason: &str) -> Made {
    Ok(v5_0::Disconnect::builder().reason_code(code).props(reasons(reason)).build()?.into())
}

/// A PUBLISH on its way out.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    /// The packet identifier, and whether it is QoS 2; none: QoS 0.
    pub(crate) assured: Option<(NonZeroU16, bool)>,
    /// Of version 5.
    pub(crate) props: Properties,
}

pub(crate) fn publish(version: Version, out: Outgoing<'_>) -> Made {
    let qos = match out.assured {
        None => Qos::AtMostOnce,
        Some((_, false)) => Qos::AtLeastOnce,
        Some((_, true)) => Qos::ExactlyOnce,
    };
    let id = out.assured.map(|(id, _)| id.get());
    if is_v5(version) {
        let made = v5_0::Publish::builder().topic_name(out.topic)?.qos(qos).dup(out.dup).retain(out.retain);
        let made = made.packet_id(id).payload(out.payload).props(out.props);
        return Ok(made.build()?.into());
    }
    let made = v3_1_1::Publish::builder().topic_name(out.topic)?.qos(qos).dup(out.dup).retain(out.retain);
    Ok(made.packet_id(id).payload(out.payload).build()?.into())
}

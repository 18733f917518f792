//! CONNECT: who is let in, and what both sides may expect of each other.

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::packet::{
    AssignedClientIdentifier, Packet, Properties, Property, ReceiveMaximum, SessionExpiryInterval,
    TopicAliasMaximum, v3_1_1, v5_0,
};
use mqtt_protocol_core::mqtt::result_code::ConnectReasonCode;

use super::link::Link;
use super::stay::{self, Stay};
use super::talk::Talk;
use super::will::Will;
use super::{GATEWAY, Inner, Visitor, packet};
use crate::gateway::foreign::silent;
use crate::gateway::visit::Visit;
use crate::ingress::{Credential, Rejected};

/// Longest client identifier, in bytes.
const CLIENT_ID: usize = 128;
/// Longest password, in bytes.
const PASSWORD: usize = 8 * 1024;
/// Topic aliases that a client may give.
const ALIASES: u16 = 64;

/// What a CONNECT of either version says.
pub(super) struct Connect {
    version: Version,
    client_id: String,
    clean: bool,
    user: Option<String>,
    password: Option<Vec<u8>>,
    pub(super) will: Option<Will>,
    /// Of a packet that the client takes.
    pub(super) most_bytes: usize,
    /// PUBLISH packets of QoS 1 and 2 that it takes before it has acknowledged the first.
    pub(super) most_in_flight: usize,
    /// How long the session outlives the connection, in seconds.
    expiry_s: u32,
    authentication: bool,
}

impl Connect {
    /// None: the packet is another.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        match packet {
            Packet::V3_1_1Connect(packet) => Some(Self::early(packet)),
            Packet::V5_0Connect(packet) => Some(Self::late(packet)),
            _ => None,
        }
    }

    fn early(packet: &v3_1_1::Connect) -> Self {
        Self {
            version: Version::V3_1_1,
            client_id: packet.client_id().to_owned(),
            clean: packet.clean_session(),
            user: packet.user_name().map(str::to_owned),
            password: packet.password().map(<[u8]>::to_vec),
            will: Will::early(packet),
            most_bytes: usize::MAX,
            most_in_flight: usize::MAX,
            expiry_s: if packet.clean_session() { 0 } else { u32::MAX },
            authentication: false,
        }
    }

    fn late(packet: &v5_0::Connect) -> Self {
        Self {
            version: Version::V5_0,
            client_id: packet.client_id().to_owned(),
            clean: packet.clean_start(),
            user: packet.user_name().map(str::to_owned),
            password: packet.password().map(<[u8]>::to_vec),
            will: Will::late(packet),
            most_bytes: most_bytes(packet),
            most_in_flight: most_in_flight(packet),
            expiry_s: expiry(packet.props()).unwrap_or(0),
            authentication: packet.props().iter().any(|p| matches!(p, Property::AuthenticationMethod(_))),
        }
    }

    fn check(&self) -> Result<(), ConnectReasonCode> {
        if self.authentication {
            return Err(ConnectReasonCode::BadAuthenticationMethod);
        }
        let anonymous = self.client_id.is_empty() && !self.clean && self.version == Version::V3_1_1;
        if anonymous || self.client_id.len() > CLIENT_ID {
            return Err(ConnectReasonCode::ClientIdentifierNotValid);
        }
        if self.password.as_ref().is_some_and(|password| password.len() > PASSWORD) {
            return Err(ConnectReasonCode::BadUserNameOrPassword);
        }
        Ok(())
    }
}

fn most_bytes(packet: &v5_0::Connect) -> usize {
    let most = packet.props().iter().find_map(|property| match property {
        Property::MaximumPacketSize(bytes) => usize::try_from(bytes.val()).ok(),
        _ => None,
    });
    most.unwrap_or(usize::MAX)
}

fn most_in_flight(packet: &v5_0::Connect) -> usize {
    let most = packet.props().iter().find_map(|property| match property {
        Property::ReceiveMaximum(most) => Some(usize::from(most.val())),
        _ => None,
    });
    most.unwrap_or(usize::MAX)
}

/// How long a session is to outlive its connection, in seconds.
pub(super) fn expiry(props: &[Property]) -> Option<u32> {
    props.iter().find_map(|property| match property {
        Property::SessionExpiryInterval(seconds) => Some(seconds.val()),
        _ => None,
    })
}

/// As long as the router allows.
pub(super) fn granted(app: &Inner, expiry_s: u32) -> Duration {
    Duration::from_secs(expiry_s.into()).min(app.config.session_expiry_max)
}

/// Lets the client in, or says why not.
pub(super) async fn admit(
    app: &Arc<Inner>,
    link: &Arc<Link>,
    connect: Connect,
    visitor: &Visitor,
) -> Option<Talk> {
    let version = connect.version;
    let talk = match connect.check() {
        Ok(()) => enter(app, link, connect, visitor).await,
        Err(code) => Err(code),
    };
    match talk {
        Ok(talk) => Some(talk),
        Err(code) => {
            tracing::debug!(peer = %visitor.client.address, ?code, "an MQTT client was refused");
            let _ = link.send(packet::connack(version, code, false, Vec::new()));
            None
        }
    }
}

async fn enter(
    app: &Arc<Inner>,
    link: &Arc<Link>,
    mut connect: Connect,
    visitor: &Visitor,
) -> Result<Talk, ConnectReasonCode> {
    let assigned = connect.client_id.is_empty().then(|| ulid::Ulid::generate().to_string());
    let client_id = assigned.clone().unwrap_or(std::mem::take(&mut connect.client_id));
    let secret =
        connect.password.take().filter(|password| !password.is_empty()).map(|secret| ("password", secret));
    let given = connect.user.is_some() || secret.is_some();
    let number = if packet::is_v5(connect.version) { "5" } else { "3.1.1" };
    let scheme = if visitor.client.secure { "mqtts" } else { "mqtt" };
    let credential = Credential {
        gateway: GATEWAY,
        address: visitor.client.address.to_string(),
        tls_name: visitor.tls_name.as_deref().map(str::to_owned),
        user: connect.user.take(),
        client_id: Some(client_id.clone()),
        secret,
        attributes: vec![("mqtt-version".into(), number.into()), ("scheme".into(), scheme.into())],
    };
    let session = app.ingress.open(credential, Some(silent)).await.map_err(|rejected| match rejected {
        Rejected::Unauthenticated if given => ConnectReasonCode::BadUserNameOrPassword,
        Rejected::Unauthenticated | Rejected::Denied => ConnectReasonCode::NotAuthorized,
        Rejected::Busy => ConnectReasonCode::ServerBusy,
        Rejected::ShuttingDown => ConnectReasonCode::ServerUnavailable,
    })?;
    let visit = Visit::new(app.ingress.clone(), session);
    let seat = app.roster.take(&visit.session().principal, &client_id).await;
    let owner = stay::owner(&visit.session().principal, &client_id);
    app.wills.settle(&owner, connect.clean);
    let expires_after = granted(app, connect.expiry_s);
    let begun = Stay::begin(app, owner, connect.clean, expires_after);
    let (stay, present) = begun.map_err(|()| ConnectReasonCode::QuotaExceeded)?;
    let given = u32::try_from(expires_after.as_secs()).unwrap_or(u32::MAX);
    let props = promises(app, assigned.as_deref(), (given != connect.expiry_s).then_some(given));
    let said = link.send(packet::connack(connect.version, ConnectReasonCode::Success, present, props));
    said.map_err(|error| {
        tracing::debug!(?error, "the answer to CONNECT was not sent");
        ConnectReasonCode::UnspecifiedError
    })?;
    Ok(Talk::new(app, link, visit, (stay, seat), &mut connect))
}

/// What the client must know. Retained messages, wildcards, shared subscriptions and subscription identifiers need no word: they are there.
fn promises(app: &Inner, assigned: Option<&str>, expiry_s: Option<u32>) -> Properties {
    let id = assigned.and_then(|id| AssignedClientIdentifier::new(id).ok()).map(Property::from);
    let most = app.config.receive_maximum.get();
    let all = [
        expiry_s.and_then(|seconds| SessionExpiryInterval::new(seconds).ok()).map(Property::from),
        id,
        ReceiveMaximum::new(most).ok().map(Property::from),
        TopicAliasMaximum::new(ALIASES).ok().map(Property::from),
    ];
    all.into_iter().flatten().collect()
}

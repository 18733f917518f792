//! A new connection: TCP, TLS, CONNECT and its answer.

use std::sync::Arc;
use std::time::Duration;

use mqtt_protocol_core::mqtt::Version;
use mqtt_protocol_core::mqtt::packet::{Packet, Property, SessionExpiryInterval, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::link::Link;
use super::wire::{Reader, Stream, Writer};
use crate::config::MqttBridge;
use crate::gateway::mqtt::Made;

/// Until the broker has let us in.
const CONNECT: Duration = Duration::from_secs(15);

/// The broker has let us in.
pub(super) struct Connected {
    pub(super) link: Arc<Link>,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// It knew the session.
    pub(super) present: bool,
    /// At least so often it wants to hear something.
    pub(super) keep_alive: Duration,
}

/// Connects. The error says why not, and shows no password.
pub(super) async fn dial(bridge: &MqttBridge, link: Arc<Link>) -> Result<Connected, String> {
    match timeout(CONNECT, greet(bridge, link)).await {
        Ok(connected) => connected,
        Err(_) => Err(format!("no answer within {CONNECT:?}")),
    }
}

async fn greet(bridge: &MqttBridge, link: Arc<Link>) -> Result<Connected, String> {
    let (read, write) = tokio::io::split(stream(bridge).await?);
    let (mut reader, mut writer) = (Reader::new(read), Writer::new(write));
    link.send(connect(bridge, link.version())).map_err(|error| format!("no CONNECT can be made: {error}"))?;
    writer.write(&link).await.map_err(|error| error.to_string())?;
    let (present, keep_alive) = match reader.next(&link, CONNECT).await? {
        Packet::V3_1_1Connack(packet) => match packet.return_code() {
            ConnectReturnCode::Accepted => (packet.session_present(), None),
            code => return Err(refused(code as u8 == 4 || code as u8 == 5, &code)),
        },
        Packet::V5_0Connack(packet) => match packet.reason_code() {
            ConnectReasonCode::Success => (packet.session_present(), wanted(packet.props())),
            code => {
                let who = [ConnectReasonCode::BadUserNameOrPassword, ConnectReasonCode::NotAuthorized];
                return Err(refused(who.contains(&code), &code));
            }
        },
        _ => return Err("it answers CONNECT with another packet than CONNACK".into()),
    };
    let keep_alive = keep_alive.filter(|wanted| !wanted.is_zero()).unwrap_or(bridge.keep_alive);
    Ok(Connected { link, reader, writer, present, keep_alive })
}

fn refused(who: bool, code: &dyn std::fmt::Display) -> String {
    let hint = if who { ": are `username` and `password` of [bridge.mqtt] right?" } else { "" };
    format!("it refuses the connection ({code}){hint}")
}

/// The broker may want to hear something more often.
fn wanted(props: &[Property]) -> Option<Duration> {
    props.iter().find_map(|property| match property {
        Property::ServerKeepAlive(seconds) => Some(Duration::from_secs(seconds.val().into())),
        _ => None,
    })
}

fn connect(bridge: &MqttBridge, version: Version) -> Made {
    let keep_alive = u16::try_from(bridge.keep_alive.as_secs()).unwrap_or(u16::MAX);
    if version == Version::V5_0 {
        let seconds = if bridge.clean_start { 0 } else { bridge.session_expiry.as_secs() };
        let expiry = SessionExpiryInterval::new(u32::try_from(seconds).unwrap_or(u32::MAX))?;
        let mut made = v5_0::Connect::builder()
            .client_id(&*bridge.client_id)?
            .clean_start(bridge.clean_start)
            .keep_alive(keep_alive)
            .props(vec![Property::from(expiry)]);
        if let Some(name) = &bridge.username {
            made = made.user_name(&**name)?;
        }
        if let Some(password) = &bridge.password {
            made = made.password(password.as_str().as_bytes().to_vec())?;
        }
        return Ok(made.build()?.into());
    }
    let mut made = v3_1_1::Connect::builder()
        .client_id(&*bridge.client_id)?
        .clean_session(bridge.clean_start)
        .keep_alive(keep_alive);
    if let Some(name) = &bridge.username {
        made = made.user_name(&**name)?;
    }
    if let Some(password) = &bridge.password {
        made = made.password(password.as_str().as_bytes().to_vec())?;
    }
    Ok(made.build()?.into())
}

async fn stream(bridge: &MqttBridge) -> Result<Box<dyn Stream>, String> {
    let url = &bridge.url;
    let tcp = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|error| error.to_string())?;
    // Without it, small packets would wait for each other.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    if !url.tls {
        return Ok(Box::new(tcp));
    }
    // Read anew for each connection, since certificates are renewed.
    let configured = bridge.clone();
    let config = tokio::task::spawn_blocking(move || trust(&configured))
        .await
        .map_err(|error| error.to_string())??;
    let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
    let sealed = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    Ok(Box::new(sealed.map_err(|error| format!("TLS: {error}"))?))
}

fn trust(bridge: &MqttBridge) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let authorities = match bridge.authorities()? {
        Some(own) => own,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if roots.add_parsable_certificates(authorities).0 == 0 {
        return Err(
            "TLS: no authority is trusted: install ca-certificates, or write `ca` in [bridge.mqtt]".into()
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| format!("TLS: {error}"))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

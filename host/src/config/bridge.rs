//! `[bridge.mqtt]`: an MQTT broker whose client the router is.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::{Secret, file, unit};

const IN_FLIGHT: NonZeroU16 = NonZeroU16::new(64).unwrap();

/// Ways to routers of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bridge {
    /// An MQTT broker; none: there is none.
    pub mqtt: Option<MqttBridge>,
}

/// A broker whose client the router is. A topic there is `base_topic` and a name, here `local_prefix` and the same name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttBridge {
    /// Where it is.
    pub url: BrokerUrl,
    /// Certificates in PEM of the authorities that are trusted with `mqtts`; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The client identifier, under which the broker keeps the session; 1 to 256 bytes.
    pub client_id: String,
    /// None: the router does not say who it is.
    pub username: Option<String>,
    /// Beside a user name.
    pub password: Option<Secret>,
    /// 5, or 4 for MQTT 3.1.1.
    pub version: u8,
    /// Begins with a new session at every connection: what comes while there is none is lost.
    pub clean_start: bool,
    /// The router says something at least so often; 1 s to 65,535 s.
    #[serde(deserialize_with = "unit::duration")]
    pub keep_alive: Duration,
    /// How long the broker keeps the session without a connection, if it speaks version 5; 1 s to 30 days.
    #[serde(deserialize_with = "unit::duration")]
    pub session_expiry: Duration,
    /// What all topics at the broker begin with; a slash is appended if there is none.
    pub base_topic: String,
    /// What these topics begin with here instead; likewise.
    pub local_prefix: String,
    /// Patterns of names, of which messages come in.
    #[serde(rename = "in")]
    pub incoming: Vec<String>,
    /// Patterns of names, of which messages go out.
    #[serde(rename = "out")]
    pub outgoing: Vec<String>,
    /// Messages that the broker may send before the first is acknowledged; 1 to 65,535.
    pub receive_maximum: NonZeroU16,
    /// The same of what it is sent, unless it wants less; 1 to 10,000.
    pub max_in_flight: NonZeroU16,
    /// Longest pause after the first failed attempt to connect; doubled with each further one.
    #[serde(deserialize_with = "unit::duration")]
    pub first_pause: Duration,
    /// Longest pause of all.
    #[serde(deserialize_with = "unit::duration")]
    pub longest_pause: Duration,
}

impl Default for MqttBridge {
    fn default() -> Self {
        Self {
            url: BrokerUrl { host: "127.0.0.1".into(), port: 1883, tls: false },
            ca: None,
            client_id: "server".into(),
            username: None,
            password: None,
            version: 5,
            clean_start: false,
            keep_alive: Duration::from_secs(60),
            session_expiry: Duration::from_secs(7 * 24 * 3_600),
            base_topic: String::new(),
            local_prefix: String::new(),
            incoming: Vec::new(),
            outgoing: Vec::new(),
            receive_maximum: IN_FLIGHT,
            max_in_flight: IN_FLIGHT,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(256),
        }
    }
}

impl MqttBridge {
    /// [`base_topic`](Self::base_topic), with its slash.
    pub fn base(&self) -> String {
        with_slash(&self.base_topic)
    }

    /// The certificates in [`ca`](Self::ca); none: it is not given. The error names the file. Blocks.
    pub fn authorities(&self) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let wrong = |what: String| format!("{}: {what}", ca.display());
        let text = file::read(ca).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match all {
            Ok(all) if all.is_empty() => Err(wrong("there is no certificate in it".into())),
            Ok(all) => Ok(Some(all)),
            Err(_) => Err(wrong("it is not PEM".into())),
        }
    }

    /// [`local_prefix`](Self::local_prefix), with its slash.
    pub fn prefix(&self) -> String {
        with_slash(&self.local_prefix)
    }
}

fn with_slash(start: &str) -> String {
    match start {
        "" => String::new(),
        whole if whole.ends_with('/') => whole.to_owned(),
        bare => format!("{bare}/"),
    }
}

/// `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerUrl {
    /// A name, or an address; that of IPv6 without brackets.
    pub host: String,
    /// 1883, or 8883 with TLS, unless it is given.
    pub port: u16,
    /// Whether it is `mqtts`.
    pub tls: bool,
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls } = self;
        let scheme = if *tls { "mqtts" } else { "mqtt" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl FromStr for BrokerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What stands before an @ may be a password, and is not shown.
        if text.contains('@') {
            return Err("a URL without user and password is expected: they have keys of their own".into());
        }
        let wrong = || format!("found {text:?}, expected \"mqtt://HOST:PORT\" or \"mqtts://HOST:PORT\"");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (tls, port) = match uri.scheme_str() {
            Some("mqtt") => (false, 1883),
            Some("mqtts") => (true, 8883),
            _ => return Err(wrong()),
        };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port().map_or(Some(port), |given| Some(given.as_u16()).filter(|port| *port != 0));
        match port {
            Some(port) if !host.is_empty() && matches!(uri.path(), "" | "/") && uri.query().is_none() => {
                Ok(Self { host: host.to_owned(), port, tls })
            }
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for BrokerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_named_by_its_url() {
        for (text, whole) in [
            ("mqtt://broker", "mqtt://broker:1883"),
            ("mqtts://broker/", "mqtts://broker:8883"),
            ("mqtt://10.0.0.1:1884", "mqtt://10.0.0.1:1884"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().to_string(), whole, "{text}");
        }
        for bad in [
            "",
            "broker",
            "broker:1883",
            "http://broker",
            "mqtt://",
            "mqtt://b/x",
            "mqtt://b:0",
            "mqtt://b?x",
        ] {
            assert!(bad.parse::<BrokerUrl>().unwrap_err().contains("expected"), "{bad}");
        }
        let said = "mqtt://ada:hush@broker".parse::<BrokerUrl>().unwrap_err();
        assert!(!said.contains("hush"), "{said}");
    }
}

//! The native protocol from a client's side, as `docs/protocol.md` describes it: [`Socket`] for WebSocket,
//! [`Http`] for single requests.

mod http;
mod socket;

pub use http::{Http, Reply};
pub use socket::{Frame, Publish, Socket};

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long connecting may take, and so may any one request or answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Who we are, and where the router is.
#[derive(Clone, Debug)]
pub struct Login {
    /// The router.
    pub endpoint: Endpoint,
    /// The key. Sent as a header, never in an address, so that no proxy writes it down.
    pub key: String,
    /// Our own name. A claim: with the stock plugin `api-key`, the key's account decides.
    pub name: String,
    /// `device`, `page`, `sensor` or `service`; likewise a claim.
    pub origin: &'static str,
}

impl Login {
    /// A path of the router with our claims behind it.
    fn claims(&self, path: &str) -> String {
        let separator = if path.contains('?') { '&' } else { '?' };
        format!("{path}{separator}client_id={}&origin={}", escape(&self.name), self.origin)
    }
}

/// Host and port of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.0
    }

    /// A connection; small messages leave at once.
    async fn connect(&self) -> Result<TcpStream> {
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(&self.0)).await;
        let stream = connecting
            .map_err(|_| anyhow!("no answer within {} s", PATIENCE.as_secs()))
            .and_then(|connected| Ok(connected?))
            .with_context(|| format!("connecting to the router at {}", self.0))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    /// `ws://HOST:PORT` or `http://HOST:PORT`; a path behind it is the protocol's business and is left out.
    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            bail!("{text:?} is no address: accepted are ws://HOST:PORT and http://HOST:PORT");
        };
        if !matches!(scheme, "ws" | "http") {
            bail!("{scheme}:// is not spoken here, only ws:// and http://: put a proxy in front for TLS");
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains(['@', ' ']) {
            bail!("{text:?} names no host: accepted are ws://HOST:PORT and http://HOST:PORT");
        }
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        Ok(Self(if port.is_some() { authority.to_owned() } else { format!("{authority}:80") }))
    }
}

/// What the router says to a publish or another request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Whether there is nothing to mend or repeat.
    pub ok: bool,
    /// One of the protocol's outcomes; empty in answers that have none.
    pub outcome: String,
    /// In words; empty when there is nothing to say.
    pub reason: String,
    /// Place in the payload, a JSON Pointer.
    pub path: Option<String>,
    /// What a query found.
    pub items: Vec<Value>,
}

impl Answer {
    /// The message is in.
    pub fn accepted(&self) -> bool {
        self.outcome == "accepted"
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let outcome = if self.outcome.is_empty() { "no outcome" } else { &self.outcome };
        f.write_str(outcome)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        match self.path.as_deref() {
            Some(path) if !path.is_empty() => write!(f, " (at {path})"),
            _ => Ok(()),
        }
    }
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Its topic.
    pub topic: String,
    /// The publisher's principal, as the router knows it.
    pub from: String,
    /// The payload, if it is JSON.
    pub data: Option<Value>,
    /// When the frame was read, by [`crate::clock`].
    pub received_us: u64,
}

/// Percent-encodes what a query parameter cannot hold.
pub(crate) fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, authority) in [
            ("ws://127.0.0.1:8080", "127.0.0.1:8080"),
            ("ws://localhost:1/v1/ws?x=1", "localhost:1"),
            ("http://[::1]:80/", "[::1]:80"),
            ("http://weir.example", "weir.example:80"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().authority(), authority, "{text}");
        }
        for text in ["127.0.0.1:8080", "wss://a", "ws://", "ws:///v1/ws", "http://user@host"] {
            text.parse::<Endpoint>().unwrap_err();
        }
    }

    #[test]
    fn names_cannot_add_parameters() {
        let endpoint = "ws://h:1".parse().unwrap();
        let login = Login { endpoint, key: String::new(), name: "a&b=ü/+".into(), origin: "page" };
        assert_eq!(login.claims("/v1/ws"), "/v1/ws?client_id=a%26b%3D%C3%BC/%2B&origin=page");
        assert_eq!(login.claims("/x?y=1"), "/x?y=1&client_id=a%26b%3D%C3%BC/%2B&origin=page");
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let text = r#"{"ok":false,"outcome":"invalid","reason":"must be a number","path":"/load","more":1}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.to_string(), "invalid: must be a number (at /load)");
    }
}

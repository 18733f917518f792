//! The native protocol over WebSocket, as `weir pub` and `weir sub` speak it (`docs/protocol.md`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::{SinkExt, StreamExt};
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::link::{self, Link};
use super::settings::{Place, reachable};
use crate::config::Site;
use crate::telemetry::escape;

/// From the first packet to the end of the handshake.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
const PATH: &str = "/v1/ws";

/// Which router, and as whom.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Router [default: the configuration's http listener]
    #[arg(long, value_name = "ws[s]://HOST:PORT", env = "WEIR_URL")]
    url: Option<String>,
    /// API key; the environment keeps it out of the list of processes
    #[arg(long, value_name = "KEY", env = "WEIR_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Configuration file [default: weir.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// As for `weir serve`, so that both can share an environment.
    #[arg(long, env = "WEIR_HTTP", hide = true)]
    http: Option<SocketAddr>,
}

/// An open connection.
pub(super) struct Socket {
    stream: WebSocketStream<Link>,
    /// Where it goes, for messages.
    pub(super) host: String,
}

impl Target {
    pub(super) async fn connect(&self) -> anyhow::Result<Socket> {
        let (uri, site) = self.place()?;
        let host = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
        let request = self.request(uri.clone())?;
        let connecting = connect(&uri, site.as_ref(), request, &host);
        let stream = tokio::time::timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| anyhow!("{host} did not answer within {CONNECT_DEADLINE:?}"))??;
        Ok(Socket { stream, host })
    }

    /// What to call, and how it is reached if it is the configuration's own listener.
    fn place(&self) -> anyhow::Result<(Uri, Option<Site>)> {
        if let Some(url) = &self.url {
            return Ok((parse(url)?, None));
        }
        let place = Place { config: self.config.clone(), ..Place::default() };
        let mut site = place.load()?.http.site();
        site.listen = reachable(self.http.unwrap_or(site.listen));
        let scheme = if site.tls.is_some() { "wss" } else { "ws" };
        let uri = parse(&format!("{scheme}://{}{}{PATH}", site.listen, site.base_path.as_str()))?;
        Ok((uri, Some(site)))
    }

    fn request(&self, uri: Uri) -> anyhow::Result<Request> {
        let mut request = uri.into_client_request()?;
        if let Some(key) = &self.key {
            let mut value = HeaderValue::from_str(key).map_err(|_| {
                anyhow!("the key contains characters that no key has: check --key or WEIR_KEY")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert("x-api-key", value);
        }
        Ok(request)
    }
}

/// `ws://HOST:PORT` or `wss://HOST:PORT`, also as `http://` or `https://` and without a path.
fn parse(url: &str) -> anyhow::Result<Uri> {
    let expected = || anyhow!("--url {url:?}: expected ws://HOST:PORT or wss://HOST:PORT{PATH}");
    let (scheme, rest) = url.split_once("://").ok_or_else(expected)?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return Err(expected()),
    };
    let uri: Uri = format!("{scheme}://{rest}").parse().map_err(|_| expected())?;
    let authority = uri.authority().ok_or_else(expected)?;
    match uri.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => format!("{scheme}://{authority}{PATH}").parse().map_err(|_| expected()),
        _ => Ok(uri),
    }
}

async fn connect(
    uri: &Uri,
    site: Option<&Site>,
    request: Request,
    host: &str,
) -> anyhow::Result<WebSocketStream<Link>> {
    let failed = |error: &dyn std::fmt::Display| {
        anyhow!("cannot connect to {host}: {error}; is `weir serve` running? --url tells where")
    };
    let stream = match site {
        Some(site) => link::own(site).await.map_err(|error| failed(&error))?,
        None => {
            let name = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let secure = uri.scheme_str() == Some("wss");
            let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
            let stream = TcpStream::connect((name, port)).await.map_err(|error| failed(&error))?;
            match secure {
                true => link::known(name, stream).await.map_err(|error| failed(&error))?,
                false => Box::new(stream),
            }
        }
    };
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((stream, _)) => Ok(stream),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(refused(response.status(), body, host))
        }
        Err(error) => Err(anyhow!("what listens on {host} speaks no WebSocket: {error}")),
    }
}

/// Why the router did not upgrade the connection.
fn refused(status: StatusCode, body: &[u8], host: &str) -> anyhow::Error {
    let reason = serde_json::from_slice::<Frame<'_>>(body).ok().and_then(|frame| frame.reason);
    match (status, reason) {
        (StatusCode::UNAUTHORIZED, _) => {
            anyhow!("{host} wants a valid API key: give it as WEIR_KEY or --key; `weir key create` makes one")
        }
        (_, Some(reason)) => anyhow!("{host} refused the connection ({status}): {}", escape(&reason)),
        (_, None) => anyhow!("{host} refused the connection ({status})"),
    }
}

impl Socket {
    pub(super) async fn send(&mut self, frame: &serde_json::Value) -> anyhow::Result<()> {
        self.send_text(frame.to_string()).await
    }

    pub(super) async fn send_text(&mut self, frame: String) -> anyhow::Result<()> {
        let sent = self.stream.send(Message::text(frame)).await;
        sent.with_context(|| format!("cannot send to {}", self.host))
    }

    /// The next frame of the router.
    pub(super) async fn receive(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(Some(close)))) => {
                    bail!("{} closed the connection: {} {}", self.host, close.code, escape(&close.reason))
                }
                Some(Ok(Message::Close(None))) | None => bail!("{} closed the connection", self.host),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(anyhow!("the connection to {} broke: {error}", self.host)),
            }
        }
    }

    /// Says goodbye; the answer is not waited for.
    pub(super) async fn close(mut self) {
        // The work is done: a peer that is gone already changes nothing.
        let _ = self.stream.close(None).await;
    }
}

/// Anything that the router says.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Frame<'a> {
    pub(super) event: Option<String>,
    pub(super) id: Option<u64>,
    pub(super) ok: Option<bool>,
    pub(super) outcome: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) path: Option<String>,
    pub(super) level: Option<String>,
    pub(super) note: Option<String>,
    #[serde(default)]
    pub(super) messages: Vec<Placed>,
    pub(super) topic: Option<String>,
    pub(super) time_us: Option<u64>,
    pub(super) from: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) data: Option<&'a serde_json::value::RawValue>,
    pub(super) text: Option<String>,
    pub(super) base64: Option<String>,
    #[serde(borrow)]
    pub(super) reply: Option<&'a serde_json::value::RawValue>,
}

/// One message that a publish became.
#[derive(Debug, Deserialize)]
pub(super) struct Placed {
    pub(super) topic: String,
    pub(super) log: Option<String>,
    pub(super) epoch: Option<u64>,
    pub(super) offset: Option<u64>,
}

/// A payload `null` is a payload, not the absence of one.
fn present<'de, D: serde::Deserializer<'de>>(
    input: D,
) -> Result<Option<&'de serde_json::value::RawValue>, D::Error> {
    Deserialize::deserialize(input).map(Some)
}

impl<'a> Frame<'a> {
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| anyhow!("the router sent what this version cannot read: {error}"))
    }

    /// Outcome and reason, for an answer that is a "no".
    pub(super) fn refusal(&self) -> String {
        let outcome = self.outcome.as_deref().unwrap_or("refused");
        let mut text = outcome.to_owned();
        for part in [&self.reason, &self.path].into_iter().flatten().filter(|part| !part.is_empty()) {
            text.push_str(": ");
            text.push_str(&escape(part));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, wanted) in [
            ("ws://a:1", "ws://a:1/v1/ws"),
            ("http://a:1/", "ws://a:1/v1/ws"),
            ("https://a", "wss://a/v1/ws"),
            ("wss://a:1/weir/v1/ws", "wss://a:1/weir/v1/ws"),
            ("ws://[::1]:8080", "ws://[::1]:8080/v1/ws"),
            ("ws://a:1/elsewhere?x=1", "ws://a:1/elsewhere?x=1"),
        ] {
            assert_eq!(parse(url).unwrap().to_string(), wanted);
        }
        for bad in ["a:1", "ftp://a", "ws://", "ws://a b", "ws:///x"] {
            assert!(parse(bad).unwrap_err().to_string().contains("expected ws://HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn null_is_a_payload() {
        assert_eq!(Frame::parse(r#"{"data":null}"#).unwrap().data.unwrap().get(), "null");
        assert!(Frame::parse(r#"{"text":"a"}"#).unwrap().data.is_none());
    }
}

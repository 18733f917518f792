//! What a connection passes before HTTP begins: its first byte in time, the PROXY protocol, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, StatusCode, Uri};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::forwarded::{self, Client};
use super::lease::{Base, Peer, Port, Secure};
use super::listen::Deadlines;
use super::proxy_protocol;
use super::reply;
use super::stall::Stall;
use super::stream::Stream;
use super::tcp::Tcp;
use super::tls::Certificates;
use crate::config::{BasePath, Proxy, Site, TlsError};
use crate::metrics::{CertificateMetrics, Metrics};

/// How long the answer to plain HTTP may take on its way, where TLS is spoken.
const FAREWELL: Duration = Duration::from_secs(1);

/// A listener and what its connections pass.
pub struct Door {
    pub(super) listener: TcpListener,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) counted: CertificateMetrics,
    pub(super) rules: Rules,
}

/// What every connection has of its door.
#[derive(Clone)]
pub(super) struct Rules(Arc<Inner>);

struct Inner {
    tls: Option<TlsAcceptor>,
    site: Site,
    proxy: Proxy,
}

/// Why a listener cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Its certificate or key.
    #[error("the certificate of the listener {listener}: {error}")]
    Certificate {
        /// The listener.
        listener: &'static str,
        /// What is wrong with it.
        error: TlsError,
    },
    /// TLS itself.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Door {
    /// Reads the certificate, if the listener has one: blocks for as long.
    pub fn open(listener: TcpListener, site: Site, proxy: &Proxy) -> Result<Self, DoorError> {
        let name = site.name;
        let certificates = site.tls.as_ref().map(|files| Certificates::load(name, files)).transpose();
        let certificates = certificates.map_err(|error| DoorError::Certificate { listener: name, error })?;
        let tls = certificates.as_ref().map(Certificates::acceptor).transpose()?;
        let rules = Rules(Arc::new(Inner { tls, site, proxy: proxy.clone() }));
        Ok(Self { listener, certificates, counted: CertificateMetrics::default(), rules })
    }

    /// Counts new certificates there.
    pub fn counted(mut self, metrics: &Metrics) -> Self {
        if self.certificates.is_some() {
            self.counted = metrics.certificate(self.name());
        }
        self
    }

    /// The listener's name.
    pub fn name(&self) -> &'static str {
        self.rules.0.site.name
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Rules {
    /// Whether the first bytes of a connection are HTTP, so that it may be answered at once.
    pub(super) fn is_plain(&self) -> bool {
        self.0.tls.is_none()
    }

    /// Whether requests of this peer may come from others.
    pub(super) fn is_proxy(&self, peer: &Client) -> bool {
        forwarded::is_trusted(&self.0.proxy, peer.address)
    }

    /// What HTTP is spoken on, and with whom. None: the connection ends here.
    pub(super) async fn enter(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        deadlines: Deadlines,
    ) -> Option<(Stream, Client)> {
        first_byte(&stream, deadlines.first_byte).await?;
        let secure = self.0.tls.is_some();
        let mut client = Client { address: address.ip().to_canonical(), port: address.port(), secure };
        if self.0.site.proxy_protocol {
            let named = Box::pin(self.named(&mut stream, &client, deadlines.headers)).await?;
            if let Some(named) = named {
                (client.address, client.port) = (named.ip().to_canonical(), named.port());
            }
        }
        let stream = match &self.0.tls {
            None => Stream::Plain(Stall::new(Tcp::new(stream), deadlines.write)),
            Some(tls) => Box::pin(seal(tls, stream, &client, deadlines)).await?,
        };
        Some((stream, client))
    }

    /// Whom a proxy speaks for: itself, if it names nobody. The outer None: the connection ends here.
    async fn named(
        &self,
        stream: &mut TcpStream,
        peer: &Client,
        deadline: Duration,
    ) -> Option<Option<SocketAddr>> {
        if !forwarded::is_trusted(&self.0.proxy, peer.address) {
            tracing::debug!(peer = %peer.address, "connection refused: its peer is no proxy of [proxy] trusted");
            return None;
        }
        let error = match tokio::time::timeout(deadline, proxy_protocol::read(stream)).await {
            Ok(Ok(named)) => return Some(named),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the header of the PROXY protocol did not come in time".into(),
        };
        tracing::debug!(peer = %peer.address, error, "connection refused");
        None
    }

    /// Fits the request to what handlers expect: whom it comes from, and a path without the listener's own. The error is
    /// the answer to be given.
    #[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
    pub(super) fn admit(&self, client: Client, request: &mut Request<Body>) -> Result<(), Response> {
        let client = forwarded::client(&self.0.proxy, client, request.headers());
        request.extensions_mut().insert(Peer(client.address));
        request.extensions_mut().insert(Port(client.port));
        request.extensions_mut().insert(Secure(client.secure));
        let base = &self.0.site.base_path;
        if base.as_str().is_empty() {
            return Ok(());
        }
        match below(base, request.uri()) {
            Some(uri) => {
                *request.uri_mut() = uri;
                request.extensions_mut().insert(Base(base.clone()));
            }
            None => {
                let reason = format!("no such path: this listener answers below {base}");
                return Err(reply::fault(StatusCode::NOT_FOUND, "not-found", &reason));
            }
        }
        Ok(())
    }
}

/// The request's target without the base path.
fn below(base: &BasePath, uri: &Uri) -> Option<Uri> {
    let rest = base.strip(uri.path())?;
    let rest = if rest.is_empty() { "/" } else { rest };
    let target = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Waits for the first byte, which stays where it is.
async fn first_byte(stream: &TcpStream, deadline: Duration) -> Option<u8> {
    let mut first = [0];
    let peeked = tokio::time::timeout(deadline, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1..))).then_some(first[0])
}

/// TLS. What is plain HTTP is told so.
async fn seal(
    tls: &TlsAcceptor,
    mut stream: TcpStream,
    client: &Client,
    deadlines: Deadlines,
) -> Option<Stream> {
    let first = first_byte(&stream, deadlines.first_byte).await?;
    if first.is_ascii_alphabetic() {
        tracing::debug!(peer = %client.address, "connection refused: it is not TLS");
        // Whether it is heard is the peer's business.
        drop(tokio::time::timeout(FAREWELL, farewell(&mut stream)).await);
        return None;
    }
    let stream = Stall::new(Tcp::new(stream), deadlines.write);
    let error = match tokio::time::timeout(deadlines.headers, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Stream::Sealed(Box::new(stream))),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it was not done in time".into(),
    };
    tracing::debug!(peer = %client.address, error, "a TLS handshake failed");
    None
}

/// Sent to who speaks plain HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    connection: close\r\ncontent-length: 80\r\n\r\n\
    {\"ok\":false,\"outcome\":\"invalid\",\"reason\":\"this port speaks TLS: call it https\"}\n";

/// Answers, and reads on until the peer has had the time to read it: closing over what was not read would take the
/// answer back.
async fn farewell(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    let mut space = [0; 1024];
    while stream.read(&mut space).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_away_and_nothing_else() {
        let of =
            |uri: &str| below(&"/weir".parse().unwrap(), &uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(of("/weir/v1/ws?a=%2Fweir").as_deref(), Some("/v1/ws?a=%2Fweir"));
        assert_eq!(of("/weir").as_deref(), Some("/"));
        assert_eq!(of("/weir?x").as_deref(), Some("/?x"));
        assert_eq!(of("http://h:1/weir/%2e/x").as_deref(), Some("http://h:1/%2e/x"));
        assert_eq!(of("/weird").as_deref(), None);
        assert_eq!(of("*").as_deref(), None);
    }

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}

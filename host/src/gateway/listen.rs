//! The accept loop under every HTTP listener. It is our own because `axum::serve` has no deadline for a peer
//! that sends its request byte by byte, or never.

use std::future::ready;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tower::Service;

use super::Service as Spoken;
use super::door::{Door, Rules};
use super::forwarded::Client;
use super::keepalive::keep_alive;
use super::lease::{Ending, Lease, TlsName};
use super::stream::Stream;
use crate::config::Limits;

/// What hyper reads from and writes to, and hands over on an upgrade.
pub(super) type Socket = TokioIo<Stream>;

/// Bytes of a request's head: a key may take 8 KiB of them.
pub(super) const HEAD_BYTES: usize = 32 * 1024;

/// Pause after a failed accept that waiting may cure (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often a listener that ends looks whom it still waits for.
const DRAIN_LOOK: Duration = Duration::from_millis(200);

/// Sent by HTTP without reading the request, when all places are taken.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 76\r\n\r\n\
    {\"ok\":false,\"outcome\":\"overloaded\",\"reason\":\"too many connections are open\"}";

/// What is spoken behind a door.
pub(super) trait Speaker: Clone + Send + 'static {
    /// Sent to a peer for which there is no place.
    const FULL: &'static [u8];

    /// Speaks until the connection has ended.
    fn speak(self, entered: Entered, lease: Lease, deadlines: Deadlines) -> impl Future<Output = ()> + Send;
}

/// A connection that has passed the door.
pub(super) struct Entered {
    pub(super) stream: Stream,
    pub(super) client: Client,
    pub(super) rules: Rules,
}

/// Serves behind `door` until `shutdown`, then returns when every connection has ended, WebSockets included, or after
/// `limits.drain`. Requests of HTTP carry a [`Peer`](super::Peer).
pub async fn serve(door: Door, service: Spoken, limits: &Limits, shutdown: CancellationToken) {
    match service {
        Spoken::Http(router) => accept_all(door, Http(router), limits, shutdown).await,
        Spoken::Mqtt(app) => {
            let reporting = app.clone();
            tokio::select! {
                () = accept_all(door, app, limits, shutdown) => {}
                () = reporting.report() => {}
            }
        }
    }
}

async fn accept_all<S: Speaker>(door: Door, speaker: S, limits: &Limits, shutdown: CancellationToken) {
    let Door { listener, certificates, counted, rules } = door;
    let follow = certificates.map(|shown| AbortOnDropHandle::new(tokio::spawn(shown.follow(counted))));
    if let Err(error) = keep_alive(&listener) {
        tracing::warn!(%error, "peers that vanish without a word will not be noticed");
    }
    let ending = Ending { shutdown, ..Ending::default() };
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let deadlines = Deadlines { first_byte: limits.first_byte, headers: limits.headers, write: limits.write };
    loop {
        let (stream, address) = tokio::select! {
            biased;
            () = ending.shutdown.cancelled() => break,
            accepted = accept(&listener) => accepted,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(peer = %address.ip(), "connection refused: all places are taken");
            if rules.is_plain() {
                // As far as it goes: a peer that is not told in one packet is not waited for.
                let _ = stream.try_write(S::FULL);
            }
            continue;
        };
        let lease = Lease::new(place, ending.clone());
        let entering = (stream, address, rules.clone());
        let connection = connection(entering, speaker.clone(), lease.clone(), deadlines);
        lease.spawn(connection);
    }
    drop((listener, follow));
    ending.tasks.close();
    if tokio::time::timeout(limits.drain, drained(&ending)).await != Ok(true) {
        tracing::warn!(
            connections = ending.tasks.len(),
            "connections did not end in time, or take nothing, and are cut"
        );
        ending.abort.cancel();
        ending.tasks.wait().await;
    }
}

/// Waits until every connection has ended. False: those that are left take nothing, and are not worth a longer stop.
async fn drained(ending: &Ending) -> bool {
    loop {
        tokio::select! {
            () = ending.tasks.wait() => return true,
            () = tokio::time::sleep(DRAIN_LOOK) => {}
        }
        if ending.only_stuck() {
            return ending.tasks.is_empty();
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) first_byte: Duration,
    pub(super) headers: Duration,
    pub(super) write: Duration,
}

/// The next connection. Errors concern one peer or pass with time: the loop must outlive them.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_the_peers(&error) => tracing::debug!(%error, "a connection ended too early"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_peers(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Passes the door, and speaks.
async fn connection<S: Speaker>(
    (stream, address, rules): (TcpStream, SocketAddr, Rules),
    speaker: S,
    lease: Lease,
    deadlines: Deadlines,
) {
    // Frames are gathered before they are written, so waiting for more to gather only adds delay.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let entered = tokio::select! {
        entered = rules.enter(stream, address, deadlines) => entered,
        () = lease.shutdown() => None,
    };
    let Some((stream, client)) = entered else { return };
    speaker.speak(Entered { stream, client, rules }, lease, deadlines).await;
}

/// HTTP/1.1, until the connection ends or is upgraded.
#[derive(Clone)]
struct Http(Router);

impl Speaker for Http {
    const FULL: &'static [u8] = FULL;

    async fn speak(self, entered: Entered, lease: Lease, deadlines: Deadlines) {
        converse(self.0, entered, lease, deadlines).await;
    }
}

async fn converse(router: Router, entered: Entered, lease: Lease, deadlines: Deadlines) {
    let Entered { stream, client, rules } = entered;
    let (held, watch, name) = (lease.clone(), stream.watch(), stream.tls_name().map(TlsName));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(held.clone());
        request.extensions_mut().insert(watch.clone());
        if let Some(name) = name.as_ref().filter(|_| !rules.is_proxy(&client)) {
            request.extensions_mut().insert(name.clone());
        }
        match rules.admit(client, &mut request) {
            Ok(()) => Either::Left(router.clone().call(request)),
            Err(refusal) => Either::Right(ready(Ok(refusal))),
        }
    });
    let socket: Socket = TokioIo::new(stream);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who has sent all that it has to say may still wait for the answer.
        .half_close(true)
        .header_read_timeout(deadlines.headers)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(socket, service)
        .with_upgrades();
    let mut served = pin!(served);
    let result = tokio::select! {
        biased;
        result = served.as_mut() => result,
        () = lease.shutdown() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, peer = %client.address, "a connection failed");
    }
}

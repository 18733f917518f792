//! From an HTTP request to a socket that speaks WebSocket (RFC 6455, section 4.2).

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::gateway::stream::Upgraded;
use crate::gateway::{listen, reply};

/// A request that may become a WebSocket.
pub(crate) struct Upgrade {
    accept: HeaderValue,
    pending: OnUpgrade,
}

/// A socket after the handshake.
pub(crate) struct Opened {
    pub(in crate::gateway) stream: Upgraded,
    /// Bytes that came with the handshake.
    pub(in crate::gateway) early: Vec<u8>,
}

/// Checks the handshake. The error is the answer to be given.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(crate) fn handshake(request: &mut Request) -> Result<Upgrade, Response> {
    let headers = request.headers();
    if request.method() != Method::GET || !has_token(headers, &UPGRADE, "websocket") {
        return Err(upgrade_required("this path speaks WebSocket: send `Upgrade: websocket`"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(bad_request("a WebSocket handshake has `Connection: Upgrade`"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version.as_bytes() != b"13") {
        return Err(upgrade_required("`Sec-WebSocket-Version: 13` is accepted"));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).map_or(0, |nonce| nonce.len()) != 16 {
        return Err(bad_request("`Sec-WebSocket-Key` is 16 bytes in base64"));
    }
    if !request.body().is_end_stream() {
        // The connection would be upgraded when the body is there, which may be never.
        return Err(bad_request("a WebSocket handshake has no body"));
    }
    let accept = HeaderValue::try_from(derive_accept_key(key));
    let pending = request.extensions_mut().remove::<OnUpgrade>();
    match (accept, pending) {
        (Ok(accept), Some(pending)) => Ok(Upgrade { accept, pending }),
        _ => Err(upgrade_required("this connection cannot be upgraded: HTTP/1.1 is accepted")),
    }
}

impl Upgrade {
    /// The answer that turns the connection into a WebSocket.
    pub(crate) fn response(&self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        response
    }

    /// The socket, once the answer is written. None: the peer went away before.
    pub(crate) async fn opened(self) -> Option<Opened> {
        let upgraded = match self.pending.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket handshake was not finished");
                return None;
            }
        };
        let Ok(parts) = upgraded.downcast::<listen::Socket>() else {
            tracing::error!("a connection was upgraded that our listener did not accept");
            return None;
        };
        // Copied, since even an empty rest would keep hyper's whole read buffer alive.
        let early = parts.read_buf.to_vec();
        Some(Opened { stream: parts.io.into_inner().into_upgraded()?, early })
    }
}

/// Whether a header that lists tokens has this one, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn bad_request(reason: &str) -> Response {
    reply::fault(StatusCode::BAD_REQUEST, "invalid", reason)
}

fn upgrade_required(reason: &str) -> Response {
    let mut response = reply::fault(StatusCode::UPGRADE_REQUIRED, "invalid", reason);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    response
}

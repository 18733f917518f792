//! What the gateways for clients of other systems share. Such clients know nothing of weir: they get what their own
//! server would have sent, and nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::lease::Lease;
use super::visit::Visit;
use super::ws::{self, Connection, Handler, Upgrade, frame};
use crate::config::Limits;
use crate::message::{Routed, Wire};
use crate::session::Notice;

/// Their protocols have no words for the router's notices. Messages that a slow reader loses are counted.
pub(super) fn silent(_: Notice<'_>) -> Bytes {
    Bytes::new()
}

/// A payload that may have come from elsewhere, as text: what is not UTF-8 is in base64.
pub(super) fn text(payload: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(payload) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(STANDARD.encode(payload)),
    }
}

/// The payload of a message as a frame's text, encoded for whoever reads it first.
pub(super) fn payload(routed: &Routed) -> Bytes {
    routed.frame(Wire::Payload, |routed| {
        let text = text(&routed.message.payload);
        frame::text(text.len(), |out| out.extend_from_slice(text.as_bytes()))
    })
}

/// The text that a topic level stands for ([`weir_contract::topic::encode_level`]).
pub(super) fn level_text(level: &str) -> Cow<'_, str> {
    percent_decode_str(level).decode_utf8_lossy()
}

/// Turns the request's connection into a WebSocket, in a task of its own, and answers the handshake.
pub(super) fn converse<H: Handler + 'static>(
    upgrade: Upgrade,
    lease: Lease,
    visit: Visit,
    limits: Arc<Limits>,
    handler: impl FnOnce(&Arc<Connection>, Visit) -> H + Send + 'static,
) -> Response {
    let response = upgrade.response();
    let rest = lease.clone();
    lease.spawn(async move {
        if let Some(opened) = upgrade.opened().await {
            let metrics = visit.ingress().gateway(visit.session().gateway);
            let connection = Connection::new(Arc::clone(visit.session()), metrics, &limits);
            let handler = handler(&connection, visit);
            ws::run(&connection, opened, handler, &limits, &rest).await;
        }
    });
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_contract::topic::encode_level;

    #[test]
    fn a_level_stands_for_the_text_that_it_was_made_of() {
        for text in ["", "plain", "a/b+c#d", "$x", "100%", "%2F", "ä\n"] {
            assert_eq!(level_text(&encode_level(text)), text);
        }
    }

    #[test]
    fn what_is_no_text_is_base64() {
        assert_eq!((text(b"\xc3\xa4"), text(b"\xff")), ("ä".into(), "/w==".into()));
    }
}

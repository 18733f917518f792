//! `/subscribe`: a WebSocket that names events and gets them. Nothing is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::members::Member;
use super::publish::shared_delivery;
use super::said::Said;
use super::wire;
use super::{App, access};
use crate::config::Limits;
use crate::gateway::foreign::converse;
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next};
use crate::ingress::Subscribe;

pub(super) fn open(app: App, lease: Lease, mut request: Request) -> Response {
    let (upgrade, visit, member) = match access::connect(&app, &mut request) {
        Ok(connected) => connected,
        Err(refusal) => return refusal,
    };
    converse(upgrade, lease, visit, Arc::clone(&app.limits), move |_, visit| Subscriber { visit, member })
}

struct Subscriber {
    visit: Visit,
    member: Member,
}

impl Subscriber {
    async fn command(&self, bytes: &[u8]) -> Next {
        let Some(said) = Said::read(bytes) else { return Next::Cut };
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        match said.action.as_str() {
            "subscribe" => {
                // A name that is too long is one that nobody can publish.
                if let Some(pattern) = wire::topic(&said.event) {
                    let subscribe = Subscribe { pattern, retained: Some(false), ..Subscribe::default() };
                    if let Err(outcome) = ingress.subscribe(session, subscribe).await {
                        // Nothing can be answered, and a client that waits in vain would be worse.
                        let (id, reason) = (&session.id, outcome.reason());
                        tracing::debug!(session = %id, reason, "a picloud subscription is refused: the client is cut off");
                        return Next::Cut;
                    }
                    self.member.subscribed(&said.event);
                }
            }
            "unsubscribe" => {
                if let Some(pattern) = wire::topic(&said.event) {
                    ingress.unsubscribe(session, &pattern);
                    self.member.unsubscribed(&said.event);
                }
            }
            "unsubscribe:all" => {
                for pattern in session.subscriptions() {
                    ingress.unsubscribe(session, &pattern);
                }
                self.member.unsubscribed_all();
            }
            _ => {}
        }
        Next::Read
    }
}

impl Handler for Subscriber {
    const ENCODE: Encode = shared_delivery;

    fn most_bytes(&self) -> usize {
        wire::AROUND
    }

    fn silence(&self, _: &Limits) -> Option<Duration> {
        None
    }

    async fn text(&mut self, text: Utf8Bytes) -> Next {
        self.command(text.as_bytes()).await
    }

    async fn binary(&mut self, bytes: Bytes) -> Next {
        self.command(&bytes).await
    }
}

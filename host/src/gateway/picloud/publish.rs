//! `/publish`, both ways.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::members::Member;
use super::said::Said;
use super::wire;
use super::{App, access, empty, refuse};
use crate::gateway::body;
use crate::gateway::foreign::converse;
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next};
use crate::message::{Outcome, Responder, Routed, Wire};

/// `POST /publish`: answered when the event is with its subscribers.
pub(super) async fn post(app: &App, request: Request) -> Response {
    let client = match access::enter(app, &request, false) {
        Ok(client) => client,
        Err(refusal) => return refusal,
    };
    let bytes = match body::read(request.into_body(), &app.limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refuse(refusal.status(), "Bad request"),
    };
    let Some(said) = Said::read(&bytes).filter(|said| !said.event.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "Bad request");
    };
    let (responder, answered) = Responder::channel();
    let Some(publish) = said.publish(false) else {
        return refuse(StatusCode::BAD_REQUEST, "Bad request: the event's name is too long");
    };
    app.ingress.publish(client.visit.session(), publish, responder).await;
    let outcome = answered.await.unwrap_or(Outcome::ShuttingDown);
    match status(&outcome) {
        StatusCode::CREATED => empty(StatusCode::CREATED),
        // Words of a plugin are for the publisher; those of the router speak of topics, which picloud does not know.
        StatusCode::BAD_REQUEST => refuse(StatusCode::BAD_REQUEST, &outcome.reason()),
        refused => refuse(refused, refused.canonical_reason().unwrap_or_default()),
    }
}

fn status(outcome: &Outcome) -> StatusCode {
    match outcome {
        Outcome::Accepted { .. } | Outcome::Filtered { .. } | Outcome::DeadLettered { .. } => {
            StatusCode::CREATED
        }
        Outcome::Denied { .. } => StatusCode::FORBIDDEN,
        Outcome::Invalid(_) => StatusCode::BAD_REQUEST,
        Outcome::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Outcome::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Outcome::PluginFailed { .. } | Outcome::TimedOut => StatusCode::INTERNAL_SERVER_ERROR,
        Outcome::Overloaded | Outcome::Unavailable { .. } | Outcome::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// `GET /publish`: a WebSocket of which every message is an event.
pub(super) fn open(app: App, lease: Lease, mut request: Request) -> Response {
    let (upgrade, visit, member) = match access::connect(&app, &mut request) {
        Ok(connected) => connected,
        Err(refusal) => return refusal,
    };
    converse(upgrade, lease, visit, Arc::clone(&app.limits), move |_, visit| Publisher {
        visit,
        _member: member,
        most_bytes: app.limits.message_bytes.saturating_mul(6) + wire::AROUND,
    })
}

struct Publisher {
    visit: Visit,
    _member: Member,
    most_bytes: usize,
}

impl Publisher {
    /// The original has no word for what goes wrong behind a message that it could read.
    async fn publish(&self, bytes: &[u8]) -> Next {
        let Some(said) = Said::read(bytes) else { return Next::Cut };
        match said.publish(true) {
            Some(publish) => {
                self.visit.ingress().publish(self.visit.session(), publish, Responder::none()).await;
            }
            // Nobody can have subscribed to it.
            None => tracing::debug!("an event of picloud is left out: its name is too long"),
        }
        Next::Read
    }
}

impl Handler for Publisher {
    const ENCODE: Encode = shared_delivery;

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    fn silence(&self, _: &crate::config::Limits) -> Option<std::time::Duration> {
        None
    }

    async fn text(&mut self, text: Utf8Bytes) -> Next {
        self.publish(text.as_bytes()).await
    }

    async fn binary(&mut self, bytes: Bytes) -> Next {
        self.publish(&bytes).await
    }
}

/// One frame per event, whoever reads it first.
pub(super) fn shared_delivery(routed: &Routed) -> Bytes {
    routed.frame(Wire::Picloud, wire::delivery)
}

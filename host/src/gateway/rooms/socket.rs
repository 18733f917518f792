//! The WebSockets: who may open one, and what both kinds share. It is in its room before the handshake is answered, so
//! that a client that is open misses nothing.

use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use super::route::Socket;
use super::{App, GATEWAY, answer, chat, endpoint};
use crate::gateway::foreign::silent;
use crate::gateway::lease::{Lease, Peer};
use crate::gateway::visit::Visit;
use crate::gateway::ws::{self, Next};
use crate::ingress::{Entrant, Subscribe};
use crate::message::{Outcome, Rights};
use crate::session::Session;

/// What a principal's name may take; longer identities are cut there, and travel in a header.
const NAME_BYTES: usize = 128;
/// A peer that is silent for so long is pinged, as daphne does, and gone after as long again; sooner, if
/// `limits.silence` is less.
pub(super) const SILENCE: Duration = Duration::from_secs(20);
/// Close code of what the original ends with an exception.
const FAILED: u16 = 1011;
/// Close code of what is too large, wherever that is noticed.
const TOO_LARGE: u16 = 1009;
/// What does not make sense ends its sender's connection, and nobody else's.
pub(super) const SENSELESS: Next = Next::Close(FAILED, "");

pub(super) async fn open(app: App, lease: Lease, mut request: Request, socket: Socket<'_>) -> Response {
    let found = match socket {
        Socket::Endpoint(code) => app.ingress.accounts().endpoint(code).map(Some),
        Socket::Chat(_) => Some(None),
        Socket::Unknown => None,
    };
    let Some(endpoint) = found else {
        app.ingress.turned_away(GATEWAY);
        return answer::not_found();
    };
    // To what is no WebSocket the original has no such path.
    let Ok(upgrade) = ws::handshake(&mut request) else { return answer::not_found() };
    let address = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    match (endpoint, socket) {
        (Some(endpoint), _) => endpoint::open(app, lease, upgrade, address, endpoint).await,
        (None, Socket::Chat(room)) => chat::open(app, lease, upgrade, address, room).await,
        (None, _) => answer::not_found(),
    }
}

/// Opens a session that may publish to the topic, hear it, or both. The error is the answer to be given.
pub(super) async fn enter(
    app: &App,
    entrant: Entrant,
    topic: &str,
    (write, read): (bool, bool),
) -> Result<Visit, Response> {
    let only = |allowed: bool| if allowed { vec![topic] } else { Vec::new() };
    let rights = Rights::new(&only(write), &only(read)).map_err(|error| {
        tracing::debug!(%error, "a room's name makes no topic");
        answer::not_found()
    })?;
    let entrant = Entrant { gateway: GATEWAY, origin: "page", rights, ..entrant };
    let session = app.ingress.enter(entrant, Some(silent)).map_err(|_| answer::not_found())?;
    let visit = Visit::new(app.ingress.clone(), session);
    if read {
        let subscribe =
            Subscribe { pattern: topic.to_owned(), retained: Some(false), ..Subscribe::default() };
        app.ingress.subscribe(visit.session(), subscribe).await.map_err(|outcome| {
            tracing::debug!(reason = outcome.reason(), "a connection of a room is refused");
            answer::text(StatusCode::SERVICE_UNAVAILABLE, outcome.as_str())
        })?;
    }
    Ok(visit)
}

/// An identity as a principal's name.
pub(super) fn name(identity: &str) -> String {
    let level = weir_contract::topic::encode_level(identity);
    let cut = level.get(..level.floor_char_boundary(NAME_BYTES)).unwrap_or_default();
    if cut.is_empty() { "anonymous".to_owned() } else { cut.to_owned() }
}

/// A sender whose message was lost for no reason of its own is told so in the only word that there is.
pub(super) fn tell(session: &Session, outcome: &Outcome) {
    match outcome {
        Outcome::Accepted { .. }
        | Outcome::Filtered { .. }
        | Outcome::Denied { .. }
        | Outcome::Invalid(_)
        | Outcome::DeadLettered { .. }
        | Outcome::ShuttingDown => {}
        Outcome::TooLarge { .. } => session.outbound.close(TOO_LARGE, outcome.as_str()),
        Outcome::RateLimited { .. }
        | Outcome::PluginFailed { .. }
        | Outcome::TimedOut
        | Outcome::Overloaded
        | Outcome::Unavailable { .. } => session.outbound.close(FAILED, outcome.as_str()),
    }
}

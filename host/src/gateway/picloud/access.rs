//! Who may come in: the key, then the name.

use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::Response;
use subtle::ConstantTimeEq;
use weir_contract::topic::encode_level;

use super::members::Member;
use super::{App, GATEWAY, PREFIX, refuse};
use crate::gateway::foreign::silent;
use crate::gateway::lease::{Peer, Port};
use crate::gateway::visit::Visit;
use crate::gateway::ws::{self, Upgrade};
use crate::ingress::Entrant;
use crate::message::Rights;

const KEY: HeaderName = HeaderName::from_static("x-api-key");
const NAME: HeaderName = HeaderName::from_static("x-api-client-name");
/// What a principal's name may take; longer ones are cut.
const NAME_BYTES: usize = 128;

/// A client that is let in.
pub(super) struct Client {
    pub(super) visit: Visit,
    /// As it gave it.
    pub(super) name: Arc<str>,
    /// `HOST:PORT`.
    pub(super) address: String,
}

/// Checks the key alone.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(super) fn key(app: &App, request: &Request) -> Result<(), Response> {
    let given = given(request.headers(), &KEY, request.uri(), "apiKey");
    if bool::from(given.as_bytes().ct_eq(app.key.as_bytes())) {
        return Ok(());
    }
    app.ingress.turned_away(GATEWAY);
    Err(refuse(StatusCode::UNAUTHORIZED, "Invalid API Key"))
}

/// Checks both, and opens a session. `connected`: it is a WebSocket, and listed.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(super) fn enter(app: &App, request: &Request, connected: bool) -> Result<Client, Response> {
    key(app, request)?;
    let name = given(request.headers(), &NAME, request.uri(), "clientName");
    if name.is_empty() {
        return Err(refuse(StatusCode::UNAUTHORIZED, "Invalid client name"));
    }
    open(app, request, name, "device", connected)
}

/// Opens a session for whoever has the key.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(super) fn open(
    app: &App,
    request: &Request,
    name: String,
    origin: &'static str,
    connected: bool,
) -> Result<Client, Response> {
    let pattern = format!("{PREFIX}+");
    let rights = Rights::new(&[&pattern], &[&pattern]).unwrap_or_default();
    let level = encode_level(&name);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let port = request.extensions().get::<Port>().map_or(0, |port| port.0);
    let entrant = Entrant {
        gateway: GATEWAY,
        address: peer.clone(),
        tenant: "main".into(),
        name: level.get(..level.floor_char_boundary(NAME_BYTES)).unwrap_or_default().into(),
        origin,
        rights,
        ..Entrant::default()
    };
    let session = app.ingress.enter(entrant, connected.then_some(silent));
    let session = session.map_err(|error| refuse(StatusCode::UNAUTHORIZED, &error.to_string()))?;
    let visit = Visit::new(app.ingress.clone(), session);
    let address = if peer.contains(':') { format!("[{peer}]:{port}") } else { format!("{peer}:{port}") };
    Ok(Client { visit, name: name.into(), address })
}

/// Checks key, name and handshake, in this order, and opens a session that is listed.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(super) fn connect(app: &App, request: &mut Request) -> Result<(Upgrade, Visit, Member), Response> {
    let Client { visit, name, address } = enter(app, request, true)?;
    let upgrade = upgrade(request)?;
    Ok((upgrade, visit, app.members.join(&name, address)))
}

/// What a request must be to become a WebSocket. The answer else is the original's.
#[expect(clippy::result_large_err, reason = "it is the answer, and is sent at once")]
pub(super) fn upgrade(request: &mut Request) -> Result<Upgrade, Response> {
    let refused = || refuse(StatusCode::BAD_REQUEST, "Bad Request\nInternal Server Error");
    ws::handshake(request).map_err(|_| refused())
}

/// The header's value; if there is none or it is empty, that of the query's parameter.
fn given(headers: &HeaderMap, header: &HeaderName, uri: &Uri, parameter: &str) -> String {
    let value = headers.get(header).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    value.filter(|value| !value.is_empty()).unwrap_or_else(|| {
        let parsed = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(all)| all);
        let found = parsed.unwrap_or_default().into_iter().find(|(name, _)| name == parameter);
        found.map(|(_, value)| value).unwrap_or_default()
    })
}

//! Paikea's protocol: devices, and the pages that watch and command them, each on a listener of its own. Who says what
//! to whom is only in the request: the whole target, as it stands and with its query, is the key that a device and its
//! pages share. Messages are opaque text.
//!
//! | listener | who | what it says goes to | topic |
//! |---|---|---|---|
//! | device | one device of each key; one that comes takes the key over | all pages of the key | `paikea/KEY/up` |
//! | page | any number of pages | the device of the key, if there is one | `paikea/KEY/down` |
//!
//! KEY is percent-encoded as one topic level: `/iam1` is `%2Fiam1`. Nobody needs a credential, as with the original;
//! so what comes in here may go to these topics and to no others.

mod devices;
mod log;
mod talk;

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};
use weir_contract::topic::{self, MAX_TOPIC_BYTES, encode_level};

use super::foreign::converse;
use super::lease::{Lease, Peer, Port};
use super::visit::Visit;
use super::ws;
use crate::config::{Limits, Paikea};
use crate::ingress::{Entrant, Ingress, Subscribe};
use crate::message::{Rights, now_us};
use devices::{Devices, Turn};
use log::Log;
use talk::{Side, Talker};

/// The gateway's name.
const GATEWAY: &str = "paikea";
/// What a principal's name may take; longer ones are cut.
const NAME_BYTES: usize = 128;

/// Said to who does not speak WebSocket.
const NO_WEBSOCKET: &str =
    "You cannot access a WebSocket server directly with a browser. You need a WebSocket client.";

/// What every handler of one listener has.
#[derive(Clone)]
struct App {
    side: Side,
    ingress: Ingress,
    limits: Arc<Limits>,
    devices: Arc<Devices>,
    log: Option<Arc<Log>>,
}

/// A key, and where its messages go.
struct Way {
    key: Arc<str>,
    level: String,
    up: String,
    down: String,
}

/// The routes of both listeners, to be served by [`super::listen::serve`]. The error is that of the log's folder.
pub fn routers(
    ingress: &Ingress,
    config: &Paikea,
    limits: &Limits,
) -> io::Result<[(&'static str, Router); 2]> {
    let log = match config.log.as_os_str().is_empty() {
        true => None,
        false => Some(Arc::new(Log::open(&config.log, now_us)?)),
    };
    let (limits, devices) = (Arc::new(limits.clone()), Arc::default());
    let device = App { side: Side::Device, ingress: ingress.clone(), limits, devices, log };
    let page = App { side: Side::Page, ..device.clone() };
    let serving = |app| Router::new().fallback(serve).with_state(app);
    Ok([("paikea-device", serving(device)), ("paikea-page", serving(page))])
}

/// What was said before this is answered with 101 is not for the newcomer, and all that is said after it is: it is
/// subscribed first.
async fn serve(State(app): State<App>, Extension(lease): Extension<Lease>, mut request: Request) -> Response {
    if request.method() != Method::GET {
        return refuse(StatusCode::BAD_REQUEST, "Only GET is accepted.");
    }
    // Of other forms (RFC 9112 section 3.2) only a part would be left as the key.
    if request.uri().authority().is_some() {
        return refuse(StatusCode::BAD_REQUEST, "The request target must begin with a slash.");
    }
    let upgrade = match ws::handshake(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refuse(refusal.status(), NO_WEBSOCKET),
    };
    let Some(way) = Way::of(&request) else {
        let reason = format!("The key is too long: its topic may take {MAX_TOPIC_BYTES} bytes.");
        return refuse(StatusCode::URI_TOO_LONG, &reason);
    };
    let Some(visit) = app.enter(&way, &request) else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "The key cannot be served.");
    };
    let turn = match app.side {
        Side::Device => Some(app.devices.turn(&way.key).await),
        Side::Page => None,
    };
    let subscribe = Subscribe {
        pattern: app.side.hears(&way).to_owned(),
        retained: Some(false),
        instead_of: turn.as_ref().and_then(Turn::former).cloned(),
        ..Subscribe::default()
    };
    if let Err(outcome) = app.ingress.subscribe(visit.session(), subscribe).await {
        turn.into_iter().for_each(Turn::give_up);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &outcome.reason());
    }
    let place = turn.map(|turn| turn.take(visit.session()));
    let (limits, most_bytes) = (Arc::clone(&app.limits), app.limits.message_bytes);
    let topic = app.side.says(&way).into();
    converse(upgrade, lease, visit, limits, move |_, visit| Talker {
        visit,
        _place: place,
        side: app.side,
        key: way.key,
        topic,
        log: app.log,
        most_bytes,
    })
}

impl Way {
    /// None: a topic would be too long.
    fn of(request: &Request) -> Option<Self> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let level = encode_level(target);
        let [up, down] = ["up", "down"].map(|end| format!("{GATEWAY}/{level}/{end}"));
        topic::check(&down).ok()?;
        Some(Self { key: target.into(), level, up, down })
    }
}

impl App {
    /// Opens a session that may use this way and no other.
    fn enter(&self, way: &Way, request: &Request) -> Option<Visit> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
        let client_id = match self.side {
            // One that comes back goes on behind what it said before.
            Side::Device => way.key.to_string(),
            Side::Page => {
                let port = request.extensions().get::<Port>().map_or(0, |port| port.0);
                format!("{peer} {port}")
            }
        };
        let name = way.level.get(..way.level.floor_char_boundary(NAME_BYTES)).unwrap_or_default();
        let entrant = Entrant {
            gateway: GATEWAY,
            address: peer,
            tenant: "main".into(),
            name: name.into(),
            origin: self.side.origin(),
            rights: Rights::new(&[self.side.says(way)], &[self.side.hears(way)]).unwrap_or_default(),
            client_id: Some(client_id),
            ..Entrant::default()
        };
        let session = self.ingress.enter(entrant, Some(super::foreign::silent)).ok()?;
        Some(Visit::new(self.ingress.clone(), session))
    }
}

fn refuse(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    response
}

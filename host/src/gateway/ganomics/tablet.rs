//! One tablet's connection, or a page's.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::seat::Seat;
use super::table::Tables;
use super::{App, GATEWAY, plain};
use crate::config::Limits;
use crate::gateway::foreign::{converse, payload, silent};
use crate::gateway::lease::{Lease, Peer};
use crate::gateway::visit::Visit;
use crate::gateway::ws::{self, Connection, Encode, Handler, Next, frame};
use crate::ingress::{Entrant, Publish, Subscribe};
use crate::message::{Level, Outcome, Responder, Rights, Routed, inbox};

/// All tablets are one publisher: their demands are dealt with one after the other, as the original's database had
/// it, and who joins a group misses nothing that is told to it from then on.
const NAME: &str = "tablet";
/// Behind this silence a tablet is pinged, as by the original's server.
const SILENCE: Duration = Duration::from_secs(20);
/// Beside the payload.
const AROUND: usize = 1024;
/// What the original tells tablets about the network, in milliseconds.
const TIMES: &str = r#"{"timeOut": 30000, "reconnectTime": 1000, "delayRequest": 1000}"#;
/// How a connection ends when something is wrong.
const ENDED: Next = Next::Close(1011, "");

/// What the gateway itself looks at.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    demand: Cow<'a, str>,
    #[serde(rename = "deviceId", default)]
    device: Value,
    #[serde(rename = "userId", default)]
    user: Value,
    #[serde(rename = "tabletNumber", default)]
    number: Value,
}

/// Opens a socket.
pub(super) async fn open(app: App, lease: Lease, mut request: Request, seat: Seat) -> Response {
    let upgrade = match ws::handshake(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal,
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let topics: Vec<&str> = seat.topic().into_iter().collect();
    let entrant = Entrant {
        gateway: GATEWAY,
        address: peer,
        tenant: "main".into(),
        name: NAME.into(),
        origin: if seat == Seat::Connection { "page" } else { "device" },
        rights: Rights::new(&topics, &["ganomics/#"]).unwrap_or_default(),
        ..Entrant::default()
    };
    let Ok(session) = app.ingress.enter(entrant, Some(silent)) else {
        return plain(StatusCode::FORBIDDEN, "Refused");
    };
    let visit = Visit::new(app.ingress.clone(), session);
    if seat.topic().is_some() {
        let own =
            Subscribe { pattern: inbox(&visit.session().id), retained: Some(false), ..Subscribe::default() };
        if app.ingress.subscribe(visit.session(), own).await.is_err() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "The router is stopping");
        }
    }
    converse(upgrade, lease, visit, Arc::clone(&app.limits), move |connection, visit| Tablet {
        app,
        seat,
        connection: Arc::clone(connection),
        visit,
        device: String::new(),
        tables: None,
    })
}

struct Tablet {
    app: App,
    seat: Seat,
    connection: Arc<Connection>,
    visit: Visit,
    /// As it named itself last.
    device: String,
    tables: Option<Tables>,
}

impl Tablet {
    /// Publishes what was said, and waits until it is on the disk. Meanwhile nothing goes out: what is answered stands.
    async fn publish(&self, topic: &'static str, said: Utf8Bytes) -> Next {
        let (held, expected) = (self.visit.session().hold(), self.connection.expect());
        let (tell, told) = oneshot::channel();
        let responder = Responder::new(move |outcome| {
            // Nobody waits for it when the connection has ended meanwhile.
            drop((tell.send(outcome), held, expected));
        });
        let publish = Publish {
            topic: topic.into(),
            payload: said.into(),
            content_type: Some("application/json".into()),
            level: Level::Logged,
            ..Publish::default()
        };
        self.visit.ingress().publish(self.visit.session(), publish, responder).await;
        self.after(&told.await.unwrap_or(Outcome::ShuttingDown), topic)
    }

    /// Every outcome that is no success ends the connection. Anybody can be refused at any rate: the metrics count it.
    fn after(&self, outcome: &Outcome, topic: &str) -> Next {
        match outcome {
            Outcome::Accepted { messages, .. } if messages.iter().any(|message| *message.topic == *topic) => {
                if self.app.idle.is_due() {
                    tracing::warn!(
                        topic,
                        "no plugin plays: bind stock:ganomics, as `weir serve --ganomics` does"
                    );
                }
                ENDED
            }
            Outcome::Accepted { .. } | Outcome::Filtered { .. } => Next::Read,
            refused => {
                let (id, address) = (&self.visit.session().id, &self.visit.session().address);
                tracing::debug!(session = %id, address, outcome = refused.as_str(), reason = refused.reason(), "a tablet is refused");
                ENDED
            }
        }
    }

    /// What has no game behind it.
    fn say(&self, text: &str) -> Next {
        let frame = frame::text(text.len(), |out| out.extend_from_slice(text.as_bytes()));
        self.visit.session().outbound.push_control(frame);
        Next::Read
    }

    /// A demand. Who made it is noted once it was taken.
    async fn demand(&mut self, topic: &'static str, text: Utf8Bytes) -> Next {
        // What is no such object, the plugin refuses.
        let said: Option<Said<'_>> = serde_json::from_str(&text).ok();
        let aside = said.as_ref().filter(|_| self.seat == Seat::Game).and_then(|said| self.aside(said));
        let (device, number) = said.map(|said| (word(&said.device), word(&said.number))).unwrap_or_default();
        let next = match aside {
            Some(next) => next,
            None => self.publish(topic, text).await,
        };
        if next == Next::Read {
            self.device = device.unwrap_or_else(|| std::mem::take(&mut self.device));
            match number.filter(|_| self.seat == Seat::Identity) {
                Some(number) => self.app.presence.numbered(&self.device, &number),
                None => self.app.presence.heard(&self.device),
            }
        }
        next
    }

    /// What asks for nothing of the game. None: it does.
    fn aside(&self, said: &Said<'_>) -> Option<Next> {
        let is_anybodys = said.device.is_null() && said.user.is_null();
        match &*said.demand {
            "ping" | "receipt_confirmation" if is_anybodys => Some(ENDED),
            "ping" => Some(self.say("pong")),
            // Nothing is sent again, so nothing has to be confirmed.
            "receipt_confirmation" => Some(Next::Read),
            _ => None,
        }
    }

    fn show_tables(&mut self) {
        let (presence, session) = (&self.app.presence, self.visit.session());
        self.tables.get_or_insert_with(|| Tables::begin(Arc::clone(presence), Arc::clone(session)));
    }
}

/// A text, or a number as one.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What is told to a room's group `closed` ends the connections of its members: nobody plays there any more.
fn told(routed: &Routed) -> Bytes {
    match routed.message.topic.strip_prefix("ganomics/group/").and_then(|group| group.split_once('/')) {
        Some((_, "closed")) => frame::close(1011, ""),
        _ => payload(routed),
    }
}

impl Handler for Tablet {
    const ENCODE: Encode = told;

    fn most_bytes(&self) -> usize {
        self.app.limits.message_bytes + AROUND
    }

    fn silence(&self, limits: &Limits) -> Option<Duration> {
        Some(SILENCE.min(limits.silence))
    }

    async fn text(&mut self, text: Utf8Bytes) -> Next {
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        match (self.seat, self.seat.topic()) {
            (Seat::Game | Seat::Identity, Some(topic)) => self.demand(topic, text).await,
            (Seat::Network, _) if is_json(&text) => self.say(TIMES),
            (Seat::Connection, _) if is_json(&text) => {
                self.show_tables();
                Next::Read
            }
            (Seat::Register, _) => Next::Read,
            _ => ENDED,
        }
    }

    async fn binary(&mut self, _: Bytes) -> Next {
        ENDED
    }
}

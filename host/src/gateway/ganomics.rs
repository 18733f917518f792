//! Ganomics' protocol: tablets that play an economics game say JSON objects with a `demand`, and hear one answer to each
//! and what their groups are told. The game is a plugin (`stock:ganomics`): this publishes what a tablet says to
//! `ganomics/ask`, and hands over what comes to the session's inbox and to its groups, as it stands.
//!
//! | path | what |
//! |---|---|
//! | `/ws`, `/ws/` | WebSocket: the game; `{"demand":"ping"}` is answered `pong` |
//! | `/ws/identity/` | WebSocket: `{"deviceId","tabletNumber"}` is answered `Done!` |
//! | `/ws/check_network/` | WebSocket: any JSON is answered with the times that tablets shall keep |
//! | `/ws/connection/` | WebSocket: behind any JSON, every 2 s who is connected, as `{"html"}` |
//! | `/ws/register` | WebSocket: never answers |
//! | `/static/FILE` | GET: a file of the configured folder |
//! | `/` | GET: a page that shows who is connected |
//!
//! What the game tells a room's group `closed` ends the connections of the room's members, likewise with 1011.
//!
//! Nobody is asked for a credential. What is wrong ends the connection with 1011, as an uncaught exception did in the
//! original; there is no other word for it. An answer goes out when what it rests on is on the disk, so that no
//! tablet knows more than the router does after a crash.

mod files;
mod presence;
mod seat;
mod table;
mod tablet;

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};

use super::lease::Lease;
use crate::config::{Ganomics, Limits};
use crate::ingress::Ingress;
use crate::telemetry::Seldom;
use presence::Presence;
use seat::Seat;

/// The gateway's name.
const GATEWAY: &str = "ganomics";

/// A page that shows `/ws/connection/`.
const PAGE: &str = include_str!("ganomics/page.html");

/// What every handler has.
#[derive(Clone)]
struct App {
    ingress: Ingress,
    limits: Arc<Limits>,
    files: Option<Arc<Path>>,
    presence: Arc<Presence>,
    /// The warning that nobody plays.
    idle: Arc<Seldom>,
}

/// The routes, to be served by [`super::listen::serve`].
pub fn router(ingress: Ingress, config: &Ganomics, limits: &Limits) -> Router {
    let app = App {
        ingress,
        limits: Arc::new(limits.clone()),
        files: config.files.as_deref().map(Arc::from),
        presence: Arc::new(Presence::new(config.connected)),
        idle: Arc::default(),
    };
    Router::new().fallback(serve).with_state(app)
}

async fn serve(State(app): State<App>, Extension(lease): Extension<Lease>, request: Request) -> Response {
    let path = request.uri().path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if let Some(seat) = Seat::at(path) {
        return tablet::open(app, lease, request, seat).await;
    }
    let head = *request.method() == Method::HEAD;
    match (path.strip_prefix("/static/"), &app.files) {
        (Some(file), Some(folder)) => files::serve(Arc::clone(folder), file.to_owned(), head).await,
        (None, _) if path == "/" => answer(StatusCode::OK, "text/html; charset=utf-8", Body::from(PAGE)),
        _ => plain(StatusCode::NOT_FOUND, "Not found"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    answer(status, "text/plain; charset=utf-8", Body::from(text))
}

fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

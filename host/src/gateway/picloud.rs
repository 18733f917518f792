//! picloud's protocol: events by name, published over HTTP or WebSocket and pushed to whoever subscribed. An event is
//! the topic `events/EVENT`.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/publish` | POST | publishes `{"event","data"}`: 201 |
//! | `/publish` | GET | WebSocket: every message publishes |
//! | `/subscribe` | GET | WebSocket: `{"action":"subscribe","event"}`, `unsubscribe`, `unsubscribe:all` |
//! | `/info`, `/socket/info` | GET | WebSocket: who is connected, every 5 s; only with `info_socket` |
//!
//! The key comes in the header `X-API-Key`, or in the query `apiKey` if that is absent or empty; the client's name
//! likewise in `X-API-Client-Name` or `clientName`. Where the original answers 500 to a body that it cannot read, this
//! answers 400, as the original's document promises.

mod access;
mod info;
mod members;
mod publish;
mod said;
mod subscribe;
mod wire;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::{Extension, Router};

use super::lease::Lease;
use crate::config::{Limits, Picloud};
use crate::ingress::Ingress;
use members::Members;

/// The gateway's name.
const GATEWAY: &str = "picloud";
/// Before an event's name.
const PREFIX: &str = "events/";

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// What every handler has.
#[derive(Clone)]
struct App {
    ingress: Ingress,
    limits: Arc<Limits>,
    key: Arc<str>,
    info_socket: bool,
    members: Arc<Members>,
}

/// The routes, to be served by [`super::listen::serve`].
pub fn router(ingress: Ingress, config: &Picloud, limits: &Limits) -> Router {
    let app = App {
        ingress,
        limits: Arc::new(limits.clone()),
        key: config.api_key.as_str().into(),
        info_socket: config.info_socket,
        members: Arc::default(),
    };
    Router::new().fallback(serve).with_state(app)
}

/// Methods first, as the original has it: then the key, then the name.
async fn serve(State(app): State<App>, Extension(lease): Extension<Lease>, request: Request) -> Response {
    let allow = match request.uri().path() {
        "/publish" => "GET, POST",
        "/subscribe" => "GET",
        "/info" | "/socket/info" if app.info_socket => "GET",
        _ => return refuse(StatusCode::NOT_FOUND, "404 page not found"),
    };
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/publish") => publish::post(&app, request).await,
        (&Method::GET, "/publish") => publish::open(app, lease, request),
        (&Method::GET, "/subscribe") => subscribe::open(app, lease, request),
        (&Method::GET, _) => info::open(app, lease, request),
        (&Method::OPTIONS, _) => allowing(empty(StatusCode::OK), allow),
        _ => allowing(refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"), allow),
    }
}

fn allowing(mut response: Response, methods: &'static str) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer as Go's `http.Error` writes it.
fn refuse(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    response
}

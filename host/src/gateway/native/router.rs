//! The paths of the native listener.

use std::sync::Arc;

use axum::Router;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};

use super::{http, origin, socket};
use crate::config::{Config, Limits};
use crate::gateway::reply;
use crate::ingress::Ingress;

/// What every handler has.
#[derive(Clone)]
pub(super) struct App {
    pub(super) ingress: Ingress,
    pub(super) limits: Arc<Limits>,
}

/// The native protocol's paths, to be served by [`crate::gateway::listen::serve`], with `more` of other protocols, for which
/// the same pages may call.
pub fn router(ingress: Ingress, config: &Config, more: Router) -> Router {
    let app = App { ingress, limits: Arc::new(config.limits.clone()) };
    let origins: Arc<[String]> = config.http.origins.clone().into();
    Router::new()
        .route("/v1/ws", get(socket::open))
        .route("/v1/subscribe", get(http::subscribe).head(endless))
        .route("/v1/publish", post(http::publish))
        .route("/v1/request", post(http::request))
        .route("/v1/presence", get(http::presence))
        .route("/v1/history", get(http::history))
        .route("/v1/query/{plugin}", get(http::query))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .with_state(app)
        .merge(more)
        .layer(from_fn_with_state(origins, origin::check))
}

async fn nowhere() -> Response {
    let reason = "no such path: there are /v1/ws, /v1/subscribe, /v1/publish, /v1/request, /v1/presence, /v1/history, \
                  /v1/query/PLUGIN, and /mqtt where MQTT is served";
    reply::fault(StatusCode::NOT_FOUND, "not-found", reason)
}

/// What would stand in the head is only known once the stream is there.
async fn endless() -> Response {
    let reason = "HEAD is not accepted on this path, whose answer has no end: accepted is GET";
    let mut response = reply::fault(StatusCode::METHOD_NOT_ALLOWED, "invalid", reason);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    response
}

async fn wrong_method(method: Method) -> Response {
    let reason = format!("{method} is not accepted on this path: see the header `Allow`");
    reply::fault(StatusCode::METHOD_NOT_ALLOWED, "invalid", &reason)
}

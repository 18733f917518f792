//! HTTP answers: one JSON object each, errors too.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::json::Object;

/// An answer in JSON. What the router says is about this moment, so nobody shall keep it.
pub fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// `{"ok":false,"outcome":…,"reason":…}`.
pub fn fault(status: StatusCode, outcome: &str, reason: &str) -> Response {
    let mut body = Vec::with_capacity(64 + reason.len());
    let mut object = Object::begin(&mut body);
    object.flag("ok", false);
    object.text("outcome", outcome);
    object.text("reason", reason);
    object.end();
    json(status, body)
}

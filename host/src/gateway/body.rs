//! Reading a request's body within its limits.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{listen, reply};
use crate::config::Limits;

/// Reads the whole body: at most `limits.request_bytes`, within `limits.body`. The error is the answer to be
/// given.
pub async fn read(body: Body, limits: &Limits) -> Result<Bytes, Response> {
    let most = limits.request_bytes;
    if hyper::body::Body::size_hint(&body).lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large(most));
    }
    match tokio::time::timeout(limits.body, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(most)),
        Ok(Err(error)) => Err(broken(&*error)),
        Err(_) => Err(late(limits.body)),
    }
}

/// How much memory a body that was read may hold: a small one may be a part of what the connection reads at
/// once.
pub(super) fn memory(body: &Bytes) -> usize {
    body.len().max(listen::HEAD_BYTES)
}

fn too_large(most: usize) -> Response {
    let reason = format!("the request's body is over {most} bytes");
    reply::fault(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &reason)
}

fn broken(error: &(dyn Error + Send + Sync)) -> Response {
    reply::fault(StatusCode::BAD_REQUEST, "invalid", &format!("the request's body broke off: {error}"))
}

fn late(deadline: Duration) -> Response {
    let reason = format!("the request's body was not there within {} s", deadline.as_secs_f64());
    reply::fault(StatusCode::REQUEST_TIMEOUT, "invalid", &reason)
}

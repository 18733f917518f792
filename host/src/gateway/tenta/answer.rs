//! Answers as the original writes them.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, ORIGIN,
    VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::accounts::AccountsError;
use crate::gateway::json::Object;
use crate::gateway::reply;

/// Why a request is not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    Conflict,
    /// What was wrong stands in the log.
    Internal,
    /// There are these methods.
    Method(&'static str),
    /// Whatever else.
    Status(StatusCode),
}

impl Fault {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Status(status) => *status,
        }
    }

    /// `{"details":"Not Found"}`.
    pub(super) fn into_response(self) -> Response {
        let status = self.status();
        let mut body = Vec::new();
        let mut object = Object::begin(&mut body);
        object.text("details", status.canonical_reason().unwrap_or_default());
        object.end();
        let mut response = reply::json(status, body);
        if let Self::Method(allowed) = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

/// What the accounts' refusal is to the client. What an operator can help is in the log.
pub(super) fn refused(error: &AccountsError) -> Fault {
    match error {
        AccountsError::Exists { .. } => Fault::Conflict,
        AccountsError::Unknown { what: "user" | "network" | "sensor", .. } => Fault::NotFound,
        AccountsError::Configuration { .. } => Fault::Status(StatusCode::PAYLOAD_TOO_LARGE),
        error => {
            tracing::error!(%error, "a request of tenta's clients was not done");
            Fault::Internal
        }
    }
}

/// Whether a browser asks what a page may do.
pub(super) fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Everything, to any page.
pub(super) fn preflight(request: &Request) -> Response {
    let mut response = for_pages(Response::new(Body::from("OK")));
    // `*` would not include `Authorization`.
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.unwrap_or(HeaderValue::from_static("*")));
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
        (VARY, "access-control-request-headers"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Any page may read it: there are no cookies, and no browser sends an access token by itself.
pub(super) fn for_pages(mut response: Response) -> Response {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// An object of members that `put` writes.
pub(super) fn object(status: StatusCode, put: impl FnOnce(&mut Object<'_>)) -> Response {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    put(&mut object);
    object.end();
    reply::json(status, body)
}

//! Answers as Django writes them.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::gateway::lease::Base;

const HTML: &str = "text/html; charset=utf-8";

/// A body of some type.
pub(super) fn body(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A short text, which Django calls HTML.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Response {
    let text: String = text.into();
    // What is called HTML must not become any: names may stand in a text.
    body(status, HTML, text.replace('&', "&amp;").replace('<', "&lt;"))
}

/// 200 with a text.
pub(super) fn done(said: &str) -> Response {
    text(StatusCode::OK, said)
}

/// 200 with JSON.
pub(super) fn json(written: String) -> Response {
    body(StatusCode::OK, "application/json", written)
}

/// 404 as of a path or an object that there is not.
pub(super) fn not_found() -> Response {
    let said = "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>";
    page(StatusCode::NOT_FOUND, "Not Found", said)
}

/// 500 as of an exception.
pub(super) fn failed() -> Response {
    page(StatusCode::INTERNAL_SERVER_ERROR, "Server Error (500)", "<h1>Server Error (500)</h1><p></p>")
}

/// 403 as of a form that was forged.
pub(super) fn forged() -> Response {
    let said = "<h1>Forbidden <span>(403)</span></h1><p>CSRF verification failed. Request aborted.</p>";
    page(StatusCode::FORBIDDEN, "403 Forbidden", said)
}

/// 404 as of a method that the view does not know.
pub(super) fn wrong_method() -> Response {
    text(StatusCode::NOT_FOUND, "Invalid request method")
}

/// 403 as of an API key that is nobody's.
pub(super) fn no_key() -> Response {
    text(StatusCode::FORBIDDEN, "No/Invalid API KEY")
}

fn page(status: StatusCode, title: &str, said: &str) -> Response {
    let written = format!(
        "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>{title}</title>\n</head>\n<body>\n  {said}\n</body>\n</html>\n"
    );
    body(status, HTML, written)
}

/// 301 to the same path with a slash behind it, below the listener's base path.
pub(super) fn moved(request: &Request) -> Response {
    let uri = request.uri();
    let base = request.extensions().get::<Base>().map_or("", |base| base.0.as_str());
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut response = body(StatusCode::MOVED_PERMANENTLY, HTML, Body::empty());
    // Two slashes in front would name another host.
    let path = uri.path().trim_start_matches('/');
    if let Ok(location) = HeaderValue::try_from(format!("{base}/{path}/{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// What a webhook may be pointed at to try it.
pub(super) fn sink(method: &Method) -> Response {
    if *method == Method::POST { done("Webhook received") } else { wrong_method() }
}

/// 204.
pub(super) fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 403 to a page of an origin that may not call.
pub(super) fn foreign() -> Response {
    text(StatusCode::FORBIDDEN, "This page's origin may not call: list it under [rooms] origins")
}

/// With what lets pages of this origin (`*` = any) read it; none = no others. There are no cookies, and the API key is in
/// a header that no browser sends by itself.
pub(super) fn for_pages(mut response: Response, of: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    if let Some(origin) = of {
        if origin != "*" {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "API-KEY, Content-Type"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Codes stand in addresses.
        (REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

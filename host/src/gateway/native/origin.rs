//! Which pages may call (the `Origin` header), and the CORS headers that tell browsers so.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::gateway::page::{is_listed, is_same_host};
use crate::gateway::reply;

/// Whether a page may call.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    /// No page: browsers always say their origin where it matters.
    NoPage,
    Allowed(HeaderValue),
    Foreign,
}

/// Middleware: refuses foreign pages, answers preflights, and adds CORS headers for pages that may call.
pub(super) async fn check(State(listed): State<Arc<[String]>>, request: Request, next: Next) -> Response {
    let origin = match judge(&listed, request.headers()) {
        Caller::NoPage => return next.run(request).await,
        Caller::Allowed(origin) => origin,
        Caller::Foreign => {
            let reason = "this page's origin may not call the router: list it under [http] origins";
            return reply::fault(StatusCode::FORBIDDEN, "denied", reason);
        }
    };
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { allow() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

fn allow() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    let accepted = "authorization, content-type, idempotency-key, last-event-id, x-api-key";
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(accepted));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn judge(listed: &[String], headers: &HeaderMap) -> Caller {
    let Some(value) = headers.get(ORIGIN) else { return Caller::NoPage };
    let Ok(origin) = value.to_str() else { return Caller::Foreign };
    let all = listed.iter().any(|known| known == "*");
    if all || is_listed(listed, origin) || is_same_host(origin, headers) {
        Caller::Allowed(value.clone())
    } else {
        Caller::Foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::HOST;

    fn allowed(listed: &[&str], origin: &str, host: &str) -> bool {
        let listed: Vec<_> = listed.iter().map(|&known| known.to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, host.parse().unwrap());
        judge(&listed, &headers) != Caller::Foreign
    }

    #[test]
    fn the_same_host_may_call() {
        assert!(allowed(&[], "http://localhost:8080", "localhost:8080"));
        assert!(allowed(&[], "https://Example.com", "example.com"));
        assert!(allowed(&[], "https://example.com:443", "example.com"));
        assert!(allowed(&[], "http://[::1]:8080", "[::1]:8080"));
    }

    #[test]
    fn foreign_pages_may_not() {
        for origin in [
            "http://localhost:3000",
            "http://evil.example",
            "http://localhost:8080.evil.example",
            "http://evil.example#localhost:8080",
            "null",
            "file://",
            "localhost:8080",
            "",
        ] {
            assert!(!allowed(&[], origin, "localhost:8080"), "{origin}");
        }
    }

    #[test]
    fn listed_ones_may() {
        assert!(allowed(&["https://app.example"], "https://app.example", "weir.example"));
        assert!(!allowed(&["https://app.example"], "https://app.example.evil", "weir.example"));
        assert!(allowed(&["*"], "null", "weir.example"));
        assert_eq!(judge(&[], &HeaderMap::new()), Caller::NoPage);
    }
}

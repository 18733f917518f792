//! The pages: one that asks for a code, and one that talks in its room. Nothing is written into them: the page reads its
//! code from its own address.

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::answer;

/// Something that a browser loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Start,
    Room,
    Script,
    Style,
}

/// Only what this listener serves, and nothing that stands in a page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

impl Page {
    /// A file beside the pages.
    pub(super) fn asset(path: &str) -> Option<Self> {
        match path {
            "/static/room.js" => Some(Self::Script),
            "/static/room.css" => Some(Self::Style),
            _ => None,
        }
    }

    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("text/html; charset=utf-8", include_str!("page/start.html")),
            Self::Room => ("text/html; charset=utf-8", include_str!("page/room.html")),
            Self::Script => ("text/javascript; charset=utf-8", include_str!("page/room.js")),
            Self::Style => ("text/css; charset=utf-8", include_str!("page/room.css")),
        }
    }
}

pub(super) fn show(method: &Method, page: Page) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return answer::forged();
    }
    let (content_type, text) = page.file();
    let mut response = answer::body(StatusCode::OK, content_type, text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

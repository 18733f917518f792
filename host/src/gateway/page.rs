//! Which page a browser calls for.

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};

/// Whether an origin is named in a list; `*` names none.
pub(super) fn is_listed(listed: &[String], origin: &str) -> bool {
    origin != "*" && listed.iter().any(|known| known.eq_ignore_ascii_case(origin))
}

/// Whether the page came from the very host and port that it calls.
pub(super) fn is_same_host(origin: &str, headers: &HeaderMap) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else { return false };
    let default_port = match origin.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let (Some(from), Some(to)) = (origin.authority(), host) else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    from.host().eq_ignore_ascii_case(to.host()) && port(from) == port(&to)
}

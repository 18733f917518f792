//! Who asks: the user whose API key the request has, and the page that a browser asks for.

use std::sync::Arc;

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{App, GATEWAY};
use crate::accounts::User;
use crate::gateway::page::{is_listed, is_same_host};

const KEY: HeaderName = HeaderName::from_static("api-key");
/// What browsers say of requests that have no origin, as that for an image.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A program, or a page of this very host.
    Own,
    /// A page of an origin that the configuration names.
    Named,
    /// Any other page, where all may call.
    Any,
    /// Any other page, where only those that are named may call.
    Foreign,
}

/// What a request comes from, where pages of these origins may call.
pub(super) fn caller(origins: &[String], headers: &HeaderMap) -> Caller {
    let other = if origins.iter().any(|origin| origin == "*") { Caller::Any } else { Caller::Foreign };
    let Some(origin) = headers.get(ORIGIN) else {
        let own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
        return if headers.get(SITE).is_none_or(own) { Caller::Own } else { other };
    };
    match origin.to_str() {
        Ok(origin) if is_listed(origins, origin) => Caller::Named,
        Ok(origin) if is_same_host(origin, headers) => Caller::Own,
        _ => other,
    }
}

/// The user; none: nobody has such a key. A request without one is the user's that needs none, if there is such a user. It
/// is no proof of anything that a page has a browser make such a request: that counts for pages only that are named.
pub(super) fn user(app: &App, headers: &HeaderMap) -> Option<Arc<User>> {
    let key = headers.get(KEY).map(|value| value.as_bytes()).unwrap_or_default();
    let known =
        !key.is_empty() || matches!(caller(&app.config.origins, headers), Caller::Own | Caller::Named);
    let user = app.ingress.accounts().user_of_key(key).filter(|_| known);
    if user.is_none() {
        app.ingress.turned_away(GATEWAY);
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known_by_what_browsers_say() {
        let (all, some) = (["*".to_owned()], ["https://app.example".to_owned()]);
        for (headers, of_all, of_some) in [
            (&[][..], Caller::Own, Caller::Own),
            (&[("origin", "https://app.example")], Caller::Any, Caller::Named),
            (&[("origin", "https://rooms.example")], Caller::Own, Caller::Own),
            (&[("origin", "https://rooms.example:444")], Caller::Any, Caller::Foreign),
            (&[("origin", "null")], Caller::Any, Caller::Foreign),
            (&[("origin", "*")], Caller::Any, Caller::Foreign),
            (&[("sec-fetch-site", "cross-site")], Caller::Any, Caller::Foreign),
            (&[("sec-fetch-site", "same-site")], Caller::Any, Caller::Foreign),
            (&[("sec-fetch-site", "none")], Caller::Own, Caller::Own),
        ] {
            let mut map = HeaderMap::new();
            map.insert("host", HeaderValue::from_static("rooms.example"));
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!((caller(&all, &map), caller(&some, &map)), (of_all, of_some), "{headers:?}");
        }
    }
}

//! Who asks: the user whose API key the request has.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};

use super::{App, GATEWAY};
use crate::accounts::User;

const KEY: HeaderName = HeaderName::from_static("api-key");

/// The user; none: nobody has such a key. A request without one is the user's that needs none, if there is such a user.
pub(super) fn user(app: &App, headers: &HeaderMap) -> Option<Arc<User>> {
    let key = headers.get(KEY).map(|value| value.as_bytes()).unwrap_or_default();
    let user = app.ingress.accounts().user_of_key(key);
    if user.is_none() {
        app.ingress.turned_away(GATEWAY);
    }
    user
}

//! Who asks, and what of.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::answer::Fault;
use super::{App, GATEWAY};
use crate::accounts::tenta::{Id, Person};

/// The access token of a request: the second of exactly two words, of which the first is `Bearer` in any case.
pub(super) fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let mut words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (scheme, token) = (words.next()?, words.next()?);
    (words.next().is_none() && scheme.eq_ignore_ascii_case(b"bearer")).then_some(token)
}

/// The user whose access token this is.
pub(super) fn user(app: &App, token: Option<&[u8]>) -> Result<Arc<Person>, Fault> {
    let person = token.and_then(|token| app.accounts().person_of_token(token));
    person.filter(|person| person.tenant == app.config.tenant).ok_or_else(|| {
        app.ingress.turned_away(GATEWAY);
        Fault::Unauthorized
    })
}

/// A user who is a member of the network.
pub(super) fn network(app: &App, token: Option<&[u8]>, network: Id) -> Result<Arc<Person>, Fault> {
    let person = user(app, token)?;
    let found = app.accounts().network(network).filter(|found| found.tenant == app.config.tenant);
    found.ok_or(Fault::NotFound)?;
    member(app, person, network)
}

/// The same, where the network must have this sensor.
pub(super) fn sensor(
    app: &App,
    token: Option<&[u8]>,
    (network, sensor): (Id, Id),
) -> Result<Arc<Person>, Fault> {
    let person = user(app, token)?;
    let found = app.accounts().sensor_of(network, sensor);
    found.filter(|found| found.tenant == app.config.tenant).ok_or(Fault::NotFound)?;
    member(app, person, network)
}

fn member(app: &App, person: Arc<Person>, network: Id) -> Result<Arc<Person>, Fault> {
    if app.accounts().is_member(network, person.id) { Ok(person) } else { Err(Fault::Forbidden) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_the_second_of_two_words() {
        for (value, wanted) in [
            ("Bearer abc", Some("abc")),
            ("bEARER  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer a b", None),
            ("Basic abc", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(token(&headers), wanted.map(str::as_bytes), "{value}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }
}

//! What a request may say: identifiers, names, parameters and bodies, as strictly as the original reads them.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;
use serde_json::{Map, Value};

use super::answer::Fault;
use super::route::Place;
use crate::accounts::tenta::{Id, MOST_REVISION, is_name};
use crate::gateway::json;

/// Lengths of passwords.
const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=256;
/// Behind the last time that hermes knows, in Unix seconds.
const HERMES_END: f64 = 2_147_483_648.0;

/// The values of a request, beside its path.
pub(super) struct Asked<'a> {
    /// Of a name that comes twice the last.
    query: Map<String, Value>,
    body: &'a [u8],
    hermes: bool,
}

/// Where a page is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Page<T> {
    /// Not a part of the page.
    pub(super) cursor: Option<T>,
    /// It is before the cursor, not after it.
    pub(super) previous: bool,
}

impl<'a> Asked<'a> {
    pub(super) fn of(uri: &Uri, body: &'a [u8], hermes: bool) -> Self {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(all)| all);
        let all = pairs.unwrap_or_default().into_iter();
        Self { query: all.map(|(name, value)| (name, Value::String(value))).collect(), body, hermes }
    }

    /// No parameters but these.
    pub(super) fn parameters(&self, known: &[&str]) -> Result<(), Fault> {
        let all_known = self.query.keys().all(|name| known.contains(&name.as_str()));
        all_known.then_some(()).ok_or(Fault::BadRequest)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).and_then(Value::as_str)
    }

    /// A number that may be left out; blanks around it do not count.
    fn number<T: FromStr>(&self, name: &str, good: impl Fn(&T) -> bool) -> Result<Option<T>, Fault> {
        let Some(text) = self.parameter(name) else { return Ok(None) };
        let number = text.trim().parse().ok().filter(good);
        number.map(Some).ok_or(Fault::BadRequest)
    }

    fn previous(&self) -> Result<bool, Fault> {
        match self.parameter("direction") {
            None | Some("next") => Ok(false),
            Some("previous") => Ok(true),
            Some(_) => Err(Fault::BadRequest),
        }
    }

    /// `revision` and `direction`.
    pub(super) fn revisions(&self) -> Result<Page<u32>, Fault> {
        let cursor = self.number("revision", |revision| *revision <= MOST_REVISION)?;
        Ok(Page { cursor, previous: self.previous()? })
    }

    /// `creation_timestamp` and `direction`.
    pub(super) fn times(&self) -> Result<Page<f64>, Fault> {
        let good = |at: &f64| at.is_finite() && (!self.hermes || (0.0..HERMES_END).contains(at));
        Ok(Page { cursor: self.number("creation_timestamp", good)?, previous: self.previous()? })
    }

    /// A parameter that is true or false; false if it is left out.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.parameter(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "off" | "f" | "false" | "n" | "no") => Ok(false),
            Some("1" | "on" | "t" | "true" | "y" | "yes") => Ok(true),
            Some(_) => Err(Fault::BadRequest),
        }
    }

    fn object(&self) -> Result<Map<String, Value>, Fault> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        serde_json::from_slice(self.body).map_err(|_| Fault::BadRequest)
    }

    /// The request has no body to speak of.
    pub(super) fn nothing(&self) -> Result<(), Fault> {
        self.object()?.is_empty().then_some(()).ok_or(Fault::BadRequest)
    }

    /// Texts of these names, and no others.
    fn texts<const N: usize>(&self, names: [&str; N]) -> Result<[String; N], Fault> {
        let mut body = self.object()?;
        let texts = names.map(|name| match body.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        });
        if !body.is_empty() || texts.iter().any(Option::is_none) {
            return Err(Fault::BadRequest);
        }
        Ok(texts.map(Option::unwrap_or_default))
    }

    /// The name in a body that has nothing else.
    pub(super) fn name(&self, key: &str) -> Result<String, Fault> {
        let [name] = self.texts([key])?;
        is_name(&name, self.hermes).then_some(name).ok_or(Fault::BadRequest)
    }

    /// Name and password.
    pub(super) fn user(&self) -> Result<(String, String), Fault> {
        let [name, password] = self.texts(["user_name", "password"])?;
        let good = is_name(&name, self.hermes) && PASSWORD_CHARS.contains(&password.chars().count());
        good.then_some((name, password)).ok_or(Fault::BadRequest)
    }

    /// Any JSON object, as it stands.
    pub(super) fn configuration(&self) -> Result<&'a str, Fault> {
        if self.body.is_empty() {
            return Ok("{}");
        }
        let text = json::as_value(self.body).map(str::trim);
        text.filter(|text| text.starts_with('{')).ok_or(Fault::BadRequest)
    }
}

/// An identifier in a path.
pub(super) fn id(text: &str) -> Result<Id, Fault> {
    text.parse().map_err(|_| Fault::BadRequest)
}

/// Both.
pub(super) fn place((network, sensor): Place<'_>) -> Result<(Id, Id), Fault> {
    Ok((id(network)?, id(sensor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(uri: &str, body: &'a str, hermes: bool) -> Asked<'a> {
        Asked::of(&uri.parse().unwrap(), body.as_bytes(), hermes)
    }

    #[test]
    fn parameters_are_read_as_the_original_reads_them() {
        let times = |uri: &str| asked(uri, "", false).times();
        assert_eq!(times("/x"), Ok(Page { cursor: None, previous: false }));
        assert_eq!(
            times("/x?creation_timestamp=1e3&direction=previous"),
            Ok(Page { cursor: Some(1000.0), previous: true })
        );
        assert_eq!(times("/x?creation_timestamp=1&creation_timestamp=-2.5").unwrap().cursor, Some(-2.5));
        for bad in [
            "creation_timestamp=",
            "creation_timestamp=x",
            "creation_timestamp=nan",
            "direction=",
            "direction=up",
        ] {
            assert_eq!(times(&format!("/x?{bad}")), Err(Fault::BadRequest), "{bad}");
        }
        assert!(asked("/x?creation_timestamp=-1", "", true).times().is_err());
        let revisions = |uri: &str| asked(uri, "", false).revisions();
        assert_eq!(revisions("/x?revision=0").unwrap().cursor, Some(0));
        for bad in ["-1", "1.5", "2147483648", "", "null"] {
            assert_eq!(revisions(&format!("/x?revision={bad}")), Err(Fault::BadRequest), "{bad}");
        }
        let flag = |value: &str| asked(&format!("/x?aggregate={value}"), "", false).flag("aggregate");
        assert_eq!([flag("true"), flag("1"), flag("Yes")], [Ok(true), Ok(true), Ok(true)]);
        assert_eq!([flag("false"), flag("0")], [Ok(false), Ok(false)]);
        assert_eq!([flag(""), flag("maybe"), flag("2")], [const { Err(Fault::BadRequest) }; 3]);
        assert!(asked("/x?a=1", "", false).parameters(&["b"]).is_err());
    }

    #[test]
    fn bodies_are_objects_of_what_is_known() {
        let user = |body: &str| asked("/", body, false).user().ok();
        assert_eq!(user(r#"{"user_name":"a","password":"12345678"}"#), Some(("a".into(), "12345678".into())));
        let long = "ä".repeat(256);
        assert!(user(&format!(r#"{{"user_name":"a","password":"{long}"}}"#)).is_some());
        for bad in [
            "",
            "{}",
            "[]",
            "{",
            r#"{"user_name":"a"}"#,
            r#"{"user_name":"a","password":"1234567"}"#,
            r#"{"user_name":"a","password":12345678}"#,
            r#"{"user_name":"a","password":"12345678","more":1}"#,
            &format!(r#"{{"user_name":"a","password":"{long}x"}}"#),
        ] {
            assert_eq!(user(bad), None, "{bad}");
        }
        let configuration = |body: &'static str| asked("/", body, false).configuration();
        assert_eq!(configuration(""), Ok("{}"));
        assert_eq!(configuration(" {\"a\": [1, {}]}\n"), Ok("{\"a\": [1, {}]}"));
        for bad in ["[]", "1", "null", "{", "{}{}", "{\"a\":NaN}"] {
            assert_eq!(configuration(bad), Err(Fault::BadRequest), "{bad}");
        }
        assert!(
            asked("/", "{}", false).nothing().is_ok() && asked("/", r#"{"a":1}"#, false).nothing().is_err()
        );
        assert!(asked("/", "[]", false).nothing().is_err());
    }
}

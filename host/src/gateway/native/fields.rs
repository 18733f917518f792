//! Reading the values of [`Keys`]: each error names the key and what is accepted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::{alphabet, engine::DecodePaddingMode};
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::keys::{Key, Keys, Raw};
use super::request::Fault;
use crate::message::{Places, Since};

/// Base64 as people write it, with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Messages of a history page, items of a query page.
const PAGE: usize = 100;
const MOST: usize = 1_000;

/// How long a request may wait for its reply, and how long it does unless it says.
const TIMEOUT_MS: RangeInclusive<u64> = 1..=60_000;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A string, if there is one.
pub(super) fn text<'a>(keys: &Keys<'a>, key: Key) -> Result<Option<Cow<'a, str>>, Fault> {
    // Most strings are their own values, and reading them again would find no more.
    if let Some(plain) = keys.plain(key) {
        return Ok(Some(Cow::Borrowed(plain)));
    }
    typed::<Text<'a>>(keys, key, "a string").map(|value| value.map(|text| text.0))
}

/// A string that must be there.
pub(super) fn required<'a>(keys: &Keys<'a>, key: Key) -> Result<Cow<'a, str>, Fault> {
    text(keys, key)?.ok_or_else(|| Fault::new(format!("`{}` is missing: it is a string", key.name())))
}

/// `true` or `false`; absent is false.
pub(super) fn flag(keys: &Keys<'_>, key: Key) -> Result<bool, Fault> {
    Ok(choice(keys, key)?.unwrap_or_default())
}

/// `true` or `false`, if it is said.
pub(super) fn choice(keys: &Keys<'_>, key: Key) -> Result<Option<bool>, Fault> {
    typed(keys, key, "true or false")
}

/// `limit`.
pub(super) fn limit(keys: &Keys<'_>) -> Result<usize, Fault> {
    check_limit(typed(keys, Key::Limit, "1 to 1000")?)
}

/// `limit`, from wherever it came.
pub(super) fn check_limit(limit: Option<usize>) -> Result<usize, Fault> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(_) => Err(Fault::new("`limit` must be 1 to 1000".into())),
    }
}

/// `timeout_ms`: how long a reply is waited for.
pub(super) fn timeout(keys: &Keys<'_>) -> Result<Duration, Fault> {
    let milliseconds = number(keys, Key::TimeoutMs, TIMEOUT_MS)?;
    Ok(milliseconds.map_or(TIMEOUT, Duration::from_millis))
}

/// `since`: where reading begins, if it is said.
pub(super) fn since(keys: &Keys<'_>) -> Result<Option<Since>, Fault> {
    let accepted = r#""now", "start" or an object like {"LOG":{"epoch":1,"offset":7}}, each log once"#;
    Ok(typed::<Begin>(keys, Key::Since, accepted)?.map(|begin| match begin {
        Begin::Word(Word::Now) => Since::Now,
        Begin::Word(Word::Start) => Since::Start,
        Begin::Places(places) => {
            let places = places.0.into_iter().map(|(log, at)| (log.into(), (at.epoch, at.offset)));
            Since::Places(Places(places.collect()))
        }
    }))
}

/// The same, from a query parameter or a header.
pub(super) fn check_since(text: Option<&str>) -> Result<Option<Since>, Fault> {
    let Some(text) = text else { return Ok(None) };
    match text {
        "now" => Ok(Some(Since::Now)),
        "start" => Ok(Some(Since::Start)),
        places => Places::parse(places).map(|places| Some(Since::Places(places))).ok_or_else(|| {
            let accepted = "now, start or LOG:EPOCH:OFFSET[,LOG:EPOCH:OFFSET...], each log once";
            Fault::new(format!("`since` must be {accepted}"))
        }),
    }
}

/// Where a page of history begins, from wherever it came: with the oldest message, backwards with the newest.
pub(super) fn begin_history(since: Option<Since>, reverse: bool) -> Result<Since, Fault> {
    match since {
        Some(Since::Start) if reverse => Err(Fault::new(
            "`since` is \"start\", and nothing is older: with `reverse` accepted are \"now\" and places"
                .into(),
        )),
        Some(since) => Ok(since),
        None if reverse => Ok(Since::Now),
        None => Ok(Since::Start),
    }
}

/// A number within bounds, if there is one.
pub(super) fn number(keys: &Keys<'_>, key: Key, accepted: RangeInclusive<u64>) -> Result<Option<u64>, Fault> {
    // Only who gives one pays for the words of its refusal.
    let Some(_) = keys.get(key) else { return Ok(None) };
    let number: Option<u64> = typed(keys, key, &shown(&accepted))?;
    parse_number(key, number.map(|number| number.to_string()).as_deref(), accepted)
}

/// Whole numbers, if they are given.
pub(super) fn numbers(keys: &Keys<'_>, key: Key) -> Result<Option<Vec<u64>>, Fault> {
    typed(keys, key, "an array of whole numbers")
}

/// The same, from a query parameter.
pub(super) fn parse_number(
    key: Key,
    text: Option<&str>,
    accepted: RangeInclusive<u64>,
) -> Result<Option<u64>, Fault> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|number| accepted.contains(number));
    number.map(Some).ok_or_else(|| Fault::new(format!("`{}` must be {}", key.name(), shown(&accepted))))
}

/// `true` or `false` in a query parameter; absent is false.
pub(super) fn check_flag(key: Key, text: Option<&str>) -> Result<bool, Fault> {
    Ok(check_choice(key, text)?.unwrap_or_default())
}

/// `true` or `false` in a query parameter, if it is said.
pub(super) fn check_choice(key: Key, text: Option<&str>) -> Result<Option<bool>, Fault> {
    match text {
        None => Ok(None),
        Some("false") => Ok(Some(false)),
        Some("true") => Ok(Some(true)),
        Some(other) => {
            let shown = other.get(..other.floor_char_boundary(64)).unwrap_or_default();
            Err(Fault::new(format!("`{}` is {shown:?}: accepted are true, false", key.name())))
        }
    }
}

fn shown(accepted: &RangeInclusive<u64>) -> String {
    format!("a whole number from {} to {}", accepted.start(), accepted.end())
}

/// `params`: a JSON object as it is written, `{}` if there is none.
pub(super) fn params(keys: &Keys<'_>) -> Result<String, Fault> {
    match keys.get(Key::Params).map(Raw::get) {
        None => Ok("{}".into()),
        Some(object) if object.starts_with('{') => Ok(object.into()),
        Some(_) => Err(Fault::new("`params` must be a JSON object".into())),
    }
}

/// `cursor`, from wherever it came.
pub(super) fn check_cursor(cursor: Option<&str>) -> Result<Option<Vec<u8>>, Fault> {
    let decoded = cursor.map(|cursor| URL_SAFE_NO_PAD.decode(cursor)).transpose();
    decoded.map_err(|_| Fault::new("`cursor` must be the `next` of an earlier answer".into()))
}

/// The `next` that [`check_cursor`] reads again.
pub(super) fn encode_cursor(cursor: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(cursor)
}

/// `base64`, decoded.
pub(super) fn base64(keys: &Keys<'_>) -> Result<Option<Vec<u8>>, Fault> {
    let decoded = text(keys, Key::Base64)?.map(|text| LENIENT.decode(text.as_bytes())).transpose();
    decoded.map_err(|error| Fault::new(format!("`base64` must be base64: {error}")))
}

/// `headers`, with names in lower case.
pub(super) fn headers(keys: &Keys<'_>) -> Result<Vec<(String, String)>, Fault> {
    let Some(headers) = typed::<BTreeMap<String, String>>(keys, Key::Headers, "an object of strings")? else {
        return Ok(Vec::new());
    };
    if headers.len() > weir_contract::packed::MAX_HEADERS {
        return Err(Fault::new(format!("`headers` has {} entries: 64 are accepted", headers.len())));
    }
    headers.into_iter().map(|(name, value)| header(name, value)).collect()
}

fn header(mut name: String, value: String) -> Result<(String, String), Fault> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=weir_contract::packed::MAX_NAME).contains(&name.len()) || !name.bytes().all(is_token) {
        let reason = "a name in `headers` must be 1 to 64 ASCII letters, digits or any of !#$%&'*+-.^_`|~";
        return Err(Fault::new(reason.into()));
    }
    name.make_ascii_lowercase();
    if value.contains('\0') {
        return Err(Fault::new(format!("the header {name:?} has a NUL in its value")));
    }
    Ok((name, value))
}

/// `message_id`, from wherever it came.
pub(super) fn check_message_id(id: Option<&str>) -> Result<Option<String>, Fault> {
    match id {
        Some(id) if !(1..=weir_contract::packed::MAX_DEDUP_ID).contains(&id.len()) => {
            Err(Fault::new("`message_id` must be 1 to 64 bytes".into()))
        }
        id => Ok(id.map(str::to_owned)),
    }
}

/// `content_type`, from wherever it came.
pub(super) fn check_content_type(content_type: &str) -> Result<(), Fault> {
    // It goes into headers of HTTP, where a line's end would begin another header.
    if content_type.len() > weir_contract::packed::MAX_CONTENT_TYPE || content_type.contains(char::is_control)
    {
        return Err(Fault::new(
            "`content_type` must be at most 255 bytes, without control characters".into(),
        ));
    }
    Ok(())
}

/// A string that is borrowed where it can be.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    epoch: u64,
    offset: u64,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Begin {
    Word(Word),
    Places(ByLog),
}

/// Places by log. Of two places of one log, one would silently not count.
struct ByLog(BTreeMap<String, At>);

impl<'de> Deserialize<'de> for ByLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = ByLog;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("places by log")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByLog, A::Error> {
                let mut places = BTreeMap::new();
                while let Some((log, at)) = map.next_entry::<String, At>()? {
                    if places.insert(log, at).is_some() {
                        return Err(de::Error::custom("a log is named twice"));
                    }
                }
                Ok(ByLog(places))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Now,
    Start,
}

fn typed<'a, T: Deserialize<'a>>(keys: &Keys<'a>, key: Key, accepted: &str) -> Result<Option<T>, Fault> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    let parsed = serde_json::from_str(value.get());
    parsed.map(Some).map_err(|_| Fault::new(format!("`{}` must be {accepted}", key.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn errors_name_the_key() {
        let reason = |result: Result<Option<Cow<'_, str>>, Fault>| result.unwrap_err().reason;
        assert_eq!(reason(text(&keys(r#"{"topic":5}"#), Key::Topic)), "`topic` must be a string");
        assert_eq!(
            required(&keys("{}"), Key::Topic).unwrap_err().reason,
            "`topic` is missing: it is a string"
        );
        assert!(limit(&keys(r#"{"limit":0}"#)).is_err());
        assert!(limit(&keys(r#"{"limit":1001}"#)).is_err());
        assert!(limit(&keys(r#"{"limit":-1}"#)).is_err());
        assert_eq!(limit(&keys("{}")).unwrap(), 100);
        assert!(params(&keys(r#"{"params":[]}"#)).is_err());
    }

    #[test]
    fn base64_with_and_without_padding() {
        for (text, bytes) in [("AP8=", &[0, 255][..]), ("AP8", &[0, 255]), ("", &[])] {
            let frame = format!(r#"{{"base64":"{text}"}}"#);
            assert_eq!(base64(&keys(&frame)).unwrap().unwrap(), bytes);
        }
        assert!(base64(&keys(r#"{"base64":"a b"}"#)).is_err());
    }

    #[test]
    fn headers_are_checked_and_lowered() {
        let good = headers(&keys(r#"{"headers":{"X-Unit":"°C"}}"#)).unwrap();
        assert_eq!(good, [("x-unit".to_owned(), "°C".to_owned())]);
        for bad in [r#"{"headers":{"":"a"}}"#, r#"{"headers":{"a b":"a"}}"#, r#"{"headers":{"a":1}}"#] {
            assert!(headers(&keys(bad)).is_err(), "{bad}");
        }
        assert!(headers(&keys("{\"headers\":{\"a\":\"\\u0000\"}}")).is_err());
    }

    #[test]
    fn cursors_come_back() {
        let next = encode_cursor(&[0, 255, 62, 63]);
        assert_eq!(check_cursor(Some(&next)).unwrap().unwrap(), [0, 255, 62, 63]);
        assert!(check_cursor(Some("!")).is_err());
    }
}

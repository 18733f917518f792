//! What clients say, as Go's `encoding/json` reads it: names in any case, of a name that comes twice the last, `null` as
//! if it were not there, what is not UTF-8 as U+FFFD, and nothing behind the first value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use weir_contract::time::parse_rfc3339;

/// What a client may send, on any of the routes. What is absent or null is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) action: String,
    pub(super) event: String,
    pub(super) data: String,
    /// RFC 3339.
    pub(super) created_at: String,
}

impl Said {
    /// Reads one JSON object; bytes behind it are ignored. None: it is none, or a value has the wrong type.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let said = Self::deserialize(&mut serde_json::Deserializer::from_str(&text)).ok()?;
        let is_time = said.created_at.is_empty() || parse_rfc3339(&said.created_at).is_some();
        is_time.then_some(said)
    }
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Said;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Said, E> {
        Ok(Said::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
        let mut said = Said::default();
        while let Some(Text(name)) = map.next_key()? {
            // Syntax alone is looked at, as deep as it goes.
            let value: &RawValue = map.next_value()?;
            let slots = [
                ("action", &mut said.action),
                ("event", &mut said.event),
                ("data", &mut said.data),
                ("created_at", &mut said.created_at),
            ];
            let slot = slots.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
            let Some((_, slot)) = slot.filter(|_| value.get() != "null") else { continue };
            let Text(text) = serde_json::from_str(value.get()).map_err(A::Error::custom)?;
            *slot = text;
        }
        Ok(said)
    }
}

/// A string whose lone surrogates are U+FFFD.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_bytes(Bytes).map(Self)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = String;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // A surrogate is three bytes here, of which only the first begins something.
            if chunk.invalid().first().is_some_and(|byte| *byte >= 0xc0) {
                text.push('\u{fffd}');
            }
        }
        Ok(text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_go_does() {
        let event = |event: &str| Some(Said { event: event.into(), ..Said::default() });
        let deep = format!(r#"{{"event":"e","x":{}{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
        for (text, wanted) in [
            (r#"{"event":"e"}"#, event("e")),
            (r#"{"EVENT":"e"} trailing"#, event("e")),
            (r#"{"Event":"first","event":"second","EVENT":"e","x":[1]}"#, event("e")),
            (r#"{"event":"e","event":null}"#, event("e")),
            (r#"{"event":null}"#, event("")),
            ("null", event("")),
            ("{}", event("")),
            (r#"{"event":"e","x":1e999}"#, event("e")),
            (&deep, event("e")),
            (r#"{"event":"a\ud83db\u00e4\ud83d\ude00"}"#, event("a\u{fffd}bä😀")),
            ("", None),
            ("{", None),
            ("[]", None),
            (r#""e""#, None),
            ("1", None),
            (r#"{"event":1}"#, None),
            (r#"{"event":"e","data":{}}"#, None),
            (r#"{"event":"e","created_at":"yesterday"}"#, None),
        ] {
            assert_eq!(Said::read(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!(Said::read(b"{\"event\":\"a\xffb\"}"), event("a\u{fffd}b"));
    }
}

//! picloud's JSON, as Go's `encoding/json` reads and writes it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use weir_contract::packed::{named, tag};
use weir_contract::time::{parse_rfc3339, rfc3339};
use weir_contract::topic::encode_level;

use super::PREFIX;
use crate::gateway::foreign::{level_text, text};
use crate::gateway::json::Object;
use crate::gateway::ws::frame;
use crate::ingress::Publish;
use crate::message::{Message, Routed};

/// Bytes of a frame beside its data.
pub(super) const AROUND: usize = 16 * 1024;
/// A header of a message whose publisher chose its own action or time.
const ACTION: &str = "picloud-action";
const CREATED_AT: &str = "picloud-created-at";

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
    /// Reads one JSON object, whose names may have any case; bytes behind it are ignored. None: it is none, or a value
    /// has the wrong type.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let fields = Option::<Map<String, Value>>::deserialize(&mut reader).ok()?.unwrap_or_default();
        let value = |name: &str| match find(&fields, name) {
            None | Some(Value::Null) => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => None,
        };
        let created_at = value("created_at")?;
        if !created_at.is_empty() && parse_rfc3339(&created_at).is_none() {
            return None;
        }
        Some(Self { action: value("action")?, event: value("event")?, data: value("data")?, created_at })
    }

    /// The message to be published. `with_own`: its own action and time go with it, as on the publish socket.
    pub(super) fn publish(self, with_own: bool) -> Publish {
        let own = [(ACTION, self.action), (CREATED_AT, self.created_at)];
        let given = own.into_iter().filter(|(_, value)| with_own && !value.is_empty());
        Publish {
            topic: topic(&self.event),
            payload: self.data.into(),
            content_type: Some("text/plain; charset=utf-8".into()),
            headers: given.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Publish::default()
        }
    }
}

/// The exact name, else one that differs in case only.
fn find<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f Value> {
    let similar =
        || fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    fields.get(name).or_else(similar)
}

/// An event's topic.
pub(super) fn topic(event: &str) -> String {
    format!("{PREFIX}{}", encode_level(event))
}

/// The frame of a delivery: keys in this order, and a newline behind it.
pub(super) fn delivery(routed: &Routed) -> Bytes {
    let message = &routed.message;
    let event = message.topic.strip_prefix(PREFIX).unwrap_or(&message.topic);
    frame::text(128 + message.topic.len() + message.payload.len(), |out| {
        let mut object = Object::begin(out);
        put(object.key("action"), own(message, ACTION).unwrap_or("publish"));
        put(object.key("event"), &level_text(event));
        put(object.key("data"), &text(&message.payload));
        let time = || go_time(message.received_us());
        put(object.key("created_at"), &own(message, CREATED_AT).map_or_else(time, str::to_owned));
        object.end();
        out.push(b'\n');
    })
}

fn own<'m>(message: &'m Message, header: &str) -> Option<&'m str> {
    named(&message.meta, tag::HEADER).find(|(name, _)| *name == header).map(|(_, value)| value)
}

/// A string as Go writes it, for pages that put it into HTML.
pub(super) fn put(out: &mut Vec<u8>, text: &str) {
    let plain = serde_json::to_string(text).unwrap_or_default();
    for letter in plain.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(letter)).as_bytes());
            }
            letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// RFC 3339 without zeros at the fraction's end.
pub(super) fn go_time(us: u64) -> String {
    let full = rfc3339(us);
    let digits = full.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ws::frame::content;
    use weir_contract::packed::{put_named, put_u64};

    #[test]
    fn it_reads_as_go_does() {
        let said = |text: &str| Said::read(text.as_bytes());
        let event = |event: &str| Some(Said { event: event.into(), ..Said::default() });
        for (text, wanted) in [
            (r#"{"event":"e"}"#, event("e")),
            (r#"{"EVENT":"e"} trailing"#, event("e")),
            (r#"{"Event":"other","event":"e","x":[1]}"#, event("e")),
            (r#"{"event":null}"#, event("")),
            ("null", event("")),
            ("{}", event("")),
            ("", None),
            ("{", None),
            ("[]", None),
            (r#""e""#, None),
            (r#"{"event":1}"#, None),
            (r#"{"event":"e","data":{}}"#, None),
            (r#"{"event":"e","created_at":"yesterday"}"#, None),
        ] {
            assert_eq!(said(text), wanted, "{text}");
        }
    }

    #[test]
    fn it_writes_as_go_does() {
        let mut meta = Vec::new();
        put_u64(&mut meta, tag::RECEIVED_US, 1_448_422_693_433_490);
        let message =
            Message { topic: "events/a%2Fb".into(), meta: meta.into(), payload: "<&>\u{2028}\n\"ä".into() };
        let text = |message: &Message| {
            let frame = delivery(&Routed::new(message.clone(), None));
            String::from_utf8(content(&frame).to_vec()).unwrap()
        };
        assert_eq!(
            text(&message),
            "{\"action\":\"publish\",\"event\":\"a/b\",\"data\":\"\\u003c\\u0026\\u003e\\u2028\\n\\\"ä\",\
             \"created_at\":\"2015-11-25T03:38:13.43349Z\"}\n"
        );
        let mut meta = Vec::new();
        put_named(&mut meta, tag::HEADER, ACTION, "shout");
        put_named(&mut meta, tag::HEADER, CREATED_AT, "2015-11-25T03:40:13.433493056Z");
        let own = text(&Message { meta: meta.into(), ..message });
        assert!(own.starts_with("{\"action\":\"shout\"") && own.contains("13.433493056Z"), "{own}");
        assert_eq!(go_time(0), "1970-01-01T00:00:00Z");
    }
}

//! JSON as Python's `json.dumps` writes it: a blank behind each comma and colon, and ASCII alone.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use weir_contract::packed::{named, tag};
use weir_contract::time::rfc3339;

use crate::accounts::{Endpoint, Room};
use crate::gateway::foreign::{level_text, text};
use crate::gateway::json;
use crate::gateway::ws::frame;
use crate::message::{Message, Routed};

/// Bytes of a frame beside its message.
pub(super) const AROUND: usize = 16 * 1024;
/// Header of a message whose sender's identity is not what its principal's name says.
pub(super) const IDENTITY: &str = "rooms-identity";

/// The value of `message` in what a client says, as it stands there. None: it is no such object.
pub(super) fn said(bytes: &str) -> Option<&str> {
    let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(bytes).ok()?;
    json::as_value(fields.get("message")?.get().as_bytes())
}

/// A delivery, with the time.
pub(super) fn delivery(routed: &Routed) -> Bytes {
    framed(&routed.message, |message, object| {
        object.text("identity", &identity(message));
        object.text("timestamp", &python_time(message.received_us()));
    })
}

/// A delivery of the first version.
pub(super) fn early_delivery(routed: &Routed) -> Bytes {
    framed(&routed.message, |message, object| object.text("identity", &identity(message)))
}

/// A delivery of the chat, which knows no identity.
pub(super) fn chat_delivery(routed: &Routed) -> Bytes {
    framed(&routed.message, |_, _| {})
}

fn framed(message: &Message, rest: impl FnOnce(&Message, &mut Object)) -> Bytes {
    let mut object = Object::new();
    object.value("message", |out| put_payload(out, message));
    rest(message, &mut object);
    let written = object.end();
    frame::text(written.len(), |out| out.extend_from_slice(written.as_bytes()))
}

/// What comes from elsewhere may be no JSON: then it is a text.
fn put_payload(out: &mut String, message: &Message) {
    let is_json = message.content_type().is_none_or(|kind| {
        let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        media == "application/json" || media.ends_with("+json")
    });
    match json::as_value(&message.payload).filter(|_| is_json) {
        Some(value) => put_value(out, value),
        None => put_text(out, &text(&message.payload)),
    }
}

fn identity(message: &Message) -> Cow<'_, str> {
    let given = named(&message.meta, tag::HEADER).find(|(name, _)| *name == IDENTITY);
    given.map_or_else(|| level_text(message.publisher()), |(_, value)| Cow::Borrowed(value))
}

/// As `datetime.isoformat` writes it: without a fraction if that is 0.
pub(super) fn python_time(us: u64) -> String {
    let full = rfc3339(us);
    let plain = full.strip_suffix('Z').unwrap_or(&full);
    format!("{}+00:00", plain.strip_suffix(".000000").unwrap_or(plain))
}

/// The copy of a message for a room's webhook.
pub(super) fn webhook(message: &Message, endpoint: &Endpoint) -> String {
    let mut object = Object::new();
    object.value("message", |out| put_payload(out, message));
    object.text("identity", &endpoint.identity);
    object.text("endpoint_code", &endpoint.code);
    object.text("code", &endpoint.code);
    object.text("room_name", &endpoint.room.room);
    object.text("timestamp", &python_time(message.received_us()));
    object.end()
}

/// An endpoint that was made. Both versions' names of the room.
pub(super) fn added(endpoint: &Endpoint, with_identity: bool) -> String {
    let mut object = Object::new();
    object.text("code", &endpoint.code);
    object.text("permissions", &endpoint.permissions);
    object.text("room", &endpoint.room.room);
    object.text("room_name", &endpoint.room.room);
    if with_identity {
        object.text("identity", &endpoint.identity);
    }
    object.end()
}

/// The rooms by name.
pub(super) fn rooms(rooms: &[Arc<Room>]) -> String {
    let mut object = Object::new();
    for room in rooms {
        let mut one = Object::new();
        one.text("webhook", &room.webhook);
        one.text("room_name", &room.name.room);
        one.text("owner", &room.name.owner);
        object.value(&room.name.room, |out| out.push_str(&one.end()));
    }
    object.end()
}

/// The names of the rooms.
pub(super) fn early_rooms(rooms: &[Arc<Room>]) -> String {
    let mut object = Object::new();
    object.value("rooms", |out| list(out, rooms, |out, room| put_text(out, &room.name.room)));
    object.end()
}

/// The endpoints of a room.
pub(super) fn endpoints(endpoints: &[Arc<Endpoint>], with_identity: bool) -> String {
    let mut object = Object::new();
    object.value("endpoints", |out| {
        list(out, endpoints, |out, endpoint| {
            let mut one = Object::new();
            one.text("code", &endpoint.code);
            one.text("permissions", &endpoint.permissions);
            if with_identity {
                one.text("identity", &endpoint.identity);
            }
            out.push_str(&one.end());
        });
    });
    object.end()
}

fn list<T>(out: &mut String, all: &[T], put: impl Fn(&mut String, &T)) {
    out.push('[');
    for (at, item) in all.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        put(out, item);
    }
    out.push(']');
}

/// An object being written.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn value(&mut self, name: &str, put: impl FnOnce(&mut String)) {
        if self.0.len() > 1 {
            self.0.push_str(", ");
        }
        put_text(&mut self.0, name);
        self.0.push_str(": ");
        put(&mut self.0);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.value(name, |out| put_text(out, value));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn put_text(out: &mut String, text: &str) {
    let mut plain = Vec::with_capacity(text.len() + 2);
    json::put_text(&mut plain, text);
    for letter in String::from_utf8_lossy(&plain).chars() {
        if letter.is_ascii() {
            out.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// A value that is JSON already. Numbers stay as they are written.
fn put_value(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(letter) = rest.chars().next() {
        let (taken, after) = match letter {
            '"' => rest.split_at(string_length(rest)),
            _ => rest.split_at(letter.len_utf8()),
        };
        match letter {
            '"' => match serde_json::from_str::<String>(taken) {
                Ok(text) => put_text(out, &text),
                // Half a pair of surrogates, which only an escape can write.
                Err(_) => out.push_str(taken),
            },
            ',' => out.push_str(", "),
            ':' => out.push_str(": "),
            ' ' | '\t' | '\n' | '\r' => {}
            _ => out.push_str(taken),
        }
        rest = after;
    }
}

/// Bytes of the string that a valid JSON text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::ws::frame::content;
    use proptest::prelude::*;
    use serde_json::Value;
    use weir_contract::packed::{put, put_named, put_u64};

    fn spaced(value: &str) -> String {
        let mut out = String::new();
        put_value(&mut out, value);
        out
    }

    #[test]
    fn values_are_written_as_python_does() {
        for (value, wanted) in [
            (r#"{"a":1,"b":[true,null]}"#, r#"{"a": 1, "b": [true, null]}"#),
            (" [ ] ", "[]"),
            (r#""a,b:c \"{x}\" \/ \u0041""#, r#""a,b:c \"{x}\" / A""#),
            ("\"ä😀\"", r#""\u00e4\ud83d\ude00""#),
            (r#""\ud800""#, r#""\ud800""#),
            ("\"\\n\\u0001\u{7f}\"", "\"\\n\\u0001\u{7f}\""),
            ("1.50e2", "1.50e2"),
        ] {
            assert_eq!(spaced(value), wanted, "{value}");
        }
        assert_eq!(python_time(1_795_247_776_152_531), "2026-11-21T07:56:16.152531+00:00");
        assert_eq!(python_time(0), "1970-01-01T00:00:00+00:00");
    }

    #[test]
    fn only_an_object_with_a_message_says_something() {
        for (text, wanted) in [
            (r#"{"message":"hi"}"#, Some(r#""hi""#)),
            (r#"{ "x": 1, "message" : {"a": [1]} }"#, Some(r#"{"a": [1]}"#)),
            (r#"{"message":1,"message":null}"#, Some("null")),
            (r#"{"m\u0065ssage":2}"#, Some("2")),
            (r#"{"Message":1}"#, None),
            ("{}", None),
            ("[]", None),
            ("\"message\"", None),
            ("", None),
            ("{", None),
            (r#"{"message":1} x"#, None),
            (r#"{"message":NaN}"#, None),
        ] {
            assert_eq!(said(text), wanted, "{text}");
        }
        let deep = format!("{{\"message\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(said(&deep), None);
    }

    #[test]
    fn deliveries_have_the_originals_keys_in_their_order() {
        let mut meta = Vec::new();
        put_u64(&mut meta, tag::RECEIVED_US, 1_795_247_776_152_531);
        put(&mut meta, tag::NAME, b"e%2F1");
        let mut message = Message {
            topic: "rooms/alice/r1".into(),
            meta: meta.clone().into(),
            payload: r#"{"a":"b"}"#.into(),
        };
        let shown = |message: &Message, encode: fn(&Routed) -> Bytes| {
            let frame = encode(&Routed::new(message.clone(), None));
            String::from_utf8(content(&frame).to_vec()).unwrap()
        };
        assert_eq!(
            shown(&message, delivery),
            r#"{"message": {"a": "b"}, "identity": "e/1", "timestamp": "2026-11-21T07:56:16.152531+00:00"}"#
        );
        assert_eq!(shown(&message, early_delivery), r#"{"message": {"a": "b"}, "identity": "e/1"}"#);
        assert_eq!(shown(&message, chat_delivery), r#"{"message": {"a": "b"}}"#);
        put_named(&mut meta, tag::HEADER, IDENTITY, "");
        put(&mut meta, tag::CONTENT_TYPE, b"text/plain");
        message.meta = meta.into();
        message.payload = "21.5".into();
        assert_eq!(shown(&message, early_delivery), r#"{"message": "21.5", "identity": ""}"#);
        message.payload = Bytes::from_static(b"\xff");
        assert_eq!(shown(&message, chat_delivery), r#"{"message": "/w=="}"#);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(text in "[\\[\\]{}\",:0-9a\\\\u ]{0,30}|\"\\PC*\"") {
            if let Some(value) = json::as_value(text.as_bytes())
                && let Ok(read) = serde_json::from_str::<Value>(value)
            {
                let written = spaced(value);
                prop_assert!(written.is_ascii());
                prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), read);
            }
        }
    }
}

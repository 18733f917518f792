//! How a payload, and the message around it, is shown in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use weir_contract::packed::{self, tag};

use crate::gateway::json::{self, Object};
use crate::message::{Message, Place};

/// Writes a message's members, the payload last.
pub(super) fn put_message(object: &mut Object<'_>, message: &Message, place: Option<&Place>) {
    object.text("topic", &message.topic);
    put_place(object, place);
    let shown = Shown::of(&message.meta);
    object.number("time_us", shown.received_us);
    object.text("from", shown.from);
    if let Some(id) = shown.message_id {
        object.text("message_id", id);
    }
    if let Some(content_type) = shown.content_type {
        object.text("content_type", content_type);
    }
    if let Some(reply_to) = shown.reply_to {
        object.text("reply_to", reply_to);
    }
    if let Some(expires_us) = shown.expires_us {
        object.number("expires_us", expires_us);
    }
    if shown.has_headers {
        put_headers(object.key("headers"), &message.meta);
    }
    put_payload(object, shown.content_type, &message.payload);
}

/// Writes where a message stands in a log, if it does.
pub(super) fn put_place(object: &mut Object<'_>, place: Option<&Place>) {
    if let Some(place) = place {
        object.text("log", &place.log);
        object.number("epoch", place.epoch);
        object.number("offset", place.offset);
    }
}

/// What is shown of the metadata, gathered in one pass.
#[derive(Default)]
struct Shown<'a> {
    received_us: u64,
    from: &'a str,
    message_id: Option<&'a str>,
    content_type: Option<&'a str>,
    reply_to: Option<&'a str>,
    expires_us: Option<u64>,
    has_headers: bool,
}

impl<'a> Shown<'a> {
    fn of(meta: &'a [u8]) -> Self {
        let mut shown = Self::default();
        for (found, value) in packed::fields(meta).map_while(Result::ok) {
            let text = || std::str::from_utf8(value).ok();
            match found {
                tag::RECEIVED_US => shown.received_us = value.try_into().map_or(0, u64::from_le_bytes),
                tag::NAME => shown.from = text().unwrap_or_default(),
                tag::DEDUP_ID => shown.message_id = text(),
                tag::CONTENT_TYPE => shown.content_type = text(),
                tag::REPLY_TO => shown.reply_to = text(),
                tag::EXPIRES_US => shown.expires_us = value.try_into().ok().map(u64::from_le_bytes),
                tag::HEADER => shown.has_headers = true,
                _ => {}
            }
        }
        shown
    }
}

fn put_headers(out: &mut Vec<u8>, meta: &[u8]) {
    let all = || packed::named(meta, tag::HEADER);
    // MQTT allows a name twice, a JSON object does not: the last one stands.
    let last = all().enumerate().filter(|(index, (name, _))| !all().skip(index + 1).any(|(n, _)| n == *name));
    out.push(b'{');
    for (count, (_, (name, value))) in last.enumerate() {
        if count > 0 {
            out.push(b',');
        }
        json::put_text(out, name);
        out.push(b':');
        json::put_text(out, value);
    }
    out.push(b'}');
}

/// Writes `data`, `text` or `base64`. Whatever the payload is, it stays inside of its member.
fn put_payload(object: &mut Object<'_>, content_type: Option<&str>, payload: &[u8]) {
    // What nearly all have, as it is nearly always written.
    if content_type == Some("application/json")
        && let Some(value) = json::as_value(payload)
    {
        return object.raw("data", value);
    }
    let media = content_type.map(|full| full.split(';').next().unwrap_or_default().trim());
    let is = |wanted: &str| media.is_some_and(|media| media.eq_ignore_ascii_case(wanted));
    let may_be_json = media.is_none_or(|media| {
        let start = media.len().saturating_sub("+json".len());
        is("application/json") || media.get(start..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
    });
    if may_be_json && let Some(value) = json::as_value(payload) {
        return object.raw("data", value);
    }
    if !is("application/octet-stream")
        && let Ok(text) = std::str::from_utf8(payload)
    {
        return object.text("text", text);
    }
    let out = object.key("base64");
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(payload).as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn shown(content_type: Option<&str>, payload: &[u8]) -> Value {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        put_payload(&mut object, content_type, payload);
        object.end();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_form_follows_type_and_bytes() {
        let json = Some("application/json");
        assert_eq!(shown(json, b" [1] "), json!({"data": [1]}));
        assert_eq!(shown(Some("Application/JSON; charset=utf-8"), b"1"), json!({"data": 1}));
        assert_eq!(shown(Some("application/ld+json"), b"1"), json!({"data": 1}));
        assert_eq!(shown(None, b"21.5"), json!({"data": 21.5}));
        assert_eq!(shown(None, b"cold"), json!({"text": "cold"}));
        assert_eq!(shown(json, b"{}}"), json!({"text": "{}}"}));
        assert_eq!(shown(json, b"\xff"), json!({"base64": "/w=="}));
        assert_eq!(shown(Some("text/plain"), b"1"), json!({"text": "1"}));
        assert_eq!(shown(Some("application/octet-stream"), b"1"), json!({"base64": "MQ=="}));
        assert_eq!(shown(Some(""), b"1"), json!({"text": "1"}));
    }

    #[test]
    fn of_two_headers_the_last_stands() {
        let mut meta = Vec::new();
        packed::put_named(&mut meta, tag::HEADER, "a", "1");
        packed::put_named(&mut meta, tag::HEADER, "b", "2");
        packed::put_named(&mut meta, tag::HEADER, "a", "3");
        let mut out = Vec::new();
        put_headers(&mut out, &meta);
        assert_eq!(out, br#"{"b":"2","a":"3"}"#);
    }

    proptest! {
        #[test]
        fn no_payload_leaves_its_member(
            payload in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..40),
                "[\\[\\]{}\",:a0-9\\\\ ]{0,30}".prop_map(String::into_bytes),
                "1,\"topic\":\"[a-z]{1,3}\"".prop_map(String::into_bytes),
            ],
            content_type in prop_oneof![Just(None), Just(Some("application/json")), Just(Some("text/x"))],
        ) {
            let value = shown(content_type, &payload);
            prop_assert_eq!(value.as_object().unwrap().len(), 1);
        }
    }
}

//! What goes out, as Go's `encoding/json` writes it, and how an event is a message.

use bytes::Bytes;
use weir_contract::packed::{named, tag};
use weir_contract::time::rfc3339;
use weir_contract::topic::{MAX_TOPIC_BYTES, encode_level};

use super::PREFIX;
use super::said::Said;
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

impl Said {
    /// The message to be published; none: the event's name is too long. `with_own`: its own action and time go with it,
    /// as on the publish socket.
    pub(super) fn publish(self, with_own: bool) -> Option<Publish> {
        let topic = topic(&self.event)?;
        let own = [(ACTION, self.action), (CREATED_AT, self.created_at)];
        let given = own.into_iter().filter(|(_, value)| with_own && !value.is_empty());
        Some(Publish {
            content_type: Some("text/plain; charset=utf-8".into()),
            headers: given.map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Publish::new(topic, self.data)
        })
    }
}

/// An event's topic; none: the name is too long for one.
pub(super) fn topic(event: &str) -> Option<String> {
    let topic = format!("{PREFIX}{}", encode_level(event));
    (topic.len() <= MAX_TOPIC_BYTES).then_some(topic)
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

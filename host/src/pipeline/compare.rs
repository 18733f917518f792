//! Whether two versions made the same of a message. Ids and times are no difference: no two runs have the same.

use weir_contract::packed::{self, tag};

use crate::message::Message;

/// What publishers and plugins say of a message, by name.
const NAMES: [(u8, &str); 10] = [
    (tag::CONTENT_TYPE, "content_type"),
    (tag::HEADER, "header"),
    (tag::REPLY_TO, "reply_to"),
    (tag::CORRELATION, "correlation"),
    (tag::RETAIN, "retain"),
    (tag::EXPIRES_US, "expires"),
    (tag::QOS, "qos"),
    (tag::DEDUP_ID, "message_id"),
    (tag::JOIN, "join"),
    (tag::LEAVE, "leave"),
];

/// Whether these are the same messages in the same order: topics, payloads, and what publishers and plugins say.
pub fn is_same(one: &[Message], other: &[Message]) -> bool {
    let same = |(one, other): (&Message, &Message)| {
        one.topic == other.topic && one.payload == other.payload && said(one) == said(other)
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Fields of the message that its publisher or a plugin wrote, sorted; of the end only that there is one.
fn said(message: &Message) -> Vec<(u8, &[u8])> {
    let timeless = |(field, value)| (field, if field == tag::EXPIRES_US { &[][..] } else { value });
    let mut all: Vec<_> = packed::publisher_fields(&message.meta).map(timeless).collect();
    all.sort_unstable();
    all
}

/// The same for people: `name: value`, values cut to so many bytes.
pub fn fields(message: &Message, most: usize) -> Vec<String> {
    let line = |(field, value): (u8, &[u8])| {
        let name = NAMES.iter().find(|(known, _)| *known == field).map_or("field", |(_, name)| name);
        let text = match field {
            tag::HEADER => header(value),
            tag::RETAIN | tag::QOS => value.iter().map(u8::to_string).collect(),
            _ => String::from_utf8_lossy(value).into_owned(),
        };
        format!("{name}: {}", crate::plugin::imports::logging::cut(&text, most))
    };
    said(message).into_iter().map(line).collect()
}

/// The length of the name, the name, the value.
fn header(value: &[u8]) -> String {
    let Some((name, value)) =
        value.split_first().and_then(|(length, rest)| rest.split_at_checked((*length).into()))
    else {
        return String::new();
    };
    format!("{} = {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_contract::packed::{put, put_named, put_u64};

    fn message(payload: &'static str, headers: &[(&str, &str)], id: u128, expires: u64) -> Message {
        let mut meta = Vec::new();
        put(&mut meta, tag::ID, &id.to_be_bytes());
        put_u64(&mut meta, tag::EXPIRES_US, expires);
        for (name, value) in headers {
            put_named(&mut meta, tag::HEADER, name, value);
        }
        Message { topic: "t".into(), meta: meta.into(), payload: payload.into() }
    }

    #[test]
    fn ids_times_and_the_order_of_headers_are_no_difference() {
        let one = message("x", &[("a", "1"), ("b", "2")], 1, 10);
        let ones = std::slice::from_ref(&one);
        assert!(is_same(ones, &[message("x", &[("b", "2"), ("a", "1")], 2, 11)]));
        for other in [
            message("y", &[("a", "1"), ("b", "2")], 1, 10),
            message("x", &[("a", "1")], 1, 10),
            message("x", &[("a", "1"), ("b", "3")], 1, 10),
            Message { topic: "u".into(), ..one.clone() },
        ] {
            assert!(!is_same(ones, &[other]));
        }
        assert!(!is_same(ones, &[]));
        assert_eq!(fields(&one, 9), ["header: a = 1", "header: b = 2", "expires: "]);
    }
}

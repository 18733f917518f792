//! A message to be published, as a client writes it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::fields;
use super::keys::{Key, Keys};
use super::request::Fault;
use crate::ingress::Publish;
use crate::message::Level;

/// Keys of a message to be published.
pub(super) const MESSAGE: [Key; 11] = [
    Key::Topic,
    Key::Data,
    Key::Text,
    Key::Base64,
    Key::ContentType,
    Key::Headers,
    Key::MessageId,
    Key::Level,
    Key::Retain,
    Key::ExpiresInMs,
    Key::ReplyTo,
];

/// Keys of a request's body over HTTP.
pub(super) const REQUEST: [Key; 9] = [
    Key::Topic,
    Key::Data,
    Key::Text,
    Key::Base64,
    Key::ContentType,
    Key::Headers,
    Key::MessageId,
    Key::ExpiresInMs,
    Key::TimeoutMs,
];

/// Milliseconds after which a message may expire: as far as numbers are exact in JavaScript.
pub(super) const EXPIRES_IN_MS: std::ops::RangeInclusive<u64> = 1..=(1 << 53);

/// What a message may have beside topic and payload.
const DESCRIBED: [Key; 7] =
    [Key::ContentType, Key::Headers, Key::MessageId, Key::Level, Key::Retain, Key::ExpiresInMs, Key::ReplyTo];

/// Reads a message; the caller has checked that there are no other keys.
pub(super) fn publish(keys: &Keys<'_>, source: &Source<'_>) -> Result<Publish, Fault> {
    let topic = fields::required(keys, Key::Topic)?;
    let (payload, default_type) = payload(keys, source)?;
    let mut publish = Publish::new(source.topic(&topic), payload);
    publish.content_type = Some(Cow::Borrowed(default_type));
    // Most have nothing of it, and need not look for each.
    if keys.have_any(&DESCRIBED) {
        describe(&mut publish, keys)?;
    }
    Ok(publish)
}

fn describe(publish: &mut Publish, keys: &Keys<'_>) -> Result<(), Fault> {
    if let Some(content_type) = fields::text(keys, Key::ContentType)? {
        fields::check_content_type(&content_type)?;
        publish.content_type = Some(Cow::Owned(content_type.into_owned()));
    }
    publish.headers = fields::headers(keys)?;
    publish.message_id = fields::check_message_id(fields::text(keys, Key::MessageId)?.as_deref())?;
    publish.retain = fields::flag(keys, Key::Retain)?;
    publish.expires_in_ms = fields::number(keys, Key::ExpiresInMs, EXPIRES_IN_MS)?;
    publish.reply_to = fields::text(keys, Key::ReplyTo)?.map(Into::into);
    publish.level = level(fields::text(keys, Key::Level)?.as_deref())?;
    Ok(())
}

/// `level`, from wherever it came.
pub(super) fn level(word: Option<&str>) -> Result<Level, Fault> {
    word.map_or(Some(Level::default()), Level::parse)
        .ok_or_else(|| Fault::new("`level` must be routed, logged or stored".into()))
}

/// The payload and its content type.
fn payload(keys: &Keys<'_>, source: &Source<'_>) -> Result<(Bytes, &'static str), Fault> {
    match (keys.get(Key::Data), keys.get(Key::Text), keys.get(Key::Base64)) {
        (Some(data), None, None) => Ok((source.cut(data.get()), "application/json")),
        (None, Some(_), None) => {
            let text = match fields::required(keys, Key::Text)? {
                Cow::Borrowed(text) => source.cut(text),
                Cow::Owned(text) => text.into(),
            };
            Ok((text, "text/plain; charset=utf-8"))
        }
        (None, None, Some(_)) => {
            let bytes = fields::base64(keys)?.unwrap_or_default();
            Ok((bytes.into(), "application/octet-stream"))
        }
        _ => Err(not_one_payload(keys)),
    }
}

fn not_one_payload(keys: &Keys<'_>) -> Fault {
    let given = [Key::Data, Key::Text, Key::Base64].into_iter().filter(|key| keys.get(*key).is_some());
    let given: Vec<_> = given.map(Key::name).collect();
    let given = if given.is_empty() { "none was".into() } else { format!("{} were", given.join(" and ")) };
    Fault::new(format!("exactly one of data, text, base64 is accepted: {given} given"))
}

/// The bytes that a request is read from.
pub(super) struct Source<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// The same bytes, shared.
    pub(super) bytes: &'a Bytes,
    /// Size of the memory in which `bytes` may lie.
    pub(super) memory: usize,
    /// The topic of the message before: most publishers have only one.
    pub(super) before: Option<&'a Arc<str>>,
}

impl Source<'_> {
    /// A topic, in the memory of the message before if it is the same.
    fn topic(&self, topic: &str) -> Arc<str> {
        self.before.filter(|before| ***before == *topic).map_or_else(|| topic.into(), Arc::clone)
    }

    /// A payload that is a part of the source.
    fn cut(&self, part: &str) -> Bytes {
        keep(self.bytes, part.as_bytes(), self.memory)
    }
}

/// `part` of `bytes`: shared if it is most of the `memory` that sharing would hold, else copied. Otherwise a
/// client could make a queue hold megabytes for each byte that is counted, with white space around its
/// messages.
pub(super) fn keep(bytes: &Bytes, part: &[u8], memory: usize) -> Bytes {
    if part.len() >= memory / 2 { bytes.slice_ref(part) } else { Bytes::copy_from_slice(part) }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Frame, Request};
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Frame {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let text = std::str::from_utf8(&bytes).unwrap();
        Frame::read(&Source { text, bytes: &bytes, memory: bytes.len(), before: None })
    }

    fn published(text: &str) -> Publish {
        match read(text).request {
            Ok(Request::Publish(publish)) => publish,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_publish_keeps_the_payload_as_written() {
        let frame = r#"{"action":"publish","id":"x","topic":"a/b","data": {"n" : 1e2},"level":"stored"}"#;
        let publish = published(frame);
        assert_eq!((&*publish.topic, &publish.payload[..]), ("a/b", &br#"{"n" : 1e2}"#[..]));
        assert_eq!(publish.content_type.as_deref(), Some("application/json"));
        assert_eq!(publish.level, Level::Stored);
        assert_eq!(read(frame).id.unwrap().as_str(), r#""x""#);
    }

    #[test]
    fn the_three_payloads() {
        let of = |payload: &str| published(&format!(r#"{{"action":"publish","topic":"a",{payload}}}"#));
        assert_eq!(&of(r#""data":null"#).payload[..], b"null");
        assert_eq!(&of(r#""text":"a\nb""#).payload[..], b"a\nb");
        assert_eq!(of(r#""text":"""#).content_type.as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(&of(r#""base64":"AP8=""#).payload[..], &[0, 255]);
        assert_eq!(of(r#""base64":"AP8=","content_type":"a/b""#).content_type.as_deref(), Some("a/b"));
    }

    #[test]
    fn a_small_payload_does_not_hold_a_large_frame() {
        let padded = format!(r#"{{"action":"publish","topic":"a","data":1{}}}"#, " ".repeat(10_000));
        let bytes = Bytes::from(padded);
        let text = std::str::from_utf8(&bytes).unwrap();
        let source = Source { text, bytes: &bytes, memory: bytes.len(), before: None };
        assert!(!bytes.as_ptr_range().contains(&source.cut(&text[43..44]).as_ptr()));
        assert!(bytes.as_ptr_range().contains(&source.cut(&text[..6_000]).as_ptr()));
        assert!(Frame::read(&source).request.is_ok());
    }

    #[test]
    fn all_keys_of_a_message_are_looked_at() {
        for key in MESSAGE {
            let is_payload = matches!(key, Key::Topic | Key::Data | Key::Text | Key::Base64);
            assert!(is_payload != DESCRIBED.contains(&key), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn any_data_comes_through(data in "\\PC{0,30}") {
            let json = serde_json::to_string(&data).unwrap();
            let publish = published(&format!(r#"{{"action":"publish","topic":"a","data":{json}}}"#));
            prop_assert_eq!(&publish.payload[..], json.as_bytes());
            let publish = published(&format!(r#"{{"action":"publish","topic":"a","text":{json}}}"#));
            prop_assert_eq!(&publish.payload[..], data.as_bytes());
        }
    }
}

//! What a client asks for, read from a frame or from an HTTP body.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::fields;
use super::keys::{Key, Keys};
use crate::ingress::{HistoryRequest, Publish, Query};
use crate::message::Level;

/// Keys of a message to be published.
pub(super) const MESSAGE: [Key; 8] = [
    Key::Topic,
    Key::Data,
    Key::Text,
    Key::Base64,
    Key::ContentType,
    Key::Headers,
    Key::MessageId,
    Key::Level,
];
const PUBLISH: [Key; 10] = [
    Key::Action,
    Key::Id,
    Key::Topic,
    Key::Data,
    Key::Text,
    Key::Base64,
    Key::ContentType,
    Key::Headers,
    Key::MessageId,
    Key::Level,
];
const SUBSCRIBE: [Key; 3] = [Key::Action, Key::Id, Key::Topic];
const HISTORY: [Key; 7] = [Key::Action, Key::Id, Key::Topic, Key::Log, Key::After, Key::Limit, Key::Reverse];
const QUERY: [Key; 7] = [Key::Action, Key::Id, Key::Plugin, Key::Topic, Key::Params, Key::Cursor, Key::Limit];
const PING: [Key; 2] = [Key::Action, Key::Id];

/// What is wrong with what a client sent, and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Fault {
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(reason: String) -> Self {
        Self { reason }
    }
}

/// A frame's `id`, as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    bytes: [u8; Self::BYTES],
    used: u8,
}

impl Id {
    const BYTES: usize = 64;

    /// The JSON text: a string or a number.
    pub(super) fn as_str(&self) -> &str {
        let used = self.bytes.get(..usize::from(self.used)).unwrap_or_default();
        std::str::from_utf8(used).unwrap_or("null")
    }

    fn read(value: &RawValue) -> Result<Self, Fault> {
        let text = value.get();
        if !text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit()) {
            return Err(Fault::new("`id` must be a string or a number".into()));
        }
        // Kept by value: an answer that is outstanding shall not hold the memory of a whole frame.
        let mut bytes = [0; Self::BYTES];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(space), Ok(used)) => {
                space.copy_from_slice(text.as_bytes());
                Ok(Self { bytes, used })
            }
            _ => Err(Fault::new("`id` must be at most 64 bytes".into())),
        }
    }
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) id: Option<Id>,
    /// A fault may still have an id, and then is its answer.
    pub(super) request: Result<Request, Fault>,
}

/// What a frame asks for.
#[derive(Debug)]
pub(super) enum Request {
    Publish(Publish),
    Subscribe(String),
    Unsubscribe(String),
    History(HistoryRequest),
    Query(Query),
    Ping,
}

impl Frame {
    /// Reads a frame.
    pub(super) fn read(source: &Source<'_>) -> Self {
        let keys: Keys<'_> = match serde_json::from_str(source.text) {
            Ok(keys) => keys,
            Err(error) => {
                let fault = Fault::new(format!("a frame is one JSON object with an `action`: {error}"));
                return Self { id: None, request: Err(fault) };
            }
        };
        match keys.get(Key::Id).map(Id::read).transpose() {
            Ok(id) => Self { id, request: request(&keys, id, source) },
            Err(fault) => Self { id: None, request: Err(fault) },
        }
    }
}

fn request(keys: &Keys<'_>, id: Option<Id>, source: &Source<'_>) -> Result<Request, Fault> {
    match &*fields::required(keys, Key::Action)? {
        "publish" => {
            keys.only(&PUBLISH)?;
            Ok(Request::Publish(publish(keys, source)?))
        }
        "subscribe" => {
            keys.only(&SUBSCRIBE)?;
            Ok(Request::Subscribe(fields::required(keys, Key::Topic)?.into_owned()))
        }
        "unsubscribe" => {
            keys.only(&SUBSCRIBE)?;
            Ok(Request::Unsubscribe(fields::required(keys, Key::Topic)?.into_owned()))
        }
        "ping" => {
            keys.only(&PING)?;
            Ok(Request::Ping)
        }
        "history" | "query" if id.is_none() => {
            Err(Fault::new("`id` is missing: there would be no answer without it".into()))
        }
        "history" => history(keys).map(Request::History),
        "query" => query(keys).map(Request::Query),
        other => {
            let shown = other.get(..other.floor_char_boundary(64)).unwrap_or_default();
            Err(Fault::new(format!(
                "unknown action {shown:?}: accepted are history, ping, publish, query, subscribe, unsubscribe"
            )))
        }
    }
}

fn history(keys: &Keys<'_>) -> Result<HistoryRequest, Fault> {
    keys.only(&HISTORY)?;
    Ok(HistoryRequest {
        pattern: fields::required(keys, Key::Topic)?.into_owned(),
        log: fields::text(keys, Key::Log)?.map(Into::into),
        after: fields::after(keys)?,
        limit: fields::limit(keys)?,
        reverse: fields::flag(keys, Key::Reverse)?,
    })
}

fn query(keys: &Keys<'_>) -> Result<Query, Fault> {
    keys.only(&QUERY)?;
    Ok(Query {
        plugin: fields::required(keys, Key::Plugin)?.into_owned(),
        topic: fields::required(keys, Key::Topic)?.into_owned(),
        params: fields::params(keys)?,
        cursor: fields::check_cursor(fields::text(keys, Key::Cursor)?.as_deref())?,
        limit: u32::try_from(fields::limit(keys)?).unwrap_or(u32::MAX),
    })
}

/// Reads a message; the caller has checked that there are no other keys.
pub(super) fn publish(keys: &Keys<'_>, source: &Source<'_>) -> Result<Publish, Fault> {
    let topic = fields::required(keys, Key::Topic)?.into_owned();
    let (payload, default_type) = payload(keys, source)?;
    let content_type = fields::text(keys, Key::ContentType)?;
    let content_type = content_type.map_or_else(|| default_type.to_owned(), Into::into);
    fields::check_content_type(&content_type)?;
    Ok(Publish {
        topic,
        payload,
        content_type: Some(content_type),
        headers: fields::headers(keys)?,
        message_id: fields::check_message_id(fields::text(keys, Key::MessageId)?.as_deref())?,
        level: level(fields::text(keys, Key::Level)?.as_deref())?,
    })
}

/// `level`, from wherever it came.
pub(super) fn level(word: Option<&str>) -> Result<Level, Fault> {
    word.map_or(Some(Level::default()), Level::parse)
        .ok_or_else(|| Fault::new("`level` must be routed, logged or stored".into()))
}

/// The payload and its content type.
fn payload(keys: &Keys<'_>, source: &Source<'_>) -> Result<(Bytes, &'static str), Fault> {
    let given = [Key::Data, Key::Text, Key::Base64].into_iter().filter(|key| keys.get(*key).is_some());
    let given: Vec<_> = given.map(Key::name).collect();
    if given.len() != 1 {
        let given = if given.is_empty() { "none".into() } else { given.join(" and ") };
        let verb = if given == "none" { "was" } else { "were" };
        let reason = format!("exactly one of data, text, base64 is accepted: {given} {verb} given");
        return Err(Fault::new(reason));
    }
    if let Some(data) = keys.get(Key::Data) {
        return Ok((source.cut(data.get()), "application/json"));
    }
    if let Some(bytes) = fields::base64(keys)? {
        return Ok((bytes.into(), "application/octet-stream"));
    }
    let text = match fields::required(keys, Key::Text)? {
        std::borrow::Cow::Borrowed(text) => source.cut(text),
        std::borrow::Cow::Owned(text) => text.into(),
    };
    Ok((text, "text/plain; charset=utf-8"))
}

/// The bytes that a request is read from.
pub(super) struct Source<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// The same bytes, shared.
    pub(super) bytes: &'a Bytes,
    /// Size of the memory in which `bytes` may lie.
    pub(super) memory: usize,
}

impl Source<'_> {
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
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Frame {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let text = std::str::from_utf8(&bytes).unwrap();
        Frame::read(&Source { text, bytes: &bytes, memory: bytes.len() })
    }

    fn refusal(text: &str) -> String {
        read(text).request.unwrap_err().reason
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
    fn refusals_say_what_is_accepted() {
        assert!(refusal("[]").contains("expected a JSON object"));
        assert!(refusal("{} {}").contains("trailing characters"));
        assert_eq!(refusal("{}"), "`action` is missing: it is a string");
        let none = r#"{"action":"publish","topic":"a"}"#;
        assert_eq!(refusal(none), "exactly one of data, text, base64 is accepted: none was given");
        assert!(refusal(r#"{"action":"ping","topic":"a"}"#).ends_with("accepted are action, id"));
        assert!(refusal(r#"{"action":"history","topic":"a"}"#).starts_with("`id` is missing"));
        let level = r#"{"action":"publish","topic":"a","data":1,"level":"soon"}"#;
        assert_eq!(refusal(level), "`level` must be routed, logged or stored");
    }

    #[test]
    fn ids_are_echoed_or_refused() {
        for good in ["1", "-1.5e3", r#""a\"b""#] {
            let frame = format!(r#"{{"action":"nothing","id":{good}}}"#);
            assert_eq!(read(&frame).id.unwrap().as_str(), good);
        }
        for bad in ["true", "[]", "{}", &format!("\"{}\"", "x".repeat(64))] {
            let frame = read(&format!(r#"{{"action":"ping","id":{bad}}}"#));
            assert!(frame.id.is_none() && frame.request.is_err(), "{bad}");
        }
    }

    #[test]
    fn a_small_payload_does_not_hold_a_large_frame() {
        let padded = format!(r#"{{"action":"publish","topic":"a","data":1{}}}"#, " ".repeat(10_000));
        let bytes = Bytes::from(padded);
        let text = std::str::from_utf8(&bytes).unwrap();
        let source = Source { text, bytes: &bytes, memory: bytes.len() };
        assert!(!bytes.as_ptr_range().contains(&source.cut(&text[43..44]).as_ptr()));
        assert!(bytes.as_ptr_range().contains(&source.cut(&text[..6_000]).as_ptr()));
        assert!(Frame::read(&source).request.is_ok());
    }

    proptest! {
        #[test]
        fn any_frame_is_read_or_refused(
            action in prop_oneof![Just("publish"), Just("subscribe"), Just("history"), Just("query"), Just("ping")],
            rest in "(,\"(id|topic|data|text|base64|headers|level|limit|after|params|cursor)\":(1|\"a\"|null|\\{\\}|\\[1\\]|true)){0,6}",
        ) {
            let frame = read(&format!("{{\"action\":\"{action}\"{rest}}}"));
            if let Err(fault) = frame.request {
                prop_assert!(!fault.reason.is_empty());
            }
        }

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

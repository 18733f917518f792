//! What a client asks for, read from a frame or from an HTTP body.

use std::time::Duration;

use super::consume;
use super::fields;
use super::keys::{Key, Keys, Raw};
use super::message::{self, Source};
use crate::durable::{Ack, Request as Consume};
use crate::ingress::{HistoryRequest, Publish, Query, Subscribe};

const PUBLISH: [Key; 13] = [
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
    Key::Retain,
    Key::ExpiresInMs,
    Key::ReplyTo,
];
const REQUEST: [Key; 11] = [
    Key::Action,
    Key::Id,
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
const SUBSCRIBE: [Key; 6] = [Key::Action, Key::Id, Key::Topic, Key::Since, Key::Retained, Key::Presence];
const TOPIC: [Key; 3] = [Key::Action, Key::Id, Key::Topic];
const HISTORY: [Key; 7] = [Key::Action, Key::Id, Key::Topic, Key::Log, Key::Since, Key::Limit, Key::Reverse];
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

    fn read(value: Raw<'_>) -> Result<Self, Fault> {
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
    /// With the time to wait for the reply.
    Ask(Publish, Duration),
    Subscribe(Subscribe),
    Unsubscribe(String),
    Presence(String),
    Consume(Consume),
    Leave(consume::Leave),
    Ack(Ack),
    History(HistoryRequest),
    Query(Query),
    Ping,
}

impl Frame {
    /// Reads a frame.
    pub(super) fn read(source: &Source<'_>) -> Self {
        let mut keys = Keys::default();
        if let Err(error) = keys.fill(source.text) {
            let fault = Fault::new(format!("a frame is one JSON object with an `action`: {error}"));
            return Self { id: None, request: Err(fault) };
        }
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
            Ok(Request::Publish(message::publish(keys, source)?))
        }
        "subscribe" if consume::is_meant(keys) => consume::subscribe(keys).map(Request::Consume),
        "unsubscribe" if consume::is_meant(keys) => consume::unsubscribe(keys).map(Request::Leave),
        "ack" => consume::ack(keys).map(Request::Ack),
        "subscribe" => {
            keys.only(&SUBSCRIBE)?;
            let pattern = fields::required(keys, Key::Topic)?.into_owned();
            let since = fields::since(keys)?;
            let retained = fields::choice(keys, Key::Retained)?;
            let presence = fields::flag(keys, Key::Presence)?;
            Ok(Request::Subscribe(Subscribe { pattern, since, retained, presence, ..Subscribe::default() }))
        }
        "unsubscribe" => {
            keys.only(&TOPIC)?;
            Ok(Request::Unsubscribe(fields::required(keys, Key::Topic)?.into_owned()))
        }
        "ping" => {
            keys.only(&PING)?;
            Ok(Request::Ping)
        }
        "history" | "presence" | "query" | "request" if id.is_none() => {
            Err(Fault::new("`id` is missing: there would be no answer without it".into()))
        }
        "history" => history(keys).map(Request::History),
        "query" => query(keys).map(Request::Query),
        "presence" => {
            keys.only(&TOPIC)?;
            Ok(Request::Presence(fields::required(keys, Key::Topic)?.into_owned()))
        }
        "request" => {
            keys.only(&REQUEST)?;
            Ok(Request::Ask(message::publish(keys, source)?, fields::timeout(keys)?))
        }
        other => {
            let shown = other.get(..other.floor_char_boundary(64)).unwrap_or_default();
            Err(Fault::new(format!(
                "unknown action {shown:?}: accepted are ack, history, ping, presence, publish, query, request, \
                 subscribe, unsubscribe"
            )))
        }
    }
}

fn history(keys: &Keys<'_>) -> Result<HistoryRequest, Fault> {
    keys.only(&HISTORY)?;
    let reverse = fields::flag(keys, Key::Reverse)?;
    Ok(HistoryRequest {
        pattern: fields::required(keys, Key::Topic)?.into_owned(),
        log: fields::text(keys, Key::Log)?.map(Into::into),
        since: fields::begin_history(fields::since(keys)?, reverse)?,
        limit: fields::limit(keys)?,
        reverse,
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn read(text: &str) -> Frame {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let text = std::str::from_utf8(&bytes).unwrap();
        Frame::read(&Source { text, bytes: &bytes, memory: bytes.len(), before: None })
    }

    fn refusal(text: &str) -> String {
        read(text).request.unwrap_err().reason
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

    proptest! {
        #[test]
        fn any_frame_is_read_or_refused(
            action in prop_oneof![Just("publish"), Just("subscribe"), Just("history"), Just("query"), Just("ping"), Just("request"), Just("presence")],
            rest in "(,\"(id|topic|data|text|base64|headers|level|limit|since|params|cursor|presence|retained|retain|timeout_ms)\":(1|\"a\"|null|\\{\\}|\\[1\\]|true)){0,6}",
        ) {
            let frame = read(&format!("{{\"action\":\"{action}\"{rest}}}"));
            if let Err(fault) = frame.request {
                prop_assert!(!fault.reason.is_empty());
            }
        }

    }
}

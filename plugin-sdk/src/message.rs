//! A message as a plugin sees it. Metadata stays packed until a field is asked for.

mod draft;
mod id;
mod meta;
mod session;

pub use draft::Draft;
pub use id::Id;
pub use meta::Meta;
pub use session::{Origin, Session};

use crate::{Refusal, Time};
use serde::de::DeserializeOwned;
use weir_contract::packed::{self, tag};

/// The headers of a message, as name and value, in order.
pub type Headers<'a> = packed::Named<'a>;

/// One message. Nothing is decoded before it is asked for, and nothing is copied: looking a field up walks
/// the packed metadata, which costs a few nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) topic: String,
    pub(crate) meta: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    /// `a/b/c`: 1 to 512 bytes.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The levels of the topic. They may be empty.
    pub fn levels(&self) -> std::str::Split<'_, char> {
        self.topic.split('/')
    }

    /// The payload, as it was published: at most 1 MiB, may be empty.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as text, or a refusal that tells the publisher that it is not UTF-8.
    pub fn text(&self) -> Result<&str, Refusal> {
        std::str::from_utf8(&self.payload).map_err(|error| {
            Refusal::new(format!("the payload is not UTF-8 text: byte {}", error.valid_up_to()))
        })
    }

    /// The payload as JSON, or a refusal with the reason and the JSON Pointer of its place.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        crate::plugin::read_json(&self.payload).map_err(|(path, reason)| Refusal::new(reason).at(path))
    }

    /// Who published it.
    pub fn session(&self) -> Session<'_> {
        Session::new(&self.meta)
    }

    /// The host's own id, new for every message; of no use to recognise what was published twice.
    pub fn id(&self) -> Id {
        Id::read(&self.meta, tag::ID).unwrap_or_default()
    }

    /// When the router took it.
    pub fn received(&self) -> Time {
        self.time(tag::RECEIVED_US).unwrap_or_default()
    }

    /// What kind of client published it.
    pub fn origin(&self) -> Origin<'_> {
        self.session().origin()
    }

    /// The message from which a transform made this one.
    pub fn cause(&self) -> Option<Id> {
        Id::read(&self.meta, tag::CAUSE)
    }

    /// The name of its log. Storage plugins only.
    pub fn log(&self) -> Option<&str> {
        packed::text(&self.meta, tag::LOG)
    }

    /// The epoch of its log. Storage plugins only.
    pub fn epoch(&self) -> Option<u64> {
        packed::u64_of(&self.meta, tag::EPOCH)
    }

    /// Its offset in its log. Storage plugins only.
    pub fn offset(&self) -> Option<u64> {
        packed::u64_of(&self.meta, tag::OFFSET)
    }

    /// The topic that the publisher named, if a transform changed it.
    pub fn original_topic(&self) -> Option<&str> {
        packed::text(&self.meta, tag::ORIGINAL_TOPIC)
    }

    /// The publisher's content type.
    pub fn content_type(&self) -> Option<&str> {
        packed::text(&self.meta, tag::CONTENT_TYPE)
    }

    /// The first header with this name; names are lower-case.
    pub fn header(&self, name: &str) -> Option<&str> {
        packed::value_of(&self.meta, tag::HEADER, name)
    }

    /// All headers, at most 64.
    pub fn headers(&self) -> Headers<'_> {
        packed::named(&self.meta, tag::HEADER)
    }

    /// The publisher's own id of the message, 1 to 64 bytes: the same when it publishes again.
    pub fn dedup_id(&self) -> Option<&[u8]> {
        packed::first(&self.meta, tag::DEDUP_ID)
    }

    /// Where the publisher wants the reply.
    pub fn reply_to(&self) -> Option<&str> {
        packed::text(&self.meta, tag::REPLY_TO)
    }

    /// What the publisher wants back in the reply.
    pub fn correlation(&self) -> Option<&[u8]> {
        packed::first(&self.meta, tag::CORRELATION)
    }

    /// Whether it stays as its topic's last value.
    pub fn retain(&self) -> bool {
        packed::flag_of(&self.meta, tag::RETAIN)
    }

    /// 0 to 2, as published by MQTT; none from elsewhere.
    pub fn qos(&self) -> Option<u8> {
        packed::first(&self.meta, tag::QOS)?.first().copied()
    }

    /// When it is of no more use.
    pub fn expires(&self) -> Option<Time> {
        self.time(tag::EXPIRES_US)
    }

    /// The publisher's part of the metadata, to be changed and sent on.
    pub fn meta(&self) -> Meta {
        Meta::of(&self.meta)
    }

    /// Another message with the same metadata.
    pub fn draft(&self, topic: impl ToString, payload: impl Into<Vec<u8>>) -> Draft {
        Draft::new(topic, payload)
    }

    /// A message to the session that published this one, with its correlation, and to nobody else.
    pub fn reply(&self, payload: impl Into<Vec<u8>>) -> Draft {
        let mut meta = Meta::new();
        if let Some(correlation) = self.correlation() {
            meta = meta.with(tag::CORRELATION, correlation);
        }
        Draft::new(self.session().inbox(), payload).with(meta)
    }

    fn time(&self, tag: u8) -> Option<Time> {
        packed::u64_of(&self.meta, tag).map(Time::from_micros)
    }
}

impl From<crate::bindings::imports::weir::plugin::types::Message> for Message {
    fn from(raw: crate::bindings::imports::weir::plugin::types::Message) -> Self {
        Self { topic: raw.topic, meta: raw.meta, payload: raw.payload }
    }
}

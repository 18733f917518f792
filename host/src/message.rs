//! The words that every module shares: messages, who sent them, and what became of them.
//!
//! A [`Message`] is immutable and cheap to clone. Its `meta` is one packed blob (format 1 of
//! `wit/README.md`): it crosses into plugins, into the log and out of it as it stands, so nothing is
//! encoded twice.

mod inbox;
mod outcome;
mod places;
mod principal;
mod rights;
mod run;
mod sender;

pub use inbox::{inbox, is_inbox_of};
pub use outcome::{Accepted, Answer, Level, Outcome, Refusal, Responder};
pub use places::{Places, Since};
pub use principal::{Grant, Principal, PrincipalError};
pub use rights::Rights;
pub use run::Run;
pub use sender::Sender;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use weir_contract::packed::{self, tag};

/// One message, as plugins, log and subscribers see it.
#[derive(Clone, Debug)]
pub struct Message {
    /// A valid topic (`weir_contract::topic::check` holds).
    pub topic: Arc<str>,
    /// Packed fields, host-owned ones first, never empty, at most 16 KiB.
    pub meta: Bytes,
    /// Opaque, at most the configured `limits.message_bytes`.
    pub payload: Bytes,
}

impl Message {
    /// The ULID that ingress gave, big-endian; zero if the blob has none.
    pub fn id(&self) -> u128 {
        let bytes = packed::first(&self.meta, tag::ID).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u128::from_be_bytes)
    }

    /// When ingress took it, Unix microseconds.
    pub fn received_us(&self) -> u64 {
        packed::u64_of(&self.meta, tag::RECEIVED_US).unwrap_or(0)
    }

    /// The publisher's principal name.
    pub fn publisher(&self) -> &str {
        packed::text(&self.meta, tag::NAME).unwrap_or("")
    }

    /// The publisher's tenant.
    pub fn tenant(&self) -> Option<&str> {
        packed::text(&self.meta, tag::TENANT)
    }

    /// The publisher's origin: `device`, `page`, `sensor`, `service` or `plugin`.
    pub fn origin(&self) -> &str {
        packed::text(&self.meta, tag::ORIGIN).unwrap_or("")
    }

    /// Media type that the publisher gave.
    pub fn content_type(&self) -> Option<&str> {
        packed::text(&self.meta, tag::CONTENT_TYPE)
    }

    /// The publisher's own message id (native `message_id`, HTTP `Idempotency-Key`).
    pub fn message_id(&self) -> Option<&[u8]> {
        packed::first(&self.meta, tag::DEDUP_ID)
    }

    /// From when on it is not delivered any more, Unix microseconds.
    pub fn expires_us(&self) -> Option<u64> {
        packed::u64_of(&self.meta, tag::EXPIRES_US)
    }

    /// Whether it is to be its topic's retained message.
    pub fn is_retained(&self) -> bool {
        packed::first(&self.meta, tag::RETAIN).is_some_and(|flag| flag == [1])
    }

    /// Where the publisher waits for replies.
    pub fn reply_to(&self) -> Option<&str> {
        packed::text(&self.meta, tag::REPLY_TO)
    }

    /// Bytes that the message holds in a queue, for byte limits.
    pub fn size(&self) -> usize {
        self.topic.len() + self.meta.len() + self.payload.len()
    }
}

/// Where a message stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log's configured name.
    pub log: Arc<str>,
    /// The life of the log in which the offset was given.
    pub epoch: u64,
    /// Sequence number in the log.
    pub offset: u64,
}

/// A message read back from a log.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The message as it was accepted.
    pub message: Message,
    /// Its place.
    pub place: Place,
}

/// Wire formats whose frame is encoded once per message and shared by all its readers: complete WebSocket text frames,
/// or packets of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// JSON of the native protocol.
    Native,
    /// The payload as it is.
    Payload,
    /// JSON of picloud.
    Picloud,
    /// JSON of rooms, with the time.
    Rooms,
    /// JSON of rooms as they began, without the time.
    EarlyRooms,
    /// PUBLISH of MQTT 3.1.1, QoS 0.
    Mqtt3,
    /// PUBLISH of MQTT 5, QoS 0.
    Mqtt5,
}

/// Frames beside the native one.
#[derive(Debug, Default)]
struct OtherFrames {
    payload: OnceLock<Bytes>,
    picloud: OnceLock<Bytes>,
    rooms: OnceLock<Bytes>,
    early_rooms: OnceLock<Bytes>,
    mqtt3: OnceLock<Bytes>,
    mqtt5: OnceLock<Bytes>,
}

/// Why a message comes to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// It was published, or is replayed in the log's order.
    #[default]
    Live,
    /// It was its topic's retained message when the session subscribed.
    Retained,
    /// For a durable consumer of this name, for the nth time (from 1); it waits for the acknowledgement.
    Consumer {
        /// The consumer's name.
        name: Arc<str>,
        /// Whether several sessions share it.
        shared: bool,
        /// How many times it has been delivered, this time included.
        delivery: u32,
    },
}

/// An accepted message on its way to subscribers: shared by every session queue that holds it.
#[derive(Debug)]
pub struct Routed {
    /// The message.
    pub message: Message,
    /// None when its topic belongs to no log.
    pub place: Option<Place>,
    /// Why it comes.
    pub mark: Mark,
    /// As [`Message::expires_us`], read once.
    pub expires_us: Option<u64>,
    native: OnceLock<Bytes>,
    /// Apart, since most messages meet none of these wires.
    others: OnceLock<Box<OtherFrames>>,
}

impl Routed {
    /// A message with no frame encoded yet.
    pub fn new(message: Message, place: Option<Place>) -> Self {
        Self::marked(message, place, Mark::Live)
    }

    /// The same, with the reason why it comes.
    pub fn marked(message: Message, place: Option<Place>, mark: Mark) -> Self {
        let expires_us = message.expires_us();
        let (native, others) = Default::default();
        Self { message, place, mark, expires_us, native, others }
    }

    /// The frame of this wire format, encoded by the first reader that asks.
    pub fn frame(&self, wire: Wire, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        let others = || self.others.get_or_init(Default::default);
        let slot = match wire {
            Wire::Native => &self.native,
            Wire::Payload => &others().payload,
            Wire::Picloud => &others().picloud,
            Wire::Rooms => &others().rooms,
            Wire::EarlyRooms => &others().early_rooms,
            Wire::Mqtt3 => &others().mqtt3,
            Wire::Mqtt5 => &others().mqtt5,
        };
        slot.get_or_init(|| encode(self)).clone()
    }
}

/// Unix time in microseconds.
pub fn now_us() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

//! The registry of tags. A tag's meaning and width never change, and a retired tag is never given again.

/// 16 bytes: the message's ULID, big-endian as in its specification.
pub const ID: u8 = 0x01;
/// u64, Unix microseconds: when ingress took the message.
pub const RECEIVED_US: u8 = 0x02;
/// Text: the principal's tenant.
pub const TENANT: u8 = 0x03;
/// Text: the principal's name, one topic level.
pub const NAME: u8 = 0x04;
/// Text: `device`, `page`, `sensor`, `service` or `plugin`; more may come.
pub const ORIGIN: u8 = 0x05;
/// Text, 1 to 32 bytes of `A-Za-z0-9`: opaque, a legal topic level, never reused.
pub const SESSION: u8 = 0x06;
/// Text: the gateway through which the session came.
pub const GATEWAY: u8 = 0x07;
/// Text: the id of the account on which the session rests; absent = none.
pub const ACCOUNT: u8 = 0x08;
/// Named text, repeats: what the auth plugin's grant said about the principal.
pub const ATTRIBUTE: u8 = 0x09;
/// 16 bytes: the id of the message from which a transform made this one.
pub const CAUSE: u8 = 0x0a;
/// Text: the topic that the publisher named, if a transform changed it.
pub const ORIGINAL_TOPIC: u8 = 0x0b;
/// u64, only in `store`: the epoch of the message's log.
pub const EPOCH: u8 = 0x0c;
/// u64, only in `store`: the message's offset in its log.
pub const OFFSET: u8 = 0x0d;
/// Text, only in `store`: the name of the message's log.
pub const LOG: u8 = 0x0e;

/// Text, only in a context: the plugin's file name without `.wasm`.
pub const PLUGIN: u8 = 0x20;
/// Text, only in a context: the binding's name.
pub const BINDING: u8 = 0x21;
/// 32 bytes, only in a context: SHA-256 of the component.
pub const DIGEST: u8 = 0x22;
/// Text, only in a context: the host's version.
pub const HOST_VERSION: u8 = 0x23;
/// u64, only in a context: changes with each start of the router.
pub const RUN: u8 = 0x24;
/// Flag, only in a context: set on the trial instance of a load.
pub const TRIAL: u8 = 0x25;

/// Never passed to a plugin: in a log of input, the auth binding that let the publisher in, and its claims.
pub const SENDER: u8 = 0x30;
/// Opaque, for the host: the session and the packet identifier under which a message of MQTT came at QoS 2.
pub const RECEIVED: u8 = 0x31;

/// Text, at most 255 bytes.
pub const CONTENT_TYPE: u8 = 0x80;
/// Named text, repeats, at most 64 of them.
pub const HEADER: u8 = 0x81;
/// A topic; the host checks that the publisher may subscribe to it.
pub const REPLY_TO: u8 = 0x82;
/// At most 1 KiB, opaque.
pub const CORRELATION: u8 = 0x83;
/// Flag: the message stays as its topic's last value; absent = 0.
pub const RETAIN: u8 = 0x84;
/// u64, Unix microseconds: the message is not delivered afterwards.
pub const EXPIRES_US: u8 = 0x85;
/// One byte, 0 to 2, as published by MQTT; absent elsewhere.
pub const QOS: u8 = 0x86;
/// 1 to 64 bytes: the publisher's own id of the message.
pub const DEDUP_ID: u8 = 0x87;
/// A pattern, repeats: the session to whose inbox the message goes is subscribed to it.
pub const JOIN: u8 = 0x88;
/// A pattern, repeats: the session to whose inbox the message goes is unsubscribed from it.
pub const LEAVE: u8 = 0x89;
/// Named text, repeats, 64 together with headers: an MQTT user property whose name is not a header's, as it was sent.
pub const USER_PROPERTY: u8 = 0x8a;
/// Flag: the publisher says that the payload is UTF-8 (MQTT 5 section 3.3.2.3.2); absent = 0.
pub const TEXT: u8 = 0x8b;

/// Whether a tag is the publisher's (gateway, transform) and not the host's.
pub const fn is_publisher(tag: u8) -> bool {
    tag >= 0x80
}

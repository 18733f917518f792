//! One line of an export: a JSON object with a message and its place.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use weir_contract::packed::{self, tag};
use weir_contract::topic;

use crate::message::{Message, Stored};

/// Bytes of one payload that are imported: what one published message may have.
const PAYLOAD_BYTES: usize = 1 << 20;

/// What is written. Everything but `topic`, `meta` and `payload` is there to be read, and ignored by an import.
#[derive(Serialize)]
struct Line<'a> {
    log: &'a str,
    epoch: u64,
    offset: u64,
    topic: &'a str,
    id: Option<String>,
    time_us: Option<u64>,
    name: Option<&'a str>,
    origin: Option<&'a str>,
    content_type: Option<&'a str>,
    meta: String,
    payload: String,
}

/// What is read back.
#[derive(Deserialize)]
struct Given {
    topic: Option<String>,
    meta: Option<String>,
    payload: Option<String>,
    /// Only on the last line of an export.
    exported: Option<u64>,
}

/// Appends the line of a message.
pub(super) fn write(out: &mut Vec<u8>, stored: &Stored) -> serde_json::Result<()> {
    let Stored { message, place } = stored;
    let id = packed::first(&message.meta, tag::ID).and_then(|id| id.try_into().ok());
    let line = Line {
        log: &place.log,
        epoch: place.epoch,
        offset: place.offset,
        topic: &message.topic,
        id: id.map(|id| Ulid::from(u128::from_be_bytes(id)).to_string()),
        time_us: packed::u64_of(&message.meta, tag::RECEIVED_US),
        name: packed::text(&message.meta, tag::NAME),
        origin: packed::text(&message.meta, tag::ORIGIN),
        content_type: packed::text(&message.meta, tag::CONTENT_TYPE),
        meta: STANDARD.encode(&message.meta),
        payload: STANDARD.encode(&message.payload),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

/// A line of an export.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing stands in it.
    Empty,
    /// A message.
    Message(Message),
    /// The last one: how many messages there are.
    End(u64),
}

/// Reads a line. The error says what is wrong.
pub(super) fn read(line: &[u8]) -> Result<Read, String> {
    if line.trim_ascii().is_empty() {
        return Ok(Read::Empty);
    }
    let given: Given = serde_json::from_slice(line).map_err(|error| format!("no message: {error}"))?;
    if let Some(exported) = given.exported {
        return Ok(Read::End(exported));
    }
    let topic = given.topic.ok_or("`topic` is missing")?;
    topic::check(&topic).map_err(|error| error.to_string())?;
    if topic::is_reserved(&topic) {
        return Err(format!("the topic {topic:?} is the router's own"));
    }
    let meta = bytes("meta", given.meta)?;
    check_meta(&meta)?;
    let payload = bytes("payload", given.payload)?;
    if payload.len() > PAYLOAD_BYTES {
        return Err(format!("`payload` has {} bytes: at most {PAYLOAD_BYTES} are accepted", payload.len()));
    }
    Ok(Read::Message(Message { topic: Arc::from(topic), meta, payload }))
}

fn bytes(key: &str, text: Option<String>) -> Result<Bytes, String> {
    let text = text.ok_or_else(|| format!("`{key}` is missing"))?;
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("`{key}` is no base64: {error}"))
}

/// Readers trust what stands in a log, so that nothing may come in that ingress would not have stamped.
fn check_meta(meta: &[u8]) -> Result<(), String> {
    packed::check_output(meta).map_err(|error| format!("`meta`: {error}"))?;
    let wide = |field, bytes| packed::first(meta, field).is_some_and(|value| value.len() == bytes);
    if !wide(tag::ID, 16) || !wide(tag::RECEIVED_US, 8) {
        return Err("`meta` lacks the message's id or time".into());
    }
    for (field, value) in packed::fields(meta).flatten() {
        let is_text = matches!(field, tag::TENANT..=tag::ACCOUNT | tag::ORIGINAL_TOPIC);
        if is_text && std::str::from_utf8(value).is_err() {
            return Err(format!("`meta`: field {field:#04x} is not UTF-8"));
        }
        if matches!(field, tag::EPOCH..=tag::LOG | tag::PLUGIN..=tag::TRIAL | tag::SENDER) {
            return Err(format!("`meta`: field {field:#04x} never stands in a log"));
        }
    }
    Ok(())
}

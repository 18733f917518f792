//! What a message must be before it is queued: topic, sizes, rate. And the stamp that it gets.

use std::sync::Arc;

use weir_contract::packed::{self, put, put_named, put_text, put_u64, tag};
use weir_contract::topic;

use super::rate::Rate;
use super::waiting::is_reply;
use super::{Publish, invalid};
use crate::config::Limits;
use crate::message::{Message, Outcome, now_us};
use crate::session::Session;

/// Longest media type, in bytes.
const CONTENT_TYPE_BYTES: usize = 255;
/// Longest id that a publisher may give, in bytes.
const MESSAGE_ID_BYTES: usize = 64;
/// Headers of one message.
const HEADERS: usize = 64;

/// Checks and stamps. Err is the publisher's answer.
pub fn admit(session: &Session, publish: Publish, limits: &Limits, rate: &Rate) -> Result<Message, Outcome> {
    if let Some(retry_after_ms) = rate.over(session) {
        return Err(Outcome::RateLimited { retry_after_ms });
    }
    topic::check(&publish.topic).map_err(|error| invalid(format!("topic {:?}: {error}", publish.topic)))?;
    if topic::is_reserved(&publish.topic) && !is_reply(&publish.topic) {
        let reason = "topics beginning with $ are the router's own".to_owned();
        return Err(Outcome::Denied { reason });
    }
    let (size, most) = (publish.payload.len(), limits.message_bytes);
    if size > most {
        let reason = format!("payload of {size} bytes: at most {most} are accepted");
        return Err(Outcome::TooLarge { reason });
    }
    let meta = stamp(session, &publish)?;
    Ok(Message { topic: Arc::from(publish.topic), meta: meta.into(), payload: publish.payload })
}

fn stamp(session: &Session, publish: &Publish) -> Result<Vec<u8>, Outcome> {
    let principal = &session.principal.packed;
    let mut meta = Vec::with_capacity(principal.len() + 96);
    put(&mut meta, tag::ID, &u128::from(ulid::Ulid::generate()).to_be_bytes());
    put_u64(&mut meta, tag::RECEIVED_US, now_us());
    // Packed once per session, without its format byte.
    meta.extend_from_slice(principal.get(1..).unwrap_or_default());
    if let Some(key) = &publish.received {
        put(&mut meta, tag::RECEIVED, &key.encode());
    }
    if let Some(content_type) = &publish.content_type {
        text("content type", content_type, CONTENT_TYPE_BYTES)?;
        put_text(&mut meta, tag::CONTENT_TYPE, content_type);
    }
    let headers = publish.headers.len() + publish.user_properties.len();
    if headers > HEADERS {
        return Err(invalid(format!("{headers} headers: at most {HEADERS} are accepted")));
    }
    for (name, value) in &publish.headers {
        put_named(&mut meta, tag::HEADER, name, value);
    }
    for (name, value) in &publish.user_properties {
        let tag = if packed::is_header_name(name) { tag::HEADER } else { tag::USER_PROPERTY };
        if !put_named(&mut meta, tag, name, value) {
            return Err(invalid(format!(
                "a user property's name of {} bytes: at most 255 are accepted",
                name.len()
            )));
        }
    }
    if let Some(reply_to) = &publish.reply_to {
        topic::check(reply_to).map_err(|error| invalid(format!("reply topic {reply_to:?}: {error}")))?;
        // Whoever answers may have more rights than the one who asks, and would use them for it.
        if !is_reply(reply_to) && !session.principal.may_touch(reply_to) {
            let reason = format!("the reply topic {reply_to:?} is not one of your tenant's");
            return Err(Outcome::Denied { reason });
        }
        put_text(&mut meta, tag::REPLY_TO, reply_to);
    }
    if let Some(correlation) = &publish.correlation {
        put(&mut meta, tag::CORRELATION, correlation);
    }
    if let Some(qos) = publish.qos {
        put(&mut meta, tag::QOS, &[qos]);
    }
    if publish.is_text {
        put(&mut meta, tag::TEXT, &[1]);
    }
    if publish.retain {
        put(&mut meta, tag::RETAIN, &[1]);
    }
    if let Some(milliseconds) = publish.expires_in_ms {
        put_u64(&mut meta, tag::EXPIRES_US, now_us().saturating_add(milliseconds.saturating_mul(1_000)));
    }
    if let Some(id) = &publish.message_id {
        text("message id", id, MESSAGE_ID_BYTES)?;
        put(&mut meta, tag::DEDUP_ID, id.as_bytes());
    }
    if meta.len() > packed::MAX_META {
        let reason = format!("metadata of {} bytes: at most {} are accepted", meta.len(), packed::MAX_META);
        return Err(Outcome::TooLarge { reason });
    }
    packed::check_output(&meta).map_err(|error| invalid(format!("metadata: {error}")))?;
    Ok(meta)
}

fn text(what: &str, value: &str, most: usize) -> Result<(), Outcome> {
    if (1..=most).contains(&value.len()) && !value.contains('\0') {
        return Ok(());
    }
    Err(invalid(format!("{what} of {} bytes: 1 to {most} without NUL are accepted", value.len())))
}

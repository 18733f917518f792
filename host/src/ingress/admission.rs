//! What a message must be before it is queued: topic, sizes, rate. And the stamp that it gets.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use ulid::Ulid;
use weir_contract::packed::{self, put, put_named, put_text, put_u64, tag};
use weir_contract::topic;

use super::rate::Rate;
use super::waiting::is_reply;
use super::{Publish, invalid};
use crate::config::Limits;
use crate::message::{Message, Outcome};
use crate::received::Key;
use crate::session::Session;

/// Longest media type, in bytes.
const CONTENT_TYPE_BYTES: usize = 255;
/// Longest id that a publisher may give, in bytes.
const MESSAGE_ID_BYTES: usize = 64;
/// Headers of one message.
const HEADERS: usize = 64;
/// Bytes of a packed field in front of its value.
const HEAD: usize = 3;

/// Checks and stamps. `now_us`: when it came, Unix microseconds. Err is the publisher's answer.
pub fn admit(
    session: &Session,
    publish: Publish,
    limits: &Limits,
    rate: &Rate,
    now_us: u64,
) -> Result<Message, Outcome> {
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
    let meta = stamp(session, &publish, now_us)?;
    Ok(Message { topic: publish.topic, meta, payload: publish.payload })
}

fn stamp(session: &Session, publish: &Publish, now_us: u64) -> Result<Bytes, Outcome> {
    let id = Ulid::from_datetime(UNIX_EPOCH + Duration::from_micros(now_us));
    // Packed once per session, without its format byte.
    let principal = session.principal.packed.get(1..).unwrap_or_default();
    let received = publish.received.as_ref().map(Key::encode);
    let host = principal.len() + received.as_ref().map_or(0, |key| HEAD + key.len());
    let mut meta =
        Vec::with_capacity(1 + HEAD + size_of::<u128>() + HEAD + size_of::<u64>() + host + room(publish));
    put(&mut meta, tag::ID, &u128::from(id).to_be_bytes());
    put_u64(&mut meta, tag::RECEIVED_US, now_us);
    meta.extend_from_slice(principal);
    if let Some(key) = received {
        put(&mut meta, tag::RECEIVED, &key);
    }
    put_described(&mut meta, publish)?;
    if let Some(reply_to) = &publish.reply_to {
        check_reply_to(session, reply_to)?;
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
        put_u64(&mut meta, tag::EXPIRES_US, now_us.saturating_add(milliseconds.saturating_mul(1_000)));
    }
    if let Some(id) = &publish.message_id {
        text("message id", id, MESSAGE_ID_BYTES)?;
        put(&mut meta, tag::DEDUP_ID, id.as_bytes());
    }
    if meta.len() > packed::MAX_META {
        let reason = format!("metadata of {} bytes: at most {} are accepted", meta.len(), packed::MAX_META);
        return Err(Outcome::TooLarge { reason });
    }
    // The rest is ours, or was checked above.
    if has_free_fields(publish) {
        packed::check_output(&meta).map_err(|error| invalid(format!("metadata: {error}")))?;
    }
    debug_assert_eq!(packed::check_output(&meta), Ok(()));
    Ok(meta.into())
}

/// Writes what the publisher says of the payload: its type, headers, user properties.
fn put_described(meta: &mut Vec<u8>, publish: &Publish) -> Result<(), Outcome> {
    if let Some(content_type) = &publish.content_type {
        text("content type", content_type, CONTENT_TYPE_BYTES)?;
        put_text(meta, tag::CONTENT_TYPE, content_type);
    }
    let headers = publish.headers.len() + publish.user_properties.len();
    if headers > HEADERS {
        return Err(invalid(format!("{headers} headers: at most {HEADERS} are accepted")));
    }
    for (name, value) in &publish.headers {
        put_named(meta, tag::HEADER, name, value);
    }
    for (name, value) in &publish.user_properties {
        let tag = if packed::is_header_name(name) { tag::HEADER } else { tag::USER_PROPERTY };
        if !put_named(meta, tag, name, value) {
            return Err(invalid(format!(
                "a user property's name of {} bytes: at most 255 are accepted",
                name.len()
            )));
        }
    }
    Ok(())
}

fn check_reply_to(session: &Session, reply_to: &str) -> Result<(), Outcome> {
    topic::check(reply_to).map_err(|error| invalid(format!("reply topic {reply_to:?}: {error}")))?;
    // Whoever answers may have more rights than the one who asks, and would use them for it.
    if !is_reply(reply_to) && !session.principal.may_touch(reply_to) {
        let reason = format!("the reply topic {reply_to:?} is not one of your tenant's");
        return Err(Outcome::Denied { reason });
    }
    Ok(())
}

/// Whether there is something whose limits only [`packed::check_output`] knows.
fn has_free_fields(publish: &Publish) -> bool {
    !publish.headers.is_empty()
        || !publish.user_properties.is_empty()
        || publish.correlation.is_some()
        || publish.qos.is_some_and(|qos| qos > 2)
}

/// Bytes of the fields that are the publisher's: the stamp is given its memory at once, and needs no other when it is
/// shared.
fn room(publish: &Publish) -> usize {
    let text = |text: Option<&str>| text.map_or(0, |text| HEAD + text.len());
    let named = publish.headers.iter().chain(&publish.user_properties);
    let flags = [publish.qos.is_some(), publish.is_text, publish.retain];
    let size: usize = named.map(|(name, value)| HEAD + 1 + name.len() + value.len()).sum();
    size + text(publish.content_type.as_deref())
        + text(publish.reply_to.as_deref())
        + publish.correlation.as_ref().map_or(0, |correlation| HEAD + correlation.len())
        + flags.map(|flag| if flag { HEAD + 1 } else { 0 }).iter().sum::<usize>()
        + publish.expires_in_ms.map_or(0, |_| HEAD + size_of::<u64>())
        + text(publish.message_id.as_deref())
}

fn text(what: &str, value: &str, most: usize) -> Result<(), Outcome> {
    if (1..=most).contains(&value.len()) && !value.contains('\0') {
        return Ok(());
    }
    Err(invalid(format!("{what} of {} bytes: 1 to {most} without NUL are accepted", value.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Grant, Principal};
    use crate::session::OutboundLimits;
    use proptest::prelude::*;

    fn session() -> Session {
        let grant =
            Grant { tenant: "main".into(), name: "a".into(), origin: "page".into(), ..Grant::default() };
        let principal = Principal::new(grant, "open".into(), "http", "s").unwrap();
        let limits = OutboundLimits { messages: 1, bytes: 1 };
        Session::new("s".into(), principal, "http", String::new(), limits, None)
    }

    fn pairs(name: &'static str) -> impl Strategy<Value = Vec<(String, String)>> {
        proptest::collection::vec((name, "[a-z°\0]{0,9}"), 0..4)
    }

    prop_compose! {
        fn publish()(
            content_type in proptest::option::of("[a-z/]{0,3}"),
            headers in pairs("[a-z ]{0,3}"),
            user_properties in pairs("[a-zA-Z]{0,3}"),
            correlation in proptest::option::of(0..1_100_usize),
            (qos, is_text, retain) in (proptest::option::of(0..4_u8), any::<bool>(), any::<bool>()),
            message_id in proptest::option::of("[a-z\0]{0,3}"),
            expires_in_ms in proptest::option::of(any::<u64>()),
            reply_to in proptest::option::of("[a-z/+]{0,3}"),
            received in proptest::option::of("[a-z]{1,3}"),
        ) -> Publish {
            Publish {
                topic: "t".into(),
                content_type: content_type.map(Into::into),
                headers,
                user_properties,
                correlation: correlation.map(|bytes| vec![0; bytes].into()),
                qos,
                is_text,
                retain,
                message_id,
                expires_in_ms,
                reply_to,
                received: received.map(|session| Key { session: session.as_str().into(), packet: 7 }),
                ..Publish::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_stamped_passes_the_check_and_fills_its_memory(publish in publish()) {
            if let Ok(stamp) = stamp(&session(), &publish, 1) {
                prop_assert_eq!(packed::check_output(&stamp), Ok(()));
                let stamp = Vec::from(stamp);
                prop_assert_eq!(stamp.len(), stamp.capacity());
            }
        }
    }
}

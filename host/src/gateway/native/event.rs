//! Frames that answer nothing: deliveries, notices, errors.

use bytes::Bytes;

use super::payload;
use super::request::Fault;
use crate::gateway::json::Object;
use crate::gateway::ws::frame;
use crate::message::{Mark, Outcome, Routed, Run, now_us};
use crate::session::Notice;

/// Bytes around a payload in an ordinary delivery: a guess that spares most frames a second allocation.
const AROUND: usize = 320;

/// The frame of a delivery.
pub(super) fn delivery(routed: &Routed) -> Bytes {
    let message = &routed.message;
    // Binary payloads grow by a third.
    let hint = AROUND + message.topic.len() + message.payload.len() + message.payload.len() / 3;
    frame::text(hint, |out| put_delivery(routed, out))
}

/// The frames of deliveries, one behind the other.
pub fn deliveries(run: &Run) -> Bytes {
    let frame = |routed: &Routed, out: &mut Vec<u8>| frame::append_text(out, |out| put_delivery(routed, out));
    run.native_frames(AROUND, frame)
}

fn put_delivery(routed: &Routed, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    // As it is written: every delivery begins with it.
    object.raw("event", "\"message\"");
    match &routed.mark {
        Mark::Live => {}
        Mark::Retained => object.flag("retained", true),
        Mark::Consumer { name, shared, delivery } => {
            object.text(consumer_key(*shared), name);
            object.number("delivery", u64::from(*delivery));
        }
    }
    payload::put_message(&mut object, &routed.message, routed.place.as_ref());
    object.end();
}

/// The frame of a notice.
pub(super) fn notice(notice: Notice<'_>) -> Bytes {
    if notice == Notice::RetainedSent {
        return Bytes::new();
    }
    event(|object| match notice {
        Notice::RetainedSent => {}
        Notice::Unsubscribed { pattern, reason } => {
            object.text("event", "unsubscribed");
            object.text("topic", pattern);
            object.text("reason", reason);
        }
        Notice::Presence { joined, topic, name, origin, time_us, more } => {
            object.text("event", if joined { "join" } else { "leave" });
            object.text("topic", topic);
            object.text("name", name);
            object.text("origin", origin);
            object.number("time_us", time_us);
            if let Some(more) = more {
                object.flag("more", more);
            }
        }
        Notice::ConsumerEnded { name, shared, pattern, reason } => {
            object.text("event", "unsubscribed");
            object.text("topic", pattern);
            object.text(consumer_key(shared), name);
            object.text("reason", reason);
        }
        Notice::CaughtUp { pattern } => {
            object.text("event", "caught-up");
            object.text("topic", pattern);
        }
        Notice::Missing { log, epoch, from, to } => {
            object.text("event", "gap");
            object.text("log", log);
            object.number("epoch", epoch);
            object.number("from", from);
            object.number("to", to);
        }
        Notice::ConsumerGap { name, shared, log, epoch, from, to } => {
            object.text("event", "gap");
            object.text(consumer_key(shared), name);
            object.text("log", log);
            object.number("epoch", epoch);
            object.number("from", from);
            object.number("to", to);
        }
        Notice::Gap(gap) => {
            object.text("event", "gap");
            if let Some(span) = &gap.span {
                object.text("log", &span.log);
                object.number("epoch", span.epoch);
                object.number("from", span.from);
                object.number("to", span.to);
            }
            object.number("lost", gap.lost);
        }
    })
}

/// The key under which a durable consumer is named.
pub(super) fn consumer_key(shared: bool) -> &'static str {
    if shared { "group" } else { "consumer" }
}

/// A frame that could not be read, and had no `id`.
pub(super) fn fault(fault: &Fault) -> Bytes {
    error("invalid", &fault.reason)
}

/// What was asked for without an `id` did not happen. None: it did.
pub(super) fn refusal(outcome: &Outcome) -> Option<Bytes> {
    match outcome {
        Outcome::Accepted { .. } | Outcome::Filtered { .. } => None,
        refused => Some(error(refused.as_str(), &refused.reason())),
    }
}

/// The answer to a ping without `id`.
pub(super) fn pong() -> Bytes {
    event(|object| {
        object.text("event", "pong");
        object.number("time_us", now_us());
    })
}

fn error(outcome: &str, reason: &str) -> Bytes {
    event(|object| {
        object.text("event", "error");
        object.text("outcome", outcome);
        object.text_if_any("reason", reason);
    })
}

fn event(write: impl FnOnce(&mut Object<'_>)) -> Bytes {
    frame::text(128, |out| {
        let mut object = Object::begin(out);
        write(&mut object);
        object.end();
    })
}

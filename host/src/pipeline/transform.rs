//! Every transform whose topics match, in order; what one emits goes on from the next.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{self, put, tag};
use weir_contract::topic::is_reserved;

use super::explain::REAUTHORIZE;
use super::{Pass, Stages, Stop, authorize};
use crate::message::Message;
use crate::metrics::Granted;
use crate::plugin::contract::{MessageOut, TransformOutcome};

/// A message and the first transform that it has not met.
struct Waiting {
    message: Message,
    next: usize,
}

/// Runs a message through the transforms. Depth first, so that the list order of what a plugin returns is the
/// order in which the messages are routed.
pub fn apply(stages: &mut Stages, pass: &Pass<'_>, message: Message) -> Result<Vec<Message>, Stop> {
    let mut done = Vec::with_capacity(1);
    let mut waiting = vec![Waiting { message, next: 0 }];
    while let Some(Waiting { message, next }) = waiting.pop() {
        let topic = &message.topic;
        let mut later = stages.transforms.iter_mut().enumerate().skip(next);
        let Some((at, stage)) = later.find(|(_, stage)| stage.binding.spec.takes(topic)) else {
            done.push(message);
            continue;
        };
        pass.check_time()?;
        let outcome = match pass.call(stage, &message, |instance| instance.apply(&message)) {
            Ok(outcome) => outcome,
            Err(error) => {
                stage.apply_policy(error)?;
                TransformOutcome::Unchanged
            }
        };
        let became = became(message, outcome)?;
        pass.left(became.iter().map(|emitted| &emitted.message));
        if done.len() + waiting.len() + became.len() > pass.most_messages {
            return Err(Stop::TooMany(pass.most_messages));
        }
        let emit = Arc::clone(&stage.binding);
        for message in became.iter().filter(|emitted| emitted.new_topic) {
            let topic = &message.message.topic;
            if is_reserved(topic) {
                let why = format!("plugin {} may not send to {topic:?}: it is the router's own", emit.name());
                return Err(Stop::Denied(why));
            }
            // No grant of a plugin leads out of the tenant whose message it is.
            if !pass.session.principal.may_touch(topic) {
                let tenant = &pass.session.principal.tenant;
                let why = format!("plugin {} may not send to {topic:?} for tenant {tenant}", emit.name());
                return Err(Stop::Denied(why));
            }
            if emit.spec.may_emit(topic) {
                pass.known(REAUTHORIZE, topic, emit.name(), true, "granted by `emit`");
                continue;
            }
            match authorize(stages, pass, REAUTHORIZE, topic) {
                Err(Stop::Denied(_)) if emit.shared.ungranted.lets_pass(Granted::Emit, topic) => {
                    pass.known(
                        REAUTHORIZE,
                        topic,
                        emit.name(),
                        true,
                        "not granted, let through by `count-only`",
                    );
                }
                allowed => allowed?,
            }
        }
        waiting.extend(became.into_iter().rev().map(|e| Waiting { message: e.message, next: at + 1 }));
    }
    if done.is_empty() { Err(Stop::Filtered(String::new())) } else { Ok(done) }
}

struct Emitted {
    message: Message,
    /// Its topic is not the input's: somebody must have allowed it.
    new_topic: bool,
}

/// What an answer makes of a message, wherever it may go.
pub(super) fn messages(input: Message, outcome: TransformOutcome) -> Vec<Message> {
    let became = became(input, outcome).unwrap_or_default();
    became.into_iter().map(|emitted| emitted.message).collect()
}

fn became(input: Message, outcome: TransformOutcome) -> Result<Vec<Emitted>, Stop> {
    let same = |message| Emitted { message, new_topic: false };
    Ok(match outcome {
        TransformOutcome::Unchanged => vec![same(input)],
        TransformOutcome::SetPayload(payload) => {
            vec![same(Message { payload: payload.into(), ..input })]
        }
        TransformOutcome::SetMeta(meta) => {
            let meta = remade(&input, None, false, &meta);
            vec![same(Message { meta, ..input })]
        }
        TransformOutcome::Add(added) => {
            let added: Vec<_> = added.into_iter().map(|out| emitted(&input, out)).collect();
            std::iter::once(same(input)).chain(added).collect()
        }
        TransformOutcome::Replace(messages) => messages.into_iter().map(|out| emitted(&input, out)).collect(),
        TransformOutcome::Refuse(refusal) => return Err(Stop::Refused(refusal)),
    })
}

fn emitted(input: &Message, out: MessageOut) -> Emitted {
    let new_topic = *out.topic != *input.topic;
    let topic: Arc<str> = if new_topic { out.topic.into() } else { Arc::clone(&input.topic) };
    let meta = remade(input, Some(ulid::Ulid::generate().into()), new_topic, &out.meta);
    Emitted { message: Message { topic, meta, payload: out.payload.into() }, new_topic }
}

/// The input's host-owned fields with a new id, and the publisher-owned fields that the plugin gave: none
/// given = the input's. Whatever a plugin writes into host-owned fields is ignored.
fn remade(input: &Message, id: Option<u128>, new_topic: bool, given: &[u8]) -> Bytes {
    let mut blob = Vec::with_capacity(input.meta.len() + 32);
    let has_cause = packed::first(&input.meta, tag::CAUSE).is_some();
    let has_topic = packed::first(&input.meta, tag::ORIGINAL_TOPIC).is_some();
    for (field, value) in packed::fields(&input.meta).flatten().filter(|(t, _)| !tag::is_publisher(*t)) {
        match (field, id) {
            (tag::ID, Some(new)) => put(&mut blob, tag::ID, &new.to_be_bytes()),
            (tag::CAUSE, Some(_)) => put(&mut blob, tag::CAUSE, &input.id().to_be_bytes()),
            _ => put(&mut blob, field, value),
        };
    }
    if id.is_some() && !has_cause {
        put(&mut blob, tag::CAUSE, &input.id().to_be_bytes());
    }
    if new_topic && !has_topic {
        put(&mut blob, tag::ORIGINAL_TOPIC, input.topic.as_bytes());
    }
    let source = if given.is_empty() { &input.meta } else { given };
    for (field, value) in packed::publisher_fields(source) {
        put(&mut blob, field, value);
    }
    blob.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Message {
        let mut meta = Vec::new();
        put(&mut meta, tag::ID, &7u128.to_be_bytes());
        put(&mut meta, tag::NAME, b"dev");
        put(&mut meta, tag::CONTENT_TYPE, b"text/plain");
        Message { topic: "a".into(), meta: meta.into(), payload: Bytes::from_static(b"x") }
    }

    fn out(topic: &str, meta: &[u8]) -> MessageOut {
        MessageOut { topic: topic.into(), meta: meta.to_vec(), payload: Vec::new() }
    }

    #[test]
    fn a_plugin_cannot_change_who_sent_it() {
        let mut forged = Vec::new();
        put(&mut forged, tag::NAME, b"admin");
        put(&mut forged, tag::CONTENT_TYPE, b"application/json");
        let message = emitted(&input(), out("b", &forged)).message;
        assert_eq!((message.publisher(), message.content_type()), ("dev", Some("application/json")));
        assert_eq!(packed::text(&message.meta, tag::ORIGINAL_TOPIC), Some("a"));
        assert_eq!(packed::first(&message.meta, tag::CAUSE), Some(&7u128.to_be_bytes()[..]));
        assert_ne!(message.id(), 7);
    }

    #[test]
    fn empty_metadata_inherits_and_a_bare_blob_clears() {
        assert_eq!(emitted(&input(), out("a", &[])).message.content_type(), Some("text/plain"));
        assert_eq!(emitted(&input(), out("a", &[1])).message.content_type(), None);
        assert!(!emitted(&input(), out("a", &[])).new_topic);
    }
}

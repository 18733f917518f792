//! Every transform whose topics match, in order; what one emits goes on from the next.

use std::sync::Arc;

use bytes::Bytes;
use weir_contract::packed::{self, put, tag};
use weir_contract::topic::is_reserved;

use super::explain::REAUTHORIZE;
use super::{Became, Pass, Stages, Stop, authorize};
use crate::message::Message;
use crate::metrics::Granted;
use crate::plugin::Binding;
use crate::plugin::contract::{MessageOut, TransformOutcome};

/// A message and the first transform that it has not met.
struct Waiting {
    message: Message,
    next: usize,
}

/// A transform and what it makes of a message.
type Change = (usize, TransformOutcome);

/// Runs a message through the transforms. Depth first, so that the list order of what a plugin returns is the
/// order in which the messages are routed.
pub fn apply(stages: &mut Stages, pass: &Pass<'_>, message: &Message) -> Result<Became, Stop> {
    let Some(change) = change(stages, pass, message, 0)? else { return Ok(Became::Itself) };
    let (mut done, mut waiting) = (Vec::with_capacity(1), Vec::new());
    spread(stages, pass, message.clone(), change, 0, &mut waiting)?;
    while let Some(Waiting { message, next }) = waiting.pop() {
        match self::change(stages, pass, &message, next)? {
            None => done.push(message),
            Some(change) => spread(stages, pass, message, change, done.len(), &mut waiting)?,
        }
    }
    if done.is_empty() { Err(Stop::Filtered(String::new())) } else { Ok(Became::These(done)) }
}

/// The first transform from the `next` one on that changes the message. None: it passes all of them as it is.
fn change(
    stages: &mut Stages,
    pass: &Pass<'_>,
    message: &Message,
    next: usize,
) -> Result<Option<Change>, Stop> {
    for (at, stage) in stages.transforms.iter_mut().enumerate().skip(next) {
        if !stage.binding.spec.takes(&message.topic) {
            continue;
        }
        pass.check_time()?;
        match pass.call(stage, message, |instance| instance.apply(message)) {
            Ok(TransformOutcome::Unchanged) => {}
            Ok(outcome) => return Ok(Some((at, outcome))),
            Err(error) => stage.apply_policy(error)?,
        }
        pass.left(std::iter::once(message));
    }
    Ok(None)
}

/// Lets what a message became wait for the transforms behind the one that changed it. `done`: messages of the pass that
/// are through.
fn spread(
    stages: &mut Stages,
    pass: &Pass<'_>,
    message: Message,
    (at, outcome): Change,
    done: usize,
    waiting: &mut Vec<Waiting>,
) -> Result<(), Stop> {
    let became = became(message, outcome)?;
    pass.left(became.iter().map(|emitted| &emitted.message));
    if done + waiting.len() + became.len() > pass.most_messages {
        return Err(Stop::TooMany(pass.most_messages));
    }
    let Some(emit) = stages.transforms.get(at).map(|stage| Arc::clone(&stage.binding)) else { return Ok(()) };
    for emitted in became.iter().filter(|emitted| emitted.new_topic) {
        may_go(stages, pass, &emit, &emitted.message)?;
    }
    waiting.extend(became.into_iter().rev().map(|e| Waiting { message: e.message, next: at + 1 }));
    Ok(())
}

/// Whether a message may go where a plugin sends it: somebody must have allowed it.
fn may_go(stages: &mut Stages, pass: &Pass<'_>, from: &Binding, message: &Message) -> Result<(), Stop> {
    let topic = &message.topic;
    let known = |why| pass.known(REAUTHORIZE, topic, from.name(), true, why);
    if is_reserved(topic) {
        check_inbox(pass, from, message)?;
        known("the publisher's own inbox");
        return Ok(());
    }
    // No grant of a plugin leads out of the tenant whose message it is.
    if !pass.session.principal.may_touch(topic) {
        let (name, tenant) = (from.name(), &pass.session.principal.tenant);
        return Err(Stop::Denied(format!("plugin {name} may not send to {topic:?} for tenant {tenant}")));
    }
    if from.spec.may_emit(topic) {
        known("granted by `emit`");
        return Ok(());
    }
    match authorize(stages, pass, REAUTHORIZE, topic) {
        Err(Stop::Denied(_)) if from.shared.ungranted.lets_pass(Granted::Emit, topic) => {
            known("not granted, let through by `count-only`");
            Ok(())
        }
        allowed => allowed,
    }
}

/// Of the router's own topics a plugin may send to one: the inbox of the session that published. And it may bring that
/// session only into topics where it may emit itself, of the session's tenant.
fn check_inbox(pass: &Pass<'_>, from: &Binding, message: &Message) -> Result<(), Stop> {
    let (topic, name) = (&message.topic, from.name());
    if !message.is_in_own_inbox() {
        return Err(Stop::Denied(format!("plugin {name} may not send to {topic:?}: it is the router's own")));
    }
    let may = |group: &str| from.spec.may_enrol(group) && pass.session.principal.may_touch(group);
    let mut groups = packed::publisher_fields(&message.meta).filter(|(field, _)| is_enrolment(*field));
    match groups.find(|(_, group)| !str::from_utf8(group).is_ok_and(may)) {
        None => Ok(()),
        Some((_, group)) => {
            let group = String::from_utf8_lossy(group);
            let why = format!("plugin {name} may bring nobody into {group:?}: `emit` does not cover it");
            Err(Stop::Denied(why))
        }
    }
}

/// Whether a field brings a session into topics, or out of them.
fn is_enrolment(field: u8) -> bool {
    matches!(field, tag::JOIN | tag::LEAVE)
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
            let meta = remade(&input, None, false, false, &meta);
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
    let to_inbox = new_topic && is_reserved(&topic);
    let meta = remade(input, Some(ulid::Ulid::generate().into()), new_topic, to_inbox, &out.meta);
    Emitted { message: Message { topic, meta, payload: out.payload.into() }, new_topic }
}

/// The input's host-owned fields with a new id, and the publisher-owned fields that the plugin gave: none
/// given = the input's. Whatever a plugin writes into host-owned fields is ignored, and `join` and `leave` unless it
/// newly goes `to_inbox`.
fn remade(input: &Message, id: Option<u128>, new_topic: bool, to_inbox: bool, given: &[u8]) -> Bytes {
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
    let inherits = given.is_empty();
    let source = if inherits { &input.meta } else { given };
    for (field, value) in packed::publisher_fields(source) {
        if inherits || to_inbox || !is_enrolment(field) {
            put(&mut blob, field, value);
        }
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
    fn only_an_answer_to_the_inbox_brings_the_session_anywhere() {
        let mut input = input();
        let mut meta = input.meta.to_vec();
        put(&mut meta, tag::SESSION, b"s1");
        input.meta = meta.into();
        let mut joining = Vec::new();
        put(&mut joining, tag::JOIN, b"g");
        put(&mut joining, tag::LEAVE, b"h");
        let fields = |topic: &str| {
            let message = emitted(&input, out(topic, &joining)).message;
            (message.is_in_own_inbox(), packed::publisher_fields(&message.meta).count())
        };
        assert_eq!(fields("$inbox/s1"), (true, 2));
        assert_eq!(fields("a"), (false, 0));
        assert_eq!(fields("b"), (false, 0));
        assert_eq!(fields("$inbox/s2"), (false, 2), "it is denied");
    }

    #[test]
    fn empty_metadata_inherits_and_a_bare_blob_clears() {
        assert_eq!(emitted(&input(), out("a", &[])).message.content_type(), Some("text/plain"));
        assert_eq!(emitted(&input(), out("a", &[1])).message.content_type(), None);
        assert!(!emitted(&input(), out("a", &[])).new_topic);
    }
}

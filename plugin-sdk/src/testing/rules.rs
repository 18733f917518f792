//! What the router does with the messages that a plugin returns.

use super::build::next_id;
use crate::{Draft, Error, Message, Outcome, Pattern, Refusal};
use weir_contract::packed::{self, FORMAT, tag};
use weir_contract::topic;

/// Most bytes of one payload.
const MAX_PAYLOAD: usize = 1024 * 1024;
/// Most messages of one call.
const MAX_MESSAGES: usize = 256;
/// Most bytes of all messages of one call.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// Why a transform's or a ticker's call led to no message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The plugin consumed the message: `Replace` without any. The publisher hears `filtered`.
    Consumed,
    /// The plugin refused it. The publisher hears `invalid`.
    Refused(Refusal),
    /// A message went to a topic that neither the publisher may publish to nor the binding may emit to.
    Denied {
        /// That topic.
        topic: String,
    },
    /// The plugin failed: by an error, or by a result that the router counts as a trap.
    Failed(Error),
}

/// Which topics a call's messages may go to.
pub(super) struct Rights<'a> {
    pub(super) emit: &'a [Pattern],
    pub(super) publish: &'a [Pattern],
}

/// What becomes of the input.
pub(super) fn outcome(
    input: &Message,
    outcome: Outcome,
    rights: &Rights<'_>,
) -> Result<Vec<Message>, Stopped> {
    let same = |meta: Vec<u8>, payload: Vec<u8>| Message { topic: input.topic.clone(), meta, payload };
    match outcome {
        Outcome::Unchanged => Ok(vec![input.clone()]),
        Outcome::SetPayload(payload) => {
            check(&input.topic, &[], &payload)?;
            Ok(vec![same(input.meta.clone(), payload)])
        }
        Outcome::SetMeta(meta) => {
            check(&input.topic, meta.as_bytes(), &[])?;
            let mut blob = host_owned(&input.meta).fold(vec![FORMAT], put);
            blob = published(meta.as_bytes(), false).fold(blob, put);
            Ok(vec![same(blob, input.payload.clone())])
        }
        Outcome::Add(all) => {
            let added = drafts(Some(input), all, rights)?;
            Ok(std::iter::once(input.clone()).chain(added).collect())
        }
        Outcome::Replace(all) if all.is_empty() => Err(Stopped::Consumed),
        Outcome::Replace(all) => drafts(Some(input), all, rights),
        Outcome::Refuse(refusal) => Err(Stopped::Refused(refusal)),
    }
}

/// New messages, from an input or (a ticker's) from none.
pub(super) fn drafts(
    input: Option<&Message>,
    all: Vec<Draft>,
    rights: &Rights<'_>,
) -> Result<Vec<Message>, Stopped> {
    let size = |draft: &Draft| draft.topic.len() + draft.payload.len();
    if all.len() > MAX_MESSAGES {
        return Err(trap(format!("{} messages from one call, at most {MAX_MESSAGES}", all.len())));
    }
    if all.iter().map(size).sum::<usize>() > MAX_OUTPUT {
        return Err(trap("more than 4 MiB from one call"));
    }
    all.into_iter().map(|draft| one(input, draft, rights)).collect()
}

fn one(input: Option<&Message>, draft: Draft, rights: &Rights<'_>) -> Result<Message, Stopped> {
    let given = draft.meta.as_ref().map(|meta| meta.as_bytes());
    check(&draft.topic, given.unwrap_or_default(), &draft.payload)?;
    let may = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&draft.topic));
    let inbox = input.is_some_and(|input| draft.topic == input.session().inbox());
    let unchanged = input.is_some_and(|input| draft.topic == input.topic);
    if !(unchanged || inbox || may(rights.emit) || (input.is_some() && may(rights.publish))) {
        return Err(Stopped::Denied { topic: draft.topic });
    }
    let blob = match input {
        Some(input) => from_input(input, unchanged),
        None => [(tag::ID, &next_id().bytes()[..]), (tag::NAME, b"test"), (tag::ORIGIN, b"plugin")]
            .into_iter()
            .fold(vec![FORMAT], put),
    };
    let source = given.or(input.map(|input| input.meta.as_slice())).unwrap_or_default();
    let meta = published(source, inbox).fold(blob, put);
    Ok(Message { topic: draft.topic, meta, payload: draft.payload })
}

/// The host-owned fields of a message made from another: its own id, and where it comes from.
fn from_input(input: &Message, same_topic: bool) -> Vec<u8> {
    let (id, cause) = (next_id(), input.id());
    let gone = [tag::ID, tag::CAUSE, tag::ORIGINAL_TOPIC];
    let mut blob = put(vec![FORMAT], (tag::ID, &id.bytes()[..]));
    blob = host_owned(&input.meta).filter(|(tag, _)| !gone.contains(tag)).fold(blob, put);
    blob = put(blob, (tag::CAUSE, &cause.bytes()[..]));
    match input.original_topic().or((!same_topic).then_some(input.topic())) {
        Some(original) => put(blob, (tag::ORIGINAL_TOPIC, original.as_bytes())),
        None => blob,
    }
}

fn check(topic: &str, meta: &[u8], payload: &[u8]) -> Result<(), Stopped> {
    topic::check(topic).map_err(|error| trap(format!("`{topic}` is no topic: {error}")))?;
    packed::check_output(meta).map_err(|error| trap(error.to_string()))?;
    if payload.len() > MAX_PAYLOAD {
        return Err(trap(format!("a payload of {} bytes, at most {MAX_PAYLOAD}", payload.len())));
    }
    Ok(())
}

fn trap(what: impl ToString) -> Stopped {
    Stopped::Failed(Error::Internal(format!("trap: {}", what.to_string())))
}

fn host_owned(meta: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    packed::fields(meta).map_while(Result::ok).filter(|(found, _)| !tag::is_publisher(*found))
}

/// The publisher-owned fields; join and leave only for an inbox.
fn published(meta: &[u8], inbox: bool) -> impl Iterator<Item = (u8, &[u8])> {
    packed::publisher_fields(meta)
        .filter(move |(found, _)| inbox || !matches!(*found, tag::JOIN | tag::LEAVE))
}

fn put(mut blob: Vec<u8>, (tag, value): (u8, &[u8])) -> Vec<u8> {
    packed::put(&mut blob, tag, value);
    blob
}

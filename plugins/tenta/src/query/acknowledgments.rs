//! Acknowledgments, by revision.

use serde::{Deserialize, Serialize};
use weir_plugin::{Answer, QueryError, Question, Range, state};

use super::{made_up, unreadable};
use crate::rows;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default)]
    from: u64,
    #[serde(default = "all")]
    to: u64,
}

fn all() -> u64 {
    u32::MAX.into()
}

#[derive(Serialize)]
struct Item {
    revision: u64,
    acknowledgment_timestamp: f64,
    success: bool,
}

pub(super) fn answer(question: &Question) -> Result<Answer, QueryError> {
    let Params { from, to } = question.params()?;
    // The cursor is the revision with which the next page begins.
    let from = match question.cursor.as_deref() {
        Some(cursor) => from.max(u64::from_be_bytes(cursor.try_into().map_err(|_| made_up())?)),
        None => from,
    };
    let key = |revision: u64| rows::acknowledgments(&question.topic).number(revision);
    let to = to.min(all());
    if from > to {
        return Ok(Answer::default());
    }
    let pairs = state::scan(Range::between(key(from), key(to + 1)), question.limit)?;
    let mut items = Vec::new();
    for (key, value) in &pairs {
        let (revision, time, success) = rows::decode_acknowledgment(key, value).ok_or_else(unreadable)?;
        items.push(Item { revision, acknowledgment_timestamp: time.seconds(), success });
    }
    let next = items.last().filter(|_| items.len() == question.limit).map(|last| last.revision + 1);
    Answer::page(items, next.map(|revision| revision.to_be_bytes().to_vec()))
}

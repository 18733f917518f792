//! Means of hours: an item for each attribute.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use weir_plugin::{Answer, QueryError, Question, Range, Time, state};
use weir_tenta_messages::Timestamp;

use super::number::Number;
use super::{made_up, unreadable};
use crate::hours::{self, KEPT};
use crate::leaves;

/// Attributes of one page: with all their hours they take less than an answer may.
const PAGE: usize = 15;
/// Hours of an attribute: those of 4 weeks, and of 5 days in what the router takes for the future; so many fit into an item.
const HOURS: usize = 792;
/// Longest name of an attribute, in bytes.
const NAME: usize = 64;

#[derive(Serialize)]
struct Item<'a> {
    attribute: &'a str,
    buckets: Vec<Bucket>,
}

#[derive(Serialize)]
struct Bucket {
    bucket_timestamp: f64,
    average: Number,
}

/// Attributes behind the cursor, in order of names. A page's cursor is its last name.
pub(super) fn answer(question: &Question, now: Time) -> Result<Answer, QueryError> {
    let behind = match question.cursor.as_deref() {
        Some(cursor) if cursor.len() > NAME => return Err(made_up()),
        Some(cursor) => std::str::from_utf8(cursor).map_err(|_| made_up())?,
        None => "",
    };
    let page = question.limit.min(PAGE);
    let mut all: BTreeMap<String, Vec<Bucket>> = BTreeMap::new();
    let mut more = false;
    // What begins exactly then is too old.
    let from = now.before(KEPT).after(Duration::from_micros(1));
    let from = Timestamp::from_micros(i64::try_from(from.micros()).unwrap_or(i64::MAX));
    let end = leaves::end(hours::all(&question.topic).as_bytes());
    let mut range = Range::between(hours::key(&question.topic, from), end);
    loop {
        let pairs = state::scan(range.clone(), state::MAX_SCAN)?;
        let Some((last, _)) = pairs.last() else { break };
        range = range.beyond(last);
        for (key, value) in &pairs {
            let bucket_timestamp = hours::start(key).ok_or_else(unreadable)?.seconds();
            for (name, sum) in hours::decode(value).ok_or_else(unreadable)? {
                if !behind.is_empty() && name.as_str() <= behind {
                    continue;
                }
                let buckets = all.entry(name).or_default();
                if buckets.len() < HOURS {
                    buckets.push(Bucket { bucket_timestamp, average: Number(sum.mean()) });
                }
                // Those that come first are wanted, whatever was found first.
                if all.len() > page {
                    more |= all.pop_last().is_some();
                }
            }
        }
    }
    let next = all.last_key_value().filter(|_| more).map(|(name, _)| name.clone().into_bytes());
    Answer::page(
        all.iter_mut().map(|(attribute, buckets)| Item { attribute, buckets: std::mem::take(buckets) }),
        next,
    )
}

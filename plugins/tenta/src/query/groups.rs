//! Warnings and errors of a log, grouped by severity and text.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_plugin::{Answer, QueryError, Question, Range, Time, state};
use weir_tenta_messages::{Severity, Timestamp};

use super::page::shorter;
use super::{PAGE_BYTES, made_up, unreadable};
use crate::leaves::{self, LOGS_KEPT, Table};
use crate::rows;

/// Reads of at most 1 MiB each, from the end of the log on.
const READS: usize = 64;
/// Bytes of the groups' texts.
const TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Longest item, in bytes.
const ITEM_BYTES: usize = 64 * 1024;

struct Group {
    first: (Timestamp, Option<u32>),
    last: (Timestamp, Option<u32>),
    count: u64,
}

#[derive(Serialize)]
struct Item<'a> {
    severity: &'static str,
    min_revision: Option<u32>,
    max_revision: Option<u32>,
    min_creation_timestamp: f64,
    max_creation_timestamp: f64,
    subject: &'a str,
    count: u64,
}

/// In the order of their last lines. A page's cursor says how many groups came before.
pub(super) fn answer(question: &Question, now: Time) -> Result<Answer, QueryError> {
    let before = match question.cursor.as_deref() {
        Some(cursor) => u32::from_be_bytes(cursor.try_into().map_err(|_| made_up())?),
        None => 0,
    };
    let groups = groups(&question.topic, now.before(LOGS_KEPT))?;
    let mut sorted: Vec<_> =
        groups.iter().map(|((severity, text), group)| (group.last.0, *severity, text, group)).collect();
    sorted.sort_unstable_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)));
    let (mut answer, mut bytes) = (Answer::default(), 0);
    for ((_, severity, text, group), number) in sorted.into_iter().zip(0_u32..) {
        if number < before {
            continue;
        }
        let item = item(severity, text, group)?;
        bytes += item.len();
        if answer.items.len() >= question.limit || bytes > PAGE_BYTES {
            answer.next = Some(number.to_be_bytes().to_vec());
            break;
        }
        answer.items.push(item);
    }
    Ok(answer)
}

fn item(severity: Severity, mut subject: &str, group: &Group) -> Result<String, QueryError> {
    loop {
        let item = serde_json::to_string(&Item {
            severity: severity.as_str(),
            min_revision: group.first.1,
            max_revision: group.last.1,
            min_creation_timestamp: group.first.0.seconds(),
            max_creation_timestamp: group.last.0.seconds(),
            subject,
            count: group.count,
        })?;
        if item.len() <= ITEM_BYTES {
            return Ok(item);
        }
        subject = shorter(subject, item.len());
    }
}

/// From the last line to the first one, but for lines that the router took until `gone`.
fn groups(topic: &str, gone: Time) -> Result<BTreeMap<(Severity, String), Group>, QueryError> {
    let mut groups: BTreeMap<(Severity, String), Group> = BTreeMap::new();
    let mut room = TEXT_BYTES;
    let mut range = Range::prefix(Table::Logs.prefix(topic)).reversed();
    for _ in 0..READS {
        let pairs = state::scan(range.clone(), state::MAX_SCAN)?;
        let Some((last, _)) = pairs.last() else { break };
        range = range.beyond(last);
        for (_, value) in &pairs {
            for (order, row) in leaves::decode(value).ok_or_else(unreadable)?.into_iter().rev() {
                let (severity, revision, text) = rows::decode_log(&row).ok_or_else(unreadable)?;
                let is_gone = rows::received(&order).is_some_and(|received| received <= gone);
                if severity == Severity::Info || is_gone {
                    continue;
                }
                let at = (rows::time_of(&order).ok_or_else(unreadable)?, revision);
                if let Some(group) = groups.get_mut(&(severity, text.to_owned())) {
                    (group.first, group.count) = (at, group.count + 1);
                } else if let Some(left) = room.checked_sub(text.len()) {
                    room = left;
                    groups.insert((severity, text.to_owned()), Group { first: at, last: at, count: 1 });
                }
            }
        }
    }
    Ok(groups)
}

//! Measurements and lines of logs, one page.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_plugin::{Answer, QueryError, Question, Range, Time, state};
use weir_tenta_messages::Timestamp;

use super::number::Number;
use super::{Direction, PAGE_BYTES, Params, made_up, unreadable};
use crate::leaves::{self, LOGS_KEPT, Table};
use crate::rows::{self, Values};

/// Leaves that are read at once.
const LEAVES: usize = 8;
/// Reads per page: lines that are gone already may lie in the way, and a query has one second.
const READS: usize = 200;
/// Longest item, in bytes.
const ITEM_BYTES: usize = 64 * 1024;
/// Longest order of a row, in bytes.
const ORDER_BYTES: usize = 64;

#[derive(Serialize)]
struct MeasurementItem<'a> {
    value: BTreeMap<&'a str, Number>,
    revision: Option<u32>,
    creation_timestamp: f64,
}

#[derive(Serialize)]
struct LogItem<'a> {
    severity: &'static str,
    message: &'a str,
    revision: Option<u32>,
    creation_timestamp: f64,
}

pub(super) fn answer(question: &Question, table: Table, params: &Params) -> Result<Answer, QueryError> {
    if question.cursor.as_ref().is_some_and(|cursor| cursor.len() > ORDER_BYTES) {
        return Err(made_up());
    }
    let gone = super::now(params).before(LOGS_KEPT);
    let mut page = Page { table, gone, limit: question.limit, answer: Answer::default(), bytes: 0 };
    let prefix = table.prefix(&question.topic);
    let time = params.creation_timestamp.map(Timestamp::nearest);
    let cursor = question.cursor.as_deref();
    match params.direction {
        Direction::Next => page.forwards(&prefix, time, cursor)?,
        Direction::Previous => page.backwards(&prefix, time, cursor)?,
    }
    Ok(page.answer)
}

/// A page being filled.
struct Page {
    table: Table,
    /// Lines of logs that the router took until then are not wanted.
    gone: Time,
    limit: usize,
    answer: Answer,
    bytes: usize,
}

impl Page {
    /// Rows after the time and after the cursor.
    fn forwards(
        &mut self,
        prefix: &[u8],
        time: Option<Timestamp>,
        cursor: Option<&[u8]>,
    ) -> Result<(), QueryError> {
        let after_time = match time {
            // There is nothing after the last of all times.
            Some(time) => match time.micros().checked_add(1) {
                Some(us) => rows::time_order(Timestamp::from_micros(us)).to_vec(),
                None => return Ok(()),
            },
            None => Vec::new(),
        };
        // A cursor that somebody made up does not widen the range.
        let from = after_time.max(cursor.map(|order| [order, &[0]].concat()).unwrap_or_default());
        let first = leaves::before(prefix, &[prefix, &from].concat())?;
        let first = first.map_or_else(|| prefix.to_vec(), |(key, _)| key);
        let mut range = Range::between(first, leaves::end(prefix));
        let mut last = None;
        for _ in 0..READS {
            let pairs = state::scan(range.clone(), LEAVES)?;
            let Some((end, _)) = pairs.last() else { return Ok(()) };
            range = range.beyond(end);
            for (_, value) in &pairs {
                for (order, row) in leaves::decode(value).ok_or_else(unreadable)? {
                    if order < from {
                        continue;
                    }
                    if !self.take(&order, &row)? {
                        self.answer.next = last;
                        return Ok(());
                    }
                    last = Some(order);
                }
            }
        }
        self.answer.next = last;
        Ok(())
    }

    /// Rows before the time and before the cursor: the last of them.
    fn backwards(
        &mut self,
        prefix: &[u8],
        time: Option<Timestamp>,
        cursor: Option<&[u8]>,
    ) -> Result<(), QueryError> {
        let bounds = [time.map(|time| rows::time_order(time).to_vec()), cursor.map(<[u8]>::to_vec)];
        let to = bounds.into_iter().flatten().min();
        let end = to.as_ref().map_or_else(|| leaves::end(prefix), |to| [prefix, to].concat());
        let mut range = Range::between(prefix, end).reversed();
        let mut last = None;
        let next = 'page: {
            for _ in 0..READS {
                let pairs = state::scan(range.clone(), LEAVES)?;
                let Some((end, _)) = pairs.last() else { break 'page None };
                range = range.beyond(end);
                for (_, value) in &pairs {
                    let rows = leaves::decode(value).ok_or_else(unreadable)?;
                    for (order, row) in rows.into_iter().rev() {
                        if to.as_ref().is_some_and(|to| order >= *to) {
                            continue;
                        }
                        if !self.take(&order, &row)? {
                            break 'page last;
                        }
                        last = Some(order);
                    }
                }
            }
            last
        };
        self.answer.items.reverse();
        self.answer.next = next;
        Ok(())
    }

    /// False: the page is full.
    fn take(&mut self, order: &[u8], row: &[u8]) -> Result<bool, QueryError> {
        if self.table == Table::Logs && rows::received(order).is_some_and(|received| received <= self.gone) {
            return Ok(true);
        }
        let item = match self.table {
            Table::Measurements => measurement(order, row)?,
            Table::Logs => log(order, row)?,
        };
        self.bytes += item.len();
        if self.answer.items.len() >= self.limit || self.bytes > PAGE_BYTES {
            return Ok(false);
        }
        self.answer.items.push(item);
        Ok(true)
    }
}

fn measurement(order: &[u8], row: &[u8]) -> Result<String, QueryError> {
    let (time, revision) = rows::measured(order).ok_or_else(unreadable)?;
    let Values(values) = Values::decode(row).ok_or_else(unreadable)?;
    let value = values.iter().map(|(name, value)| (name.as_str(), Number(*value))).collect();
    Ok(serde_json::to_string(&MeasurementItem { value, revision, creation_timestamp: time.seconds() })?)
}

fn log(order: &[u8], row: &[u8]) -> Result<String, QueryError> {
    let (severity, revision, mut message) = rows::decode_log(row).ok_or_else(unreadable)?;
    let creation_timestamp = rows::time_of(order).ok_or_else(unreadable)?.seconds();
    loop {
        let item = LogItem { severity: severity.as_str(), message, revision, creation_timestamp };
        let item = serde_json::to_string(&item)?;
        if item.len() <= ITEM_BYTES {
            return Ok(item);
        }
        message = shorter(message, item.len());
    }
}

/// A part of a text that is so many bytes long as JSON: about as much of it as there is room for.
pub(super) fn shorter(text: &str, written: usize) -> &str {
    let mut end = text.len() * (ITEM_BYTES - 512) / written.max(1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

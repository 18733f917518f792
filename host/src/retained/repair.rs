//! What the store knows at the start: its own records, and what the logs have beyond them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record;
use super::table::{Kept, Table};
use super::{SPACE, is_kept};
use crate::message::{Place, Stored, now_us};
use crate::store::{Log, Store, StoreError, behind_mark, marked_log};

/// Messages and bytes of a log that are read at once.
const PAGE: (usize, usize) = (4_096, 4 << 20);

/// What was read.
#[derive(Default)]
pub(super) struct Found {
    /// Topics of which the logs knew more than the records.
    pub(super) topics: BTreeSet<Arc<str>>,
    /// By log, where its mark was.
    pub(super) marks: BTreeMap<Arc<str>, u64>,
}

/// Fills the table. What the logs know beyond their marks is the last word: each record is written in the same
/// step as its message's mark, so it cannot be newer.
pub(super) fn read(store: &Store, table: &mut Table) -> Result<Found, StoreError> {
    let mut marks = BTreeMap::new();
    for pair in store.load_space(SPACE)? {
        if let Some(log) = marked_log(&pair.key) {
            marks.insert(log.to_vec(), pair.value);
            continue;
        }
        let topic = std::str::from_utf8(&pair.key).ok();
        match topic.and_then(|topic| record::read(topic, pair.value)) {
            Some((message, place)) => {
                let place = place.as_ref().and_then(|place| known(store, place));
                table.insert(Kept::new(message, place));
            }
            None => tracing::error!("a record of a retained message cannot be read and is left out"),
        }
    }
    let mut found = Found::default();
    for log in store.logs().iter().filter(|log| !log.is_input()) {
        let mark = marks.get(log.name().as_bytes()).map(Vec::as_slice);
        tail(log, mark, table, &mut found)?;
    }
    Ok(found)
}

/// The place, if it is one of a log as that is today. One that was lost and begun anew counts again from 0.
fn known<'a>(store: &Store, place: &'a Place) -> Option<(usize, &'a Place)> {
    let log = store.log(&place.log)?;
    let gone = place.offset < log.oldest();
    let same = place.offset < log.next_offset() && log.epoch_of(place.offset) == place.epoch;
    (gone || same).then_some((log.index(), place))
}

/// Reads a log from its mark to its end.
fn tail(log: &Log, mark: Option<&[u8]>, table: &mut Table, found: &mut Found) -> Result<(), StoreError> {
    let mut next = mark.and_then(|mark| behind_mark(log, mark)).unwrap_or_else(|| log.oldest());
    let before = found.topics.len();
    found.marks.insert(Arc::clone(log.name()), next);
    loop {
        let page = log.read(next, &|_| true, PAGE.0, PAGE.1)?;
        for Stored { message, place } in page.messages.into_iter().filter(|stored| is_kept(&stored.message)) {
            found.topics.insert(Arc::clone(&message.topic));
            let expired = message.expires_us().is_some_and(|at| at <= now_us());
            if expired || message.payload.is_empty() {
                table.remove(&message.topic);
            } else {
                table.insert(Kept::new(message, Some((log.index(), &place))));
            }
        }
        next = page.next.max(next);
        if page.end {
            break;
        }
    }
    let topics = found.topics.len() - before;
    if topics > 0 {
        tracing::info!(log = %log.name(), topics, "what they retain was read from the log");
    }
    Ok(())
}

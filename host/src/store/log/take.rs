//! What a read takes out of each pack.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;

use super::super::chunk::Found;
use super::super::pack::{Pack, Record};
use super::read::Reading;
use crate::message::{Message, Place, Stored};

/// A record that was wanted.
struct Wanted {
    offset: u64,
    topic: Arc<str>,
    record: Record,
}

impl Reading<'_> {
    /// One step of an ascending read of a segment that ends before `end`.
    pub(super) fn take_forward(&mut self, found: Found, end: u64) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.packs_left -= 1;
        let from = self.page.next;
        match found {
            Ok(pack) if pack.first >= end => return ControlFlow::Break(()),
            Ok(pack) => {
                self.absent(from..pack.first);
                for wanted in self.wanted_of(&pack, from..end) {
                    let offset = wanted.offset;
                    if !self.push(wanted) {
                        self.page.next = offset;
                        return ControlFlow::Break(());
                    }
                }
                self.page.next = pack.next().clamp(from, end);
            }
            Err(damage) => {
                let next = damage.next.unwrap_or(end).min(end).max(from);
                self.absent(from..damage.first.min(next));
                self.damage(damage.first.clamp(from, next)..next, damage.reason);
                self.page.next = next;
            }
        }
        ControlFlow::Continue(())
    }

    /// One step of a descending read.
    pub(super) fn take_backward(&mut self, found: Found) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        self.packs_left -= 1;
        let before = self.page.next;
        match found {
            Ok(pack) => {
                self.absent(pack.next()..before);
                for wanted in self.wanted_of(&pack, 0..before).into_iter().rev() {
                    let offset = wanted.offset;
                    if !self.push(wanted) {
                        self.page.next = offset + 1;
                        return ControlFlow::Break(());
                    }
                }
                self.page.next = pack.first.min(before);
            }
            Err(damage) => {
                let first = damage.first.min(before);
                self.absent(damage.next.unwrap_or(before)..before);
                self.damage(first..damage.next.unwrap_or(before).clamp(first, before), damage.reason);
                self.page.next = first;
            }
        }
        ControlFlow::Continue(())
    }

    /// The wanted records of a pack within `range`. One that does not parse is reported with all after it.
    fn wanted_of(&mut self, pack: &Pack, range: Range<u64>) -> Vec<Wanted> {
        let topics: Vec<Option<Arc<str>>> =
            pack.topics().map(|topic| (self.wanted)(topic).then(|| Arc::from(topic))).collect();
        if topics.iter().all(Option::is_none) {
            return Vec::new();
        }
        // A few messages must not keep the memory of all the others.
        let copy = topics.iter().any(Option::is_none);
        let mut all = Vec::new();
        for (record, expected) in pack.records().zip(pack.first..) {
            let (offset, record) = match record {
                Ok(record) => record,
                Err(reason) => {
                    self.damage(expected..pack.next(), reason);
                    break;
                }
            };
            if let Some(Some(topic)) = topics.get(record.topic)
                && range.contains(&offset)
            {
                let record = if copy { copied(record) } else { record };
                all.push(Wanted { offset, topic: topic.clone(), record });
            }
        }
        all
    }

    /// Takes a record; false when the page has no room for it.
    fn push(&mut self, wanted: Wanted) -> bool {
        let Wanted { offset, topic, record } = wanted;
        let message = Message { topic, meta: record.meta, payload: record.payload };
        let size = message.size();
        if self.messages_left == 0 || (size > self.bytes_left && !self.page.messages.is_empty()) {
            self.bytes_left = 0;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(size);
        self.messages_left -= 1;
        let epoch = self.view.epochs.of(offset);
        let place = Place { log: self.log.name().clone(), epoch, offset };
        self.page.messages.push(Stored { message, place });
        true
    }
}

/// The record in memory of its own: one allocation.
fn copied(record: Record) -> Record {
    let mut both = Vec::with_capacity(record.meta.len() + record.payload.len());
    both.extend_from_slice(&record.meta);
    both.extend_from_slice(&record.payload);
    let mut meta = Bytes::from(both);
    let payload = meta.split_off(record.meta.len());
    Record { topic: record.topic, meta, payload }
}

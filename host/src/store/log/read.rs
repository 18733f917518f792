//! Reading a log, in bounded steps, in both directions.

use std::ops::Range;
use std::sync::Arc;

use super::super::chunk;
use super::super::database::Database;
use super::super::error::StoreError;
use super::super::segment::Segment;
use super::{Log, View};
use crate::message::Stored;

/// Packs that one call looks at, most: some 8 MiB. A filter that matches nothing thus costs a bounded time.
const MOST_PACKS: usize = 512;

/// What one call found.
#[derive(Debug, Default)]
pub struct ReadPage {
    /// Messages that were wanted, in the order of the call.
    pub messages: Vec<Stored>,
    /// Ascending: the first offset not looked at. Descending: the `before` of the next call.
    pub next: u64,
    /// Nothing further at this moment.
    pub end: bool,
    /// Asked for, but retention had taken it.
    pub missed: Option<Range<u64>>,
    /// Could not be read; each was reported.
    pub damaged: Vec<Range<u64>>,
}

/// A call under way.
pub(super) struct Reading<'a> {
    pub(super) log: &'a Log,
    pub(super) view: Arc<View>,
    pub(super) wanted: &'a dyn Fn(&str) -> bool,
    pub(super) page: ReadPage,
    pub(super) messages_left: usize,
    pub(super) bytes_left: usize,
    pub(super) packs_left: usize,
}

impl Log {
    /// Wanted messages from offset `from` on, ascending: at most `max_messages`, and at most `max_bytes` of
    /// topics, metadata and payloads, but one message at least. Looks at some 8 MiB of the log at most: go
    /// on from `next` until `end`. Blocks on the disk.
    pub fn read(
        &self,
        from: u64,
        wanted: &dyn Fn(&str) -> bool,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<ReadPage, StoreError> {
        // First, so that the view knows all lives up to it.
        let durable = self.durable();
        let mut reading = self.reading(wanted, max_messages, max_bytes);
        let oldest = reading.view.oldest();
        if from < oldest {
            reading.page.missed = Some(from..oldest);
        }
        reading.page.next = from.max(oldest);
        while !reading.is_full() && reading.page.next < durable {
            let (segment, end) = reading.segment_of(reading.page.next, durable);
            reading.forward(&segment, end)?;
        }
        reading.page.end = reading.page.next >= durable;
        Ok(reading.page)
    }

    /// Wanted messages before offset `before`, descending, with the bounds of [`Self::read`].
    pub fn read_reverse(
        &self,
        before: u64,
        wanted: &dyn Fn(&str) -> bool,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<ReadPage, StoreError> {
        let durable = self.durable();
        let mut reading = self.reading(wanted, max_messages, max_bytes);
        let oldest = reading.view.oldest();
        reading.page.next = before.min(durable).max(oldest);
        while !reading.is_full() && reading.page.next > oldest {
            let (segment, end) = reading.segment_of(reading.page.next - 1, durable);
            reading.backward(&segment, end)?;
        }
        reading.page.end = reading.page.next <= oldest;
        Ok(reading.page)
    }

    fn reading<'a>(
        &'a self,
        wanted: &'a dyn Fn(&str) -> bool,
        max_messages: usize,
        max_bytes: usize,
    ) -> Reading<'a> {
        Reading {
            log: self,
            view: self.view(),
            wanted,
            page: ReadPage::default(),
            messages_left: max_messages.max(1),
            bytes_left: max_bytes,
            packs_left: MOST_PACKS,
        }
    }
}

impl Reading<'_> {
    pub(super) fn is_full(&self) -> bool {
        let no_bytes = self.bytes_left == 0 && !self.page.messages.is_empty();
        self.messages_left == 0 || self.packs_left == 0 || no_bytes
    }

    /// The segment that holds `offset`, and where it ends.
    fn segment_of(&self, offset: u64, durable: u64) -> (Arc<Segment>, u64) {
        let after = self.view.sealed.partition_point(|(segment, _)| segment.first <= offset);
        let found = after.checked_sub(1).and_then(|at| self.view.sealed.get(at));
        match found {
            Some((segment, _)) if offset < self.view.active.first => {
                let following = self.view.sealed.get(after).map(|(next, _)| next.first);
                (segment.clone(), following.unwrap_or(self.view.active.first).min(durable))
            }
            _ => (self.view.active.clone(), durable),
        }
    }

    /// Reads on in one segment; `next` is at `end` when there is no more in it.
    fn forward(&mut self, segment: &Arc<Segment>, end: u64) -> Result<(), StoreError> {
        let from = self.page.next;
        let result = self.walk(segment, |database, reading| {
            chunk::forward(database, from, &mut |found| reading.take_forward(found, end))
        });
        match result {
            Ok(true) if !self.is_full() => {
                self.absent(self.page.next..end);
                self.page.next = end;
            }
            Ok(true) => {}
            // Retention was quicker.
            Ok(false) => {
                let from = self.page.missed.as_ref().map_or(from, |missed| missed.start);
                self.page.missed = Some(from..end);
                self.page.next = end;
            }
            Err(error) if error.is_corrupt() => {
                self.corrupt(segment, segment.first..end, self.page.next..end, &error);
                self.page.next = end;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads back in one segment; `next` is at its first offset when there is no more in it.
    fn backward(&mut self, segment: &Arc<Segment>, end: u64) -> Result<(), StoreError> {
        let before = self.page.next;
        let result = self.walk(segment, |database, reading| {
            chunk::backward(database, before, &mut |found| reading.take_backward(found))
        });
        match result {
            Ok(true) if self.is_full() => {}
            Ok(there) => {
                if there {
                    self.absent(segment.first..self.page.next);
                }
                self.page.next = segment.first;
            }
            Err(error) if error.is_corrupt() => {
                self.corrupt(segment, segment.first..end, segment.first..self.page.next, &error);
                self.page.next = segment.first;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Opens the segment and runs `work`; false when the segment is gone.
    fn walk(
        &mut self,
        segment: &Arc<Segment>,
        work: impl FnOnce(&Database, &mut Self) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let Some(database) = segment.database()? else { return Ok(false) };
        if segment.first != self.view.active.first {
            self.log.0.note_reading(segment);
        }
        work(&database, self)?;
        Ok(true)
    }
}

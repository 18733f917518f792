//! The writing side of a log: used by the writer thread alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::chunk::Filling;
use super::super::database::SharedDatabase;
use super::super::error::StoreError;
use super::super::keys;
use super::super::pack::PackBuilder;
use super::super::segment::Sealed;
use super::super::witness;
use super::{Log, View, open};
use crate::message::{Message, now_us};

/// Smallest segment, in bytes of messages: below it, sled's own files are larger than the messages.
const MIN_SEGMENT_BYTES: u64 = 4 << 20;

/// A log is cut into at least so many segments by its limits, so that retention works in small steps.
const STEPS: u64 = 8;

/// As [`STEPS`], for `max_messages`: each segment is a database, so they are fewer.
const NUMBER_STEPS: u64 = 4;

/// Smallest segment, in messages.
const MIN_SEGMENT_MESSAGES: u64 = 256;

/// Builds packs and writes them to the active segment.
#[derive(Debug)]
pub(in super::super) struct Appender {
    log: Log,
    builder: PackBuilder,
    filling: Filling,
    /// Offset after the last message taken.
    next: u64,
    /// Bytes of packs in the active segment since it was made or opened.
    segment_bytes: u64,
    segment_created_us: u64,
    newest_us: u64,
    dirty: bool,
    rolled: bool,
    /// A segment may be closed for its number of messages: once a flush, since each costs the time of several.
    may_roll: bool,
}

impl Appender {
    pub(super) fn new(log: Log, next: u64, segment_created_us: u64) -> Self {
        let segment_bytes = log.view().active.bytes();
        let builder = PackBuilder::new();
        let newest_us = now_us();
        Self {
            log,
            builder,
            filling: Filling::default(),
            next,
            segment_bytes,
            segment_created_us,
            newest_us,
            dirty: false,
            rolled: false,
            may_roll: true,
        }
    }

    /// The log that it writes.
    pub(in super::super) fn log(&self) -> &Log {
        &self.log
    }

    /// The offset after the last message taken.
    pub(in super::super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether a segment was sealed since the last call: time for retention to look.
    pub(in super::super) fn take_rolled(&mut self) -> bool {
        std::mem::take(&mut self.rolled)
    }

    /// Takes a message; writes the pack before it when that is full.
    pub(in super::super) fn push(&mut self, offset: u64, message: &Message) -> Result<(), StoreError> {
        if !self.builder.takes(offset, message) {
            self.write()?;
        }
        self.builder.push(offset, message);
        self.next = offset + 1;
        self.dirty = true;
        Ok(())
    }

    /// Writes what was taken and waits until it is on the disk.
    pub(in super::super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.dirty {
            self.write()?;
            self.database()?.sync()?;
            self.dirty = false;
            self.may_roll = true;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let first = self.builder.first();
        let may_roll = std::mem::take(&mut self.may_roll);
        if self.segment_bytes >= self.roll_bytes() || (may_roll && self.has_the_number(first)) {
            self.roll(first)?;
        }
        let database = self.database()?;
        let now = now_us();
        self.newest_us = now;
        let filling = &mut self.filling;
        let written = self.builder.finish(now, |first, pack| filling.append(&database, first, pack))?;
        self.segment_bytes += written;
        Ok(())
    }

    fn database(&self) -> Result<SharedDatabase, StoreError> {
        self.log.view().active.database()?.ok_or(StoreError::Closed)
    }

    fn roll_bytes(&self) -> u64 {
        let options = &self.log.0.options;
        let share = options.max_bytes.map_or(u64::MAX, |most| most / STEPS);
        options.segment_bytes.min(share).max(MIN_SEGMENT_BYTES)
    }

    /// Whether the active segment has its share of `max_messages`, when `next` is the offset after its last.
    fn has_the_number(&self, next: u64) -> bool {
        let share = |most: u64| (most / NUMBER_STEPS).max(MIN_SEGMENT_MESSAGES);
        let count = next.saturating_sub(self.log.view().active.first);
        self.log.0.options.max_messages.is_some_and(|most| count >= share(most))
    }

    /// Begins a new segment when the active one has its share of the log's limits, so that retention can take it:
    /// nothing may be published any more, and after a start the limits may be lower.
    pub(in super::super) fn roll_if_due(&mut self, now_us: u64) -> Result<(), StoreError> {
        let limit_us = self
            .log
            .0
            .options
            .max_age
            .map_or(u64::MAX, |max_age| u64::try_from(max_age.as_micros()).unwrap_or(u64::MAX) / STEPS);
        let old = now_us.saturating_sub(self.segment_created_us) >= limit_us;
        let large = self.segment_bytes >= self.roll_bytes();
        let empty = self.log.view().active.first == self.next;
        if empty || self.dirty || !(old || large || self.has_the_number(self.next)) {
            return Ok(());
        }
        self.roll(self.next)
    }

    /// Seals the active segment and begins one at `first`.
    fn roll(&mut self, first: u64) -> Result<(), StoreError> {
        let log = self.log.clone();
        let _changing = log.0.changing.lock();
        let view = log.view();
        // Else a crash could keep the new segment and lose the end of the old one.
        self.database()?.sync()?;
        let sealed = Sealed { next: first, newest_us: self.newest_us, bytes: view.active.bytes() };
        let mut next_view = View::clone(&view);
        next_view.sealed.push((view.active.clone(), sealed));
        next_view.epochs.forget_before(view.oldest());
        self.replace_active(next_view, first)?;
        self.log.0.note_reading(&view.active);
        self.rolled = true;
        Ok(())
    }

    /// Makes a segment at `first` and shows it to readers, with the rest of `view`.
    fn replace_active(&mut self, mut view: View, first: u64) -> Result<(), StoreError> {
        let inner = &self.log.0;
        let carried = view.carried(self.segment_created_us);
        let (segment, _) = open::create(&inner.dir, first, carried, inner.cache_bytes)?;
        view.active = Arc::new(segment);
        *inner.view.write() = Arc::new(view);
        self.filling = Filling::default();
        self.segment_bytes = 0;
        self.segment_created_us = now_us();
        Ok(())
    }

    /// Opens the active segment again after an error, and begins a new life at `first`: what was not on the
    /// disk is lost.
    pub(in super::super) fn recover(&mut self, first: u64) -> Result<(), StoreError> {
        self.builder = PackBuilder::new();
        self.filling = Filling::default();
        self.dirty = false;
        self.next = first;
        let inner = self.log.0.clone();
        let _changing = inner.changing.lock();
        let mut view = View::clone(&self.log.view());
        let begun = self.database().and_then(|database| {
            database.reopen()?;
            let recovered = open::recovered_next(&database, view.active.first, &inner.incidents)?;
            let mut view = view.clone();
            view.epochs.begin(recovered, first);
            let carried = view.carried(self.segment_created_us);
            database.tree(keys::META, |tree| carried.write(tree))?;
            database.sync()?;
            Ok(view)
        });
        match begun {
            Ok(view) => *inner.view.write() = Arc::new(view),
            Err(error) if error.is_corrupt() => {
                if let Some(place) = view.active.set_aside(&error)? {
                    inner.incidents.report(format!("{error}; it was moved to {}", place.display()));
                }
                // Up to the mark it was there: readers are told that it is not.
                view.epochs.begin((*inner.durable.borrow()).max(view.active.first).min(first), first);
                self.replace_active(view, first)?;
            }
            Err(error) => return Err(error),
        }
        inner.epoch.store(self.log.view().epochs.current(), Ordering::Release);
        Ok(())
    }

    /// Leaves the mark that lets the next start go on in the same life.
    pub(in super::super) fn close(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let database = self.database()?;
        database.tree(keys::META, |tree| tree.insert(keys::CLEAN, keys::numbers(&[self.next])))?;
        database.sync()?;
        witness::leave(&self.log.0.dir.join(open::CLEAN), [self.next, self.log.oldest()])
    }
}

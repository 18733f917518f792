//! Retention: the oldest segments go, whole, when age, bytes or number of messages allow.

use std::sync::Arc;

use super::super::error::StoreError;
use super::super::segment::{Sealed, Segment};
use super::{Inner, View};

/// Sealed segments of one log whose database stays open for readers: each costs its cache.
const READING: usize = 2;

/// Deletes what may go; false when there was nothing. Of what is held, one segment goes when the disk is `pressed`:
/// there may be room then.
pub(super) fn retain(inner: &Inner, now_us: u64, pressed: bool) -> Result<bool, StoreError> {
    let view = inner.view.read().clone();
    let sealed_bytes: u64 = view.sealed.iter().map(|(_, sealed)| sealed.bytes).sum();
    let mut bytes = sealed_bytes + view.active.bytes();
    let newest = *inner.durable.borrow();
    let held = inner.holds.lock().values().min().copied().unwrap_or(u64::MAX);
    let mut gone = 0;
    for (_, sealed) in &view.sealed {
        // A hold counts up to its limit, and not when the disk is full.
        let pressing = pressed && gone == 0;
        let free = held >= sealed.next || pressing || bytes > inner.options.hold_max_bytes;
        if !(free && inner.is_over(sealed, now_us, bytes, newest)) {
            break;
        }
        bytes -= sealed.bytes.min(bytes);
        gone += 1;
    }
    if gone == 0 {
        return Ok(false);
    }
    // Readers get the shorter view first, so that none begins to read a segment that is going.
    let (going, kept) = view.sealed.split_at(gone.min(view.sealed.len()));
    let epochs = inner.view.read().epochs.clone();
    *inner.view.write() = Arc::new(View { sealed: kept.to_vec(), active: view.active.clone(), epochs });
    for (segment, sealed) in going {
        let lagging = held < sealed.next;
        if lagging {
            inner.incidents.report(format!(
                "log {}: messages {} to {} were deleted though a consumer has not read them",
                inner.options.name,
                segment.first.max(held),
                sealed.next
            ));
        }
        inner.forget_reading(segment);
        segment.delete()?;
        tracing::debug!(log = %inner.options.name, first = segment.first, "segment deleted by retention");
    }
    Ok(true)
}

impl Inner {
    /// Whether this segment, the oldest one, is more than the log should hold.
    fn is_over(&self, sealed: &Sealed, now_us: u64, bytes: u64, newest: u64) -> bool {
        let options = &self.options;
        let age = options.max_age.is_some_and(|most| {
            let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
            now_us.saturating_sub(sealed.newest_us) > most_us
        });
        let size = options.max_bytes.is_some_and(|most| bytes > most);
        let count = options.max_messages.is_some_and(|most| newest.saturating_sub(sealed.next) >= most);
        age || size || count
    }

    /// Notes that a sealed segment is being read, and closes the one that was longest unread.
    pub(super) fn note_reading(&self, segment: &Arc<Segment>) {
        let mut reading = self.reading.lock();
        if let Some(at) = reading.iter().position(|open| Arc::ptr_eq(open, segment)) {
            reading.remove(at);
        }
        reading.push_back(segment.clone());
        let unused = if reading.len() > READING { reading.pop_front() } else { None };
        drop(reading);
        if let Some(unused) = unused {
            unused.release();
        }
    }

    pub(super) fn forget_reading(&self, segment: &Arc<Segment>) {
        self.reading.lock().retain(|open| !Arc::ptr_eq(open, segment));
    }
}

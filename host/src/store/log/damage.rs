//! Damage that readers find: told to each of them, reported once.

use std::ops::Range;
use std::sync::Arc;

use super::super::error::StoreError;
use super::super::segment::Segment;
use super::Inner;
use super::read::Reading;

/// Damaged places that are remembered; beyond, one may be reported again.
const PLACES: usize = 1_000;

/// Offsets of which it was reported that they are lost.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<Range<u64>>);

impl Known {
    /// Takes note; false when all of it was known.
    pub(super) fn add(&mut self, range: &Range<u64>) -> bool {
        if self.0.iter().any(|known| known.start <= range.start && range.end <= known.end) {
            return false;
        }
        let mut whole = range.clone();
        self.0.retain(|known| {
            let apart = known.end < range.start || range.end < known.start;
            if !apart {
                whole = whole.start.min(known.start)..whole.end.max(known.end);
            }
            apart
        });
        if self.0.len() >= PLACES {
            self.0.remove(0);
        }
        self.0.push(whole);
        true
    }
}

impl Inner {
    /// Reports messages that cannot be read, unless that is known.
    pub(super) fn report_damage(&self, range: &Range<u64>, reason: &str) {
        if !range.is_empty() && self.known.lock().add(range) {
            self.incidents.report(format!(
                "log {}: messages {} to {} cannot be read: {reason}",
                self.options.name, range.start, range.end
            ));
        }
    }
}

impl Reading<'_> {
    /// Tells the reader of messages that cannot be read.
    pub(super) fn damage(&mut self, range: Range<u64>, reason: &str) {
        if !range.is_empty() {
            self.log.0.report_damage(&range, reason);
            self.page.damaged.push(range);
        }
    }

    /// Looks at offsets of which there is no pack: what was kept of them once is damage. In between stands what was
    /// never given, or what the store has said that it lost when a life ended.
    pub(super) fn absent(&mut self, range: Range<u64>) {
        for lost in self.view.epochs.within(&range) {
            self.damage(lost, "they are missing on the disk");
        }
    }

    /// Tells of a database that does not open or read. That of the `whole` of a sealed segment is moved out of the way;
    /// the active one is the writer's.
    pub(super) fn corrupt(
        &mut self,
        segment: &Arc<Segment>,
        whole: Range<u64>,
        unread: Range<u64>,
        error: &StoreError,
    ) {
        let inner = &self.log.0;
        if segment.first != self.view.active.first {
            inner.forget_reading(segment);
            match segment.set_aside(error) {
                Ok(Some(place)) => {
                    inner.report_damage(&whole, &format!("{error}; it was moved to {}", place.display()));
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "a damaged segment cannot be moved out of the way"),
            }
        }
        self.damage(unread, &error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_not_told_again() {
        let mut known = Known::default();
        assert!(known.add(&(10..20)) && known.add(&(30..40)));
        assert!(!known.add(&(12..20)) && known.add(&(15..35)));
        assert!(!known.add(&(10..40)));
        assert_eq!(known.0.len(), 1);
        for place in 0..2 * PLACES as u64 {
            known.add(&(100 + 3 * place..101 + 3 * place));
        }
        assert_eq!(known.0.len(), PLACES);
    }
}

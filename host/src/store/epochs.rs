//! The lives of a log.

use std::ops::Range;

use super::error::StoreError;
use super::keys;
use super::segment::Sealed;
use crate::message::now_us;

/// One life of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The Unix millisecond in which it began, or one more than the one before: so it is new even when everything
    /// that was known of earlier ones is lost.
    pub(super) epoch: u64,
    /// Its first offset.
    pub(super) first: u64,
    /// The offset after the last one that is known to be kept; `u64::MAX` while it goes on.
    pub(super) next: u64,
}

/// The lives of which something may still be asked, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs(pub(super) Vec<Span>);

impl Epochs {
    /// The present one.
    pub(super) fn current(&self) -> u64 {
        self.0.last().map_or(0, |span| span.epoch)
    }

    /// Ends the present life before `next` and begins a new one at `first`.
    pub(super) fn begin(&mut self, next: u64, first: u64) {
        let now_ms = now_us() / 1_000;
        let epoch = self.0.last().map_or(now_ms, |last| now_ms.max(last.epoch + 1));
        if let Some(last) = self.0.last_mut() {
            last.next = next.max(last.first);
        }
        self.0.push(Span { epoch, first, next: u64::MAX });
    }

    /// The life in which a kept offset was given.
    pub(super) fn of(&self, offset: u64) -> u64 {
        let after = self.0.partition_point(|span| span.first <= offset);
        let span = after.checked_sub(1).and_then(|at| self.0.get(at));
        span.map_or(0, |span| span.epoch)
    }

    /// The last kept offset before this one, and its life.
    pub(super) fn last_before(&self, offset: u64) -> Option<(u64, u64)> {
        let kept = |span: &&Span| span.first < span.next.min(offset);
        self.0.iter().rev().find(kept).map(|span| (span.epoch, span.next.min(offset) - 1))
    }

    /// What was kept of these offsets once, so that it should still be there.
    pub(super) fn within(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let parts = self.0.iter().map(|span| span.first.max(range.start)..span.next.min(range.end));
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// The offsets of a life.
    pub(super) fn range(&self, epoch: u64) -> Option<Range<u64>> {
        self.0.iter().find(|span| span.epoch == epoch).map(|span| span.first..span.next)
    }

    /// The first offset of the life after this one.
    pub(super) fn first_after(&self, epoch: u64) -> Option<u64> {
        self.0.iter().find(|span| span.epoch > epoch).map(|span| span.first)
    }

    /// Forgets lives that ended before the oldest retained offset: nobody can resume in them.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        self.0.retain(|span| span.next >= oldest);
    }
}

/// What each segment knows of the whole log.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    pub(super) epochs: Epochs,
    /// First offsets and summaries of sealed segments, ascending.
    pub(super) sealed: Vec<(u64, Sealed)>,
    /// Where the clean mark stands, if there is one.
    pub(super) clean: Option<u64>,
    /// First offset and Unix µs; none when the segment was never finished being made.
    pub(super) birth: Option<(u64, u64)>,
}

impl Carried {
    /// Writes everything into a segment's tree, in one step; the clean mark is removed when there is none.
    pub(super) fn write(&self, tree: &sled::Tree) -> sled::Result<()> {
        let mut batch = sled::Batch::default();
        if let Some((first, created_us)) = self.birth {
            batch.insert(keys::BIRTH, keys::numbers(&[first, created_us]));
        }
        for span in &self.epochs.0 {
            batch.insert(keys::numbered(keys::EPOCH, span.epoch), keys::numbers(&[span.first, span.next]));
        }
        for (first, sealed) in &self.sealed {
            let value = keys::numbers(&[sealed.next, sealed.newest_us, sealed.bytes]);
            batch.insert(keys::numbered(keys::SEALED, *first), value);
        }
        match self.clean {
            Some(next) => batch.insert(keys::CLEAN, keys::numbers(&[next])),
            None => batch.remove(keys::CLEAN),
        }
        tree.apply_batch(batch)
    }

    /// Reads it back.
    pub(super) fn read(tree: &sled::Tree) -> sled::Result<Result<Self, StoreError>> {
        let mut carried = Self::default();
        let damaged = || StoreError::corrupt(std::path::Path::new("meta"), "a record does not parse");
        for entry in tree.iter() {
            let (key, value) = entry?;
            let parsed = match key.first() {
                Some(&keys::EPOCH) => keys::parse_numbered(&key)
                    .zip(keys::parse_numbers(&value))
                    .map(|(epoch, [first, next])| carried.epochs.0.push(Span { epoch, first, next })),
                Some(&keys::SEALED) => keys::parse_numbered(&key).zip(keys::parse_numbers(&value)).map(
                    |(first, [next, newest_us, bytes])| {
                        carried.sealed.push((first, Sealed { next, newest_us, bytes }));
                    },
                ),
                _ if key == keys::CLEAN => {
                    keys::parse_numbers(&value).map(|[next]| carried.clean = Some(next))
                }
                _ if key == keys::BIRTH => {
                    keys::parse_numbers(&value).map(|[first, at]| carried.birth = Some((first, at)))
                }
                _ => None,
            };
            if parsed.is_none() {
                return Ok(Err(damaged()));
            }
        }
        Ok(Ok(carried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_follow_each_other() {
        let mut epochs = Epochs::default();
        epochs.begin(0, 0);
        let one = epochs.current();
        epochs.begin(10, 15);
        let two = epochs.current();
        assert!(two > one);
        assert_eq!((epochs.of(0), epochs.of(14), epochs.of(15)), (one, one, two));
        assert_eq!(epochs.range(one), Some(0..10));
        assert_eq!(epochs.range(two), Some(15..u64::MAX));
        assert_eq!(epochs.range(two + 1), None);
        assert_eq!((epochs.first_after(one), epochs.first_after(two)), (Some(15), None));
        assert_eq!(epochs.last_before(0), None);
        assert_eq!(epochs.last_before(5), Some((one, 4)));
        assert_eq!(epochs.last_before(15), Some((one, 9)), "10 to 14 are lost");
        assert_eq!(epochs.last_before(16), Some((two, 15)));
        assert_eq!(epochs.within(&(8..20)), [8..10, 15..20]);
        epochs.forget_before(11);
        assert_eq!(epochs.range(one), None);
    }
}

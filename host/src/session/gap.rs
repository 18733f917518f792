//! Messages that a session did not get.

use std::sync::Arc;

use crate::message::Routed;

/// Messages of one log, or of topics that belong to none, that overflowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where they stand in their log. None: their topics belong to no log.
    pub span: Option<Span>,
    /// How many.
    pub lost: u64,
}

/// A part of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The log's configured name.
    pub log: Arc<str>,
    /// The life of the log in which the offsets were given.
    pub epoch: u64,
    /// Offset of the first lost message.
    pub from: u64,
    /// Offset of the last one.
    pub to: u64,
}

impl Gap {
    /// One lost message.
    pub(super) fn of(routed: &Routed) -> Self {
        let span = routed.place.as_ref().map(|place| Span {
            log: Arc::clone(&place.log),
            epoch: place.epoch,
            from: place.offset,
            to: place.offset,
        });
        Self { span, lost: 1 }
    }

    /// Takes the other one in, if it is of the same life of the same log.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        match (&mut self.span, &other.span) {
            (None, None) => {}
            (Some(span), Some(more)) if span.epoch == more.epoch && span.log == more.log => {
                span.from = span.from.min(more.from);
                span.to = span.to.max(more.to);
            }
            _ => return false,
        }
        self.lost += other.lost;
        true
    }
}

/// Adds a gap to those before the same message.
pub(super) fn gather(gaps: &mut Vec<Gap>, gap: Gap) {
    if !gaps.iter_mut().any(|known| known.join(&gap)) {
        gaps.push(gap);
    }
}

//! The ids of events.

use std::fmt::Write;

use crate::message::{Place, Places};

/// Begins an id before which not all retained messages have been sent.
const UNSENT: &str = "retained;";

/// An id that a client shows again: the places, and whether it is to be sent the retained messages once more.
pub(in super::super) fn parse(id: &str) -> (&str, bool) {
    id.strip_prefix(UNSENT).map_or((id, false), |places| (places, true))
}

/// The id of an event says where a client goes on that has seen all up to it.
pub(in super::super) struct Ids {
    seen: Places,
    /// Subscriptions that are still read from the log. What comes of several is in no common order, so the id
    /// stays where they began until all have caught up.
    behind: usize,
    /// Subscriptions whose retained messages are on their way.
    unsent: usize,
    text: String,
}

impl Ids {
    /// Of a stream that begins behind these places. `replays`: how many of its subscriptions begin in the past;
    /// `unsent`: how many with retained messages.
    pub(in super::super) fn new(places: Places, replays: usize, unsent: usize) -> Self {
        let behind = if replays > 1 { replays } else { 0 };
        let mut new = Self { seen: places, behind, unsent, text: String::new() };
        new.write();
        new
    }

    /// The id of what is said now.
    pub(in super::super) fn text(&self) -> &str {
        &self.text
    }

    /// A message of a log goes out.
    pub(super) fn saw(&mut self, place: &Place) {
        let (epoch, offset) = (place.epoch, place.offset);
        if self.seen.0.get(&place.log).is_none_or(|seen| *seen < (epoch, offset)) {
            self.seen.saw(&place.log, epoch, offset);
        }
        if self.behind == 0 {
            self.write();
        }
    }

    /// A subscription is live from here on.
    pub(super) fn caught_up(&mut self) {
        self.behind = self.behind.saturating_sub(1);
        if self.behind == 0 {
            self.write();
        }
    }

    /// The retained messages of a subscription have gone out.
    pub(super) fn retained_sent(&mut self) {
        self.unsent = self.unsent.saturating_sub(1);
        if self.behind == 0 {
            self.write();
        }
    }

    fn write(&mut self) {
        self.text.clear();
        if self.unsent > 0 {
            self.text.push_str(UNSENT);
        }
        if self.seen.0.is_empty() {
            // No log had a message so far. The empty id would be none at all.
            self.text.push_str("start");
        } else {
            // Writing into memory cannot fail.
            let _ = write!(self.text, "{}", self.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(log: &str, offset: u64) -> Place {
        Place { log: log.into(), epoch: 1, offset }
    }

    #[test]
    fn an_id_never_goes_back() {
        let mut ids = Ids::new(Places::default(), 1, 0);
        assert_eq!(ids.text(), "start");
        for (offset, text) in [(3, "a:1:3"), (2, "a:1:3"), (4, "a:1:4")] {
            ids.saw(&place("a", offset));
            assert_eq!(ids.text(), text);
        }
        ids.saw(&place("b", 0));
        assert_eq!(ids.text(), "a:1:4,b:1:0");
    }

    #[test]
    fn an_id_says_what_is_still_to_be_sent() {
        let mut ids = Ids::new(Places::default(), 0, 2);
        assert_eq!((ids.text(), parse(ids.text())), ("retained;start", ("start", true)));
        ids.retained_sent();
        ids.saw(&place("a", 3));
        assert_eq!(parse(ids.text()), ("a:1:3", true));
        ids.retained_sent();
        assert_eq!((ids.text(), parse(ids.text())), ("a:1:3", ("a:1:3", false)));
    }

    #[test]
    fn an_id_passes_nothing_that_is_still_to_be_read() {
        let mut ids = Ids::new(Places::parse("a:1:3").unwrap(), 2, 0);
        ids.saw(&place("a", 9));
        ids.caught_up();
        assert_eq!(ids.text(), "a:1:3", "the other subscription may be at 4");
        ids.caught_up();
        assert_eq!(ids.text(), "a:1:9");
    }
}

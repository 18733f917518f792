//! Those who subscribe, are cut off, and come back with the places of what they have seen.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_contract::topic::Pattern;

use super::kept::{Kept, LOGS, Message, Place, places_json};
use super::stream::Stream;
use super::{Load, Tallied};
use crate::Dice;
use crate::harness::Reach;

/// One subscriber, through all its connections.
pub(super) struct Follower {
    pub(super) name: &'static str,
    pub(super) pattern: Pattern,
    /// It reads server-sent events.
    pub(super) by_events: bool,
    /// Of each log the last that it has seen: what a client keeps.
    pub(super) places: [Option<Place>; 2],
    /// Of each log the offset behind all that it has seen and that is known to be kept.
    next: [usize; 2],
    /// What it has seen behind all that is known to be kept.
    fresh: [Vec<Message>; 2],
    pub(super) tallied: Tallied,
}

impl Follower {
    pub(super) fn new(name: &'static str, pattern: &str, by_events: bool) -> Self {
        let pattern = pattern.parse().expect("a pattern");
        let (places, next, fresh) = Default::default();
        Self { name, pattern, by_events, places, next, fresh, tallied: Tallied::default() }
    }

    /// Whether the router must know a place: it survived, or it was given in this very life.
    fn is_known(&self, kept: &Kept, log: usize) -> bool {
        let place = self.places[log];
        let fresh = self.fresh[log].last().map(Message::place);
        place.is_some_and(|place| kept.has(log, place) || fresh == Some(place))
    }

    /// The next message of a log that it must see, of those that are known to be kept.
    fn expected<'a>(&self, kept: &'a Kept, log: usize) -> Option<&'a Message> {
        kept.log(log)[self.next[log]..].iter().find(|message| self.pattern.matches(&message.topic))
    }

    /// What the router says first: where it begins in each log, and whether something that was seen is lost.
    fn opened(&mut self, kept: &Kept, answer: &Value) {
        assert_eq!(answer["ok"], true, "{}: {answer}", self.name);
        let said = format!("{}: {:?}, {answer}", self.name, self.places);
        let mut lost = 0;
        for log in 0..LOGS.len() {
            let Some((epoch, _)) = self.places[log].filter(|_| !self.is_known(kept, log)) else { continue };
            // All that is kept of that life was seen: it goes on with the next one.
            let first = kept.log(log).partition_point(|message| message.epoch <= epoch);
            let oldest = &answer["oldest"][LOGS[log]];
            assert_eq!(oldest["offset"], first, "{said}");
            assert!(kept.log(log).get(first).is_none_or(|first| oldest["epoch"] == first.epoch), "{said}");
            let passed = self.expected(kept, log).filter(|message| message.offset < first as u64);
            assert_eq!(passed, None, "{said}");
            self.next[log] = first;
            self.places[log] = first.checked_sub(1).map(|last| kept.log(log)[last].place());
            lost += 1;
        }
        assert_eq!(answer["recovered"], lost == 0, "{said}");
        assert_eq!(answer["oldest"].as_object().map_or(0, serde_json::Map::len), lost, "{said}");
        assert_eq!(answer["places"], places_json(&self.places), "{said}");
        self.tallied.opened += 1;
        self.tallied.lost += u64::from(lost > 0);
    }

    /// It begins from the start, as one that has just come.
    fn forget(&mut self) {
        (self.places, self.next) = Default::default();
        self.tallied.forgot += 1;
    }

    fn take(&mut self, kept: &Kept, message: Message) {
        let log = message.log;
        self.places[log] = Some(message.place());
        match self.expected(kept, log) {
            Some(expected) => {
                assert_eq!(message, *expected, "{}: a gap, a double, or out of order", self.name);
                self.next[log] = expected.offset as usize + 1;
            }
            None => {
                self.next[log] = kept.log(log).len();
                let before = self.fresh[log].last().map(Message::place);
                assert!(before < self.places[log], "{}: {message:?} after {before:?}", self.name);
                assert!(self.pattern.matches(&message.topic), "{}: {message:?}", self.name);
                self.fresh[log].push(message);
            }
        }
    }

    fn caught_up(&self, kept: &Kept) {
        for log in 0..LOGS.len() {
            assert_eq!(self.expected(kept, log), None, "{} has not caught up", self.name);
        }
    }

    /// After a crash: what it saw must be what is kept, without a gap, and then what was lost.
    pub(super) fn settle(&mut self, kept: &Kept) {
        for log in 0..LOGS.len() {
            let mut numbers = std::collections::BTreeMap::new();
            for seen in std::mem::take(&mut self.fresh[log]) {
                let before = numbers.insert(seen.topic.clone(), seen.number);
                assert!(before < Some(seen.number), "{}: {seen:?} after {before:?}", self.name);
                match self.expected(kept, log) {
                    Some(expected) if *expected == seen => {
                        self.next[log] = seen.offset as usize + 1;
                    }
                    other => {
                        let skipped = other.is_some_and(|kept| kept.epoch == seen.epoch);
                        assert!(!skipped, "{}: {seen:?} came, and {other:?} did not", self.name);
                        assert!(!kept.has(log, seen.place()), "{}: {seen:?}, {other:?}", self.name);
                        self.tallied.lost_messages += 1;
                    }
                }
            }
        }
    }

    /// Reads until the router is dead; cuts its own connection now and then.
    pub(super) async fn follow(
        mut self,
        reach: Reach,
        kept: Arc<Kept>,
        load: Arc<Load>,
        mut dice: Dice,
    ) -> Self {
        if dice.below(8) == 0 {
            self.forget();
        }
        loop {
            let Some((mut stream, answer)) = Stream::open(&self, &reach).await else {
                load.must_be_dead();
                return self;
            };
            self.opened(&kept, &answer);
            let mut left =
                if load.is_last() || dice.below(2) == 0 { u64::MAX } else { 20 + dice.below(1_000) };
            while left > 0 {
                let Some((frame, id)) = stream.next().await else {
                    load.must_be_dead();
                    return self;
                };
                match frame["event"].as_str() {
                    Some("message") => self.take(&kept, Message::delivered(&frame)),
                    Some("caught-up") => {
                        self.caught_up(&kept);
                        load.caught_up(self.name);
                    }
                    _ => panic!("{}: {frame}", self.name),
                }
                if let Some(id) = id {
                    assert_eq!(read_id(&id), places_json(&self.places), "{}: {id}", self.name);
                }
                left -= 1;
            }
        }
    }
}

/// The id of an event, as places.
fn read_id(id: &str) -> Value {
    let mut places = json!({});
    for place in id.split(',') {
        let parts: Vec<&str> = place.split(':').collect();
        let [log, epoch, offset] = parts[..] else { panic!("{id}") };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        places[log] = json!({"epoch": number(epoch), "offset": number(offset)});
    }
    places
}

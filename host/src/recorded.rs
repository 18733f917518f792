//! Messages as they came in, admitted and not yet seen by any plugin, in logs with `record_input`: for trying plugins on
//! what really happens. Nobody but the operator may read them, since no plugin has said who may.
//!
//! Recording never makes a publish fail or wait: where the writer's room for it is taken, the message is left out and
//! counted.

use bytes::Bytes;
use weir_contract::packed::{self, put, tag};
use weir_contract::topic::Pattern;

use crate::message::{Message, Place, Principal, Sender, Stored};
use crate::metrics::{Counter, Metrics};
use crate::store::{Log, ReadPage, Store, StoreError};

/// Records what comes in.
pub struct Recorder {
    store: Store,
    lanes: Vec<Lane>,
}

/// One log of input.
struct Lane {
    log: usize,
    topics: Vec<Pattern>,
    appended: Counter,
    dropped: Counter,
}

impl Recorder {
    /// `topics` of the logs of input, by position in `store.logs()`. None: there is no such log.
    pub fn new(store: &Store, topics: Vec<(usize, Vec<Pattern>)>, metrics: &Metrics) -> Option<Self> {
        let lane = |(at, topics): (usize, Vec<Pattern>)| {
            let name = store.logs().get(at)?.name();
            let (appended, dropped) = (metrics.log(name).appended, metrics.input_dropped(name));
            Some(Lane { log: at, topics, appended, dropped })
        };
        let lanes: Vec<_> = topics.into_iter().filter_map(lane).collect();
        (!lanes.is_empty()).then(|| Self { store: store.clone(), lanes })
    }

    /// Records a message in the first log whose topics match.
    pub fn record(&self, principal: &Principal, message: &Message) {
        let takes = |lane: &&Lane| lane.topics.iter().any(|pattern| pattern.matches(&message.topic));
        let Some(lane) = self.lanes.iter().find(takes) else { return };
        let mut meta = Vec::with_capacity(message.meta.len() + principal.claims.len() + 80);
        meta.extend_from_slice(&message.meta);
        put(&mut meta, tag::SENDER, &Sender::of(principal).encode());
        let recorded = Message { meta: meta.into(), ..message.clone() };
        let taken = self.store.writer().submit(|queue| queue.record_aside(lane.log, recorded));
        match taken {
            Ok(true) => lane.appended.inc(),
            Ok(false) | Err(_) => lane.dropped.inc(),
        };
    }
}

/// A message as it came in.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// As plugins would get it.
    pub message: Message,
    /// Who let its publisher in: [`Sender::principal`] gives the principal.
    pub sender: Sender,
    /// Its place in the log of input.
    pub place: Place,
}

/// A part of what was recorded.
#[derive(Debug, Default)]
pub struct RecordedPage {
    /// In the order in which they came in; may be empty.
    pub messages: Vec<Recorded>,
    /// Messages that are gone, or cannot be read.
    pub lost: u64,
}

/// Reads what was recorded, log after log, up to the newest message at its beginning.
#[derive(Debug)]
pub struct Recording {
    since_us: u64,
    /// With the offset that comes next, and where the log ends; the last one is being read.
    logs: Vec<(Log, u64, u64)>,
}

impl Recording {
    /// What came in at `since_us` (Unix microseconds) or later. Blocks.
    pub fn since(store: &Store, since_us: u64) -> Result<Self, StoreError> {
        let inputs = store.logs().iter().rev().filter(|log| log.is_input());
        let begin = |log: &Log| Ok((log.clone(), first_since(log, since_us)?, log.durable()));
        Ok(Self { since_us, logs: inputs.map(begin).collect::<Result<_, StoreError>>()? })
    }

    /// The next page: messages of topics that are wanted, at most so many, and at most `max_bytes` of them, but one at
    /// least. None: that was all. Blocks.
    pub fn next_page(
        &mut self,
        wanted: &dyn Fn(&str) -> bool,
        max_messages: usize,
        max_bytes: usize,
    ) -> Result<Option<RecordedPage>, StoreError> {
        while let Some((log, next, end)) = self.logs.last_mut() {
            if *next >= *end {
                self.logs.pop();
                continue;
            }
            let page = log.read(*next, wanted, max_messages, max_bytes)?;
            let lost = page.missed.iter().chain(&page.damaged);
            let lost = lost.map(|range| range.end.min(*end).saturating_sub(range.start)).sum();
            *next = page.next;
            let (since_us, end) = (self.since_us, *end);
            let is_asked_for =
                |stored: &Stored| stored.place.offset < end && stored.message.received_us() >= since_us;
            let messages = page.messages.into_iter().filter(is_asked_for).filter_map(recorded).collect();
            return Ok(Some(RecordedPage { messages, lost }));
        }
        Ok(None)
    }
}

/// Messages of several publishers may stand a little out of the order of their times.
const DISORDER_US: u64 = 1_000_000;

/// An offset before which nothing of `since_us` or later stands.
fn first_since(log: &Log, since_us: u64) -> Result<u64, StoreError> {
    let since_us = since_us.saturating_sub(DISORDER_US);
    let (mut low, mut high) = (log.oldest(), log.durable());
    while low < high {
        let middle = low + (high - low) / 2;
        let ReadPage { messages, next, .. } = log.read(middle, &|_| true, 1, 1)?;
        match messages.first() {
            Some(stored) if stored.message.received_us() < since_us => low = stored.place.offset + 1,
            // Whatever cannot be read there is behind what was asked for, or tells of itself when it is read.
            None if next > middle && next < high => low = next,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// None: it was not recorded by a recorder.
fn recorded(stored: Stored) -> Option<Recorded> {
    let Stored { message, place } = stored;
    let sender = Sender::decode(packed::first(&message.meta, tag::SENDER)?)?;
    let mut meta = Vec::with_capacity(message.meta.len());
    for (field, value) in packed::fields(&message.meta).flatten().filter(|(field, _)| *field != tag::SENDER) {
        put(&mut meta, field, value);
    }
    Some(Recorded { message: Message { meta: Bytes::from(meta), ..message }, sender, place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Grant;
    use crate::store::{LogOptions, StoreOptions, SubmitError};

    fn message(bytes: usize) -> Message {
        Message { topic: "a".into(), meta: Bytes::from_static(&[1]), payload: vec![0; bytes].into() }
    }

    fn principal() -> Principal {
        let grant =
            Grant { tenant: "main".into(), name: "ada".into(), origin: "page".into(), ..Grant::default() };
        Principal::new(grant, "open".into(), "http", "S1").unwrap()
    }

    #[test]
    fn recording_takes_no_room_from_messages_and_what_has_none_is_dropped_and_counted() {
        let home = tempfile::tempdir().unwrap();
        let input = LogOptions { is_input: true, ..LogOptions::new("i.input") };
        let logs = vec![LogOptions::new("default"), input];
        // Room for one message.
        let options = StoreOptions { logs, queue_records: 1, ..StoreOptions::default() };
        let store = Store::open(home.path(), options).unwrap();
        let taken = store.writer().submit(|queue| {
            let taken = (0..20).filter(|_| queue.record_aside(1, message(1 << 20))).count();
            queue.record(0, 0, message(1));
            taken
        });
        assert_eq!(taken.unwrap(), 7, "8 MiB wait at most");
        let metrics = Metrics::new();
        let topics = vec![(1, vec![Pattern::parse("#").unwrap()])];
        let recorder = Recorder::new(&store, topics, &metrics).unwrap();
        store.close().unwrap();
        assert!(matches!(store.writer().submit(|_| ()), Err(SubmitError::Closed)));
        recorder.record(&principal(), &message(1));
        assert_eq!(metrics.input_dropped("i.input").get(), 1);
        assert_eq!(metrics.log("i.input").appended.get(), 0);
        assert!(Recorder::new(&store, Vec::new(), &metrics).is_none());
    }

    #[test]
    fn reading_begins_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let input = LogOptions { is_input: true, ..LogOptions::new("i.input") };
        let options = StoreOptions { logs: vec![input], ..StoreOptions::default() };
        let store = Store::open(home.path(), options).unwrap();
        let at = |second: u64| {
            let mut meta = Vec::new();
            packed::put_u64(&mut meta, tag::RECEIVED_US, second * 1_000_000);
            put(&mut meta, tag::SENDER, &Sender::of(&principal()).encode());
            Message { meta: meta.into(), ..message(1) }
        };
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        store
            .writer()
            .submit(|queue| {
                for second in 0..100 {
                    assert!(queue.record_aside(0, at(second)));
                }
                queue.on_durable(Box::new(move |result| drop(done.send(result))));
            })
            .unwrap();
        wait.recv().unwrap().unwrap();
        for since in [0, 1, 50, 98, 99, 100] {
            let mut recording = Recording::since(&store, since * 1_000_000).unwrap();
            let mut found = Vec::new();
            while let Some(page) = recording.next_page(&|_| true, 7, 1 << 20).unwrap() {
                found.extend(page.messages.iter().map(|it| it.message.received_us() / 1_000_000));
            }
            assert_eq!(found, (since..100).collect::<Vec<_>>());
        }
    }
}

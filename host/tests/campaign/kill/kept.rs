//! What the logs hold, message by message: read on after every crash, compared as a whole now and then.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::publish;
use crate::harness::{Client, eventually};

/// The logs, as [`Message::log`] counts them.
pub(super) const LOGS: [&str; 2] = ["fast", "default"];

/// (Epoch, offset).
pub(super) type Place = (u64, u64);

/// A message and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) log: usize,
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) topic: String,
    pub(super) number: u64,
}

impl Message {
    /// Of a delivery, a page of history, or, with its number, the answer to a publish.
    pub(super) fn read(json: &Value, number: &Value) -> Self {
        let read = || {
            Some(Self {
                log: LOGS.iter().position(|log| json["log"] == *log)?,
                epoch: json["epoch"].as_u64()?,
                offset: json["offset"].as_u64()?,
                topic: json["topic"].as_str()?.to_owned(),
                number: number.as_u64()?,
            })
        };
        read().unwrap_or_else(|| panic!("no message of ours: {json}"))
    }

    pub(super) fn delivered(json: &Value) -> Self {
        Self::read(json, &json["data"]["n"])
    }

    pub(super) fn place(&self) -> Place {
        (self.epoch, self.offset)
    }
}

/// What a storage plugin must have counted of a topic.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u64,
    sum: u64,
    last: u64,
}

/// All that the logs hold. Offsets are positions: nothing else is in them, and nothing is ever taken from them.
#[derive(Default)]
pub(super) struct Kept {
    logs: [Vec<Message>; 2],
    totals: BTreeMap<String, Total>,
}

impl Kept {
    pub(super) fn log(&self, log: usize) -> &[Message] {
        &self.logs[log]
    }

    pub(super) fn count(&self) -> usize {
        self.logs.iter().map(Vec::len).sum()
    }

    /// Whether a crash has left the message at this place.
    pub(super) fn has(&self, log: usize, place: Place) -> bool {
        self.logs[log].get(place.1 as usize).is_some_and(|message| message.epoch == place.0)
    }

    /// Reads what has come since the last time.
    pub(super) async fn read_on(&mut self, reader: &mut Client) {
        let last = |log: usize| self.logs[log].last().map(Message::place);
        let since = places_json(&[last(0), last(1)]);
        read(reader, since, |message| self.take(message)).await;
    }

    fn take(&mut self, message: Message) {
        let log = &mut self.logs[message.log];
        let total = self.totals.entry(message.topic.clone()).or_default();
        assert_eq!(message.offset, log.len() as u64, "an offset is missing, or there twice: {message:?}");
        let before = log.last().map_or(0, |before| before.epoch);
        assert!(message.epoch >= before, "epochs grow: {message:?} after {before}");
        assert!(message.number > total.last, "out of order: {message:?} after {total:?}");
        let belongs = publish::log_of(message.number);
        assert_eq!(LOGS[message.log], belongs, "nobody published that: {message:?}");
        total.count += 1;
        total.sum += message.number;
        total.last = message.number;
        log.push(message);
    }

    /// Reads everything: it is what it was.
    pub(super) async fn compare(&self, reader: &mut Client) {
        let mut next = [0; 2];
        read(reader, json!({}), |message| {
            let at = &mut next[message.log];
            assert_eq!(self.logs[message.log].get(*at), Some(&message), "the log has changed");
            *at += 1;
        })
        .await;
        assert_eq!(next, [self.logs[0].len(), self.logs[1].len()], "the log has become shorter");
    }

    /// What was answered as durable is there, at the place that the answer named.
    pub(super) fn check_durable(&self, durable: &[Message]) {
        for message in durable {
            let there = self.logs[message.log].get(message.offset as usize);
            assert_eq!(there, Some(message), "answered as durable, and not there");
        }
    }

    /// A storage plugin has each message of these topics exactly once, in order.
    pub(super) async fn check_storage(&self, reader: &mut Client, plugin: &str, topics: &str) {
        let reader = tokio::sync::Mutex::new(reader);
        for (topic, total) in self.totals.iter().filter(|(topic, _)| topic.starts_with(topics)) {
            let what = format!("{plugin} has {total:?} of {topic}");
            let found = eventually(&what, async || {
                let query = json!({"action": "query", "plugin": plugin, "topic": topic});
                let item = reader.lock().await.ask(query).await["items"][0].clone();
                (item["count"].as_u64()? >= total.count).then_some(item)
            });
            let Total { count, sum, last } = *total;
            let expected = json!({"count": count, "sum": sum, "last": last, "disorder": 0});
            assert_eq!(found.await, expected, "{plugin}, {topic}: neither lost nor doubled");
        }
    }
}

/// All pages of both logs' history behind these places, nothing of which may be missing.
async fn read(reader: &mut Client, since: Value, mut take: impl FnMut(Message)) {
    let mut frame = json!({"action": "history", "topic": "load/#", "limit": 1_000, "since": since});
    loop {
        let page = reader.ask(frame.clone()).await;
        assert_eq!((&page["ok"], &page["recovered"]), (&json!(true), &json!(true)), "{page}");
        page["messages"].as_array().unwrap().iter().for_each(|message| take(Message::delivered(message)));
        if page["more"] == false {
            return;
        }
        frame["since"] = page["next"].clone();
    }
}

/// Places as the protocol writes them.
pub(super) fn places_json(places: &[Option<Place>; 2]) -> Value {
    let known = LOGS.iter().zip(places).filter_map(|(log, place)| {
        let (epoch, offset) = (*place)?;
        Some(((*log).to_owned(), json!({"epoch": epoch, "offset": offset})))
    });
    Value::Object(known.collect())
}

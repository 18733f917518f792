//! `kill -9` at random moments under mixed load, with a checker that knows every publish: nothing that was answered
//! `logged` is missing, nothing is there twice or out of order, whoever resumes has neither gaps nor doubles, a
//! durable consumer gets everything, a storage plugin has counted everything once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Child, Client, Reach, Setup, eventually};
use crate::{Dice, rounds, seed};

const ROUNDS: u32 = 200;
const PUBLISHERS: u64 = 3;
const LOGS: &str = "\
    [[log]]\nname = \"fast\"\ntopics = [\"load/fast/#\"]\n\
    [[log]]\nname = \"default\"\ntopics = [\"#\"]\n";

/// (Epoch, offset).
type Place = (u64, u64);
/// Messages of a log, by place: topic and number.
type Kept = BTreeMap<Place, (String, u64)>;

/// What the publishers know.
#[derive(Default)]
struct Published {
    /// Topic and number of all that was answered `logged` or `stored`.
    durable: BTreeSet<(String, u64)>,
}

fn topic(publisher: u64, number: u64) -> String {
    let log = if number.is_multiple_of(3) { "fast" } else { "slow" };
    format!("load/{log}/{publisher}")
}

fn level(number: u64) -> &'static str {
    match number % 8 {
        0 | 5 => "routed",
        3 => "stored",
        _ => "logged",
    }
}

/// Sends over a WebSocket until the connection breaks.
async fn publish(
    mut client: Client,
    publisher: u64,
    numbers: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
) -> Published {
    let mut published = Published::default();
    let mut sent = BTreeMap::new();
    loop {
        while sent.len() < 32 {
            let number = numbers.fetch_add(1, Ordering::Relaxed);
            let topic = topic(publisher, number);
            let frame = json!({"action": "publish", "id": number, "topic": topic, "data": {"n": number},
                "level": level(number)});
            sent.insert(number, topic);
            if !client.send(&frame).await {
                break;
            }
        }
        let Some(answer) = client.try_next().await else { return published };
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        let number = answer["id"].as_u64().unwrap();
        let topic = sent.remove(&number).expect("an answer to what was sent");
        if answer["level"] != "routed" {
            published.durable.insert((topic, number));
        }
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends over HTTP, one after the other, until nobody answers.
async fn publish_by_http(
    reach: Reach,
    publisher: u64,
    numbers: Arc<AtomicU64>,
    heard: Arc<AtomicU64>,
) -> Published {
    let mut published = Published::default();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let topic = topic(publisher, number);
        let body = json!({"topic": topic, "data": {"n": number}, "level": "logged"}).to_string();
        let path = format!("/v1/publish?client_id=publisher-{publisher}");
        let Ok(answer) = crate::harness::http::try_request(reach.http, "POST", &path, &[], body).await else {
            return published;
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        published.durable.insert((topic, number));
        heard.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads with acknowledgements until the connection breaks; notes what it got before it says so.
async fn consume(mut client: Client) -> BTreeSet<(String, u64)> {
    let frame = json!({"action": "subscribe", "topic": "load/#", "consumer": "billing", "ack_wait_ms": 1_000,
        "since": "start"});
    let answer = client.ask(frame).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let mut got = BTreeSet::new();
    let mut take = |message: &Value| {
        if message["event"] == "message" {
            got.insert((
                message["topic"].as_str().unwrap().to_owned(),
                message["data"]["n"].as_u64().unwrap(),
            ));
        }
    };
    let waiting = client.take_waiting();
    let mut next: std::collections::VecDeque<Value> = waiting.into();
    loop {
        let message = match next.pop_front() {
            Some(message) => message,
            None => match client.try_next().await {
                Some(message) => message,
                None => return got,
            },
        };
        take(&message);
        if message["event"] == "message" {
            let ack = json!({"action": "ack", "consumer": "billing", "log": message["log"],
                "epoch": message["epoch"], "offset": message["offset"]});
            if !client.send(&ack).await {
                return got;
            }
        }
    }
}

/// Load until the process dies.
async fn storm(
    child: Child,
    numbers: &Arc<AtomicU64>,
    dice: &mut Dice,
    got: &mut BTreeSet<(String, u64)>,
) -> Published {
    let heard = Arc::new(AtomicU64::new(0));
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let client = child.reach.client(&format!("publisher-{publisher}")).await;
        publishers.push(tokio::spawn(publish(client, publisher, Arc::clone(numbers), Arc::clone(&heard))));
    }
    let by_http = publish_by_http(child.reach.clone(), PUBLISHERS, Arc::clone(numbers), Arc::clone(&heard));
    publishers.push(tokio::spawn(by_http));
    let consumer = tokio::spawn(consume(child.reach.client("consumer").await));
    let wanted = 20 + dice.below(400);
    eventually("some answers", async || (heard.load(Ordering::Relaxed) >= wanted).then_some(())).await;
    tokio::time::sleep(Duration::from_micros(dice.below(100_000))).await;
    child.kill();
    let mut all = Published::default();
    for publisher in publishers {
        all.durable.extend(publisher.await.unwrap().durable);
    }
    got.extend(consumer.await.unwrap());
    all
}

/// All that the logs hold, and that each publisher's messages are there once and in order.
async fn kept(reader: &mut Client) -> BTreeMap<String, Kept> {
    let mut logs: BTreeMap<String, Kept> = BTreeMap::new();
    for publisher in 0..=PUBLISHERS {
        for log in ["fast", "slow"] {
            let topic = format!("load/{log}/{publisher}");
            let mut last = None;
            for message in reader.history(&topic).await {
                let number = message["data"]["n"].as_u64().unwrap();
                assert!(last < Some(number), "{topic}: {number} comes after {last:?}");
                last = Some(number);
                let log = message["log"].as_str().unwrap().to_owned();
                let place = (message["epoch"].as_u64().unwrap(), message["offset"].as_u64().unwrap());
                let before = logs.entry(log).or_default().insert(place, (topic.clone(), number));
                assert_eq!(before, None, "{place:?} is two messages");
            }
        }
    }
    logs
}

/// The storage plugin has each message of the log exactly once, in order.
async fn check_tally(reader: &mut Client, logs: &BTreeMap<String, Kept>) {
    let mut by_topic: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (topic, number) in logs.values().flat_map(BTreeMap::values) {
        by_topic.entry(topic).or_default().push(*number);
    }
    let reader = tokio::sync::Mutex::new(reader);
    for (topic, numbers) in by_topic {
        let expected = json!({"count": numbers.len(), "sum": numbers.iter().sum::<u64>(), "last": numbers.last(),
            "disorder": 0});
        let what = format!("tally has {} messages of {topic}", numbers.len());
        let found = eventually(&what, async || {
            let query = json!({"action": "query", "plugin": "tally", "topic": topic});
            let count = reader.lock().await.ask(query).await["items"][0].clone();
            (count["count"].as_u64()? >= numbers.len() as u64).then_some(count)
        });
        assert_eq!(found.await, expected, "{topic}: neither lost nor doubled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_kill_9() {
    let Some(rounds) = rounds(ROUNDS) else { return };
    let mut dice = Dice(seed() | 1);
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"load/#\"]\n");
    setup.write_config(LOGS);
    let numbers = Arc::new(AtomicU64::new(1));
    let mut durable = BTreeSet::new();
    let mut got = BTreeSet::new();
    for round in 1..=rounds {
        durable.extend(storm(setup.spawn().await, &numbers, &mut dice, &mut got).await.durable);
        let child = setup.spawn().await;
        let mut reader = child.reach.client("reader").await;
        let logs = kept(&mut reader).await;
        let there: BTreeSet<(String, u64)> = logs.values().flat_map(BTreeMap::values).cloned().collect();
        let missing: Vec<_> = durable.difference(&there).collect();
        assert!(missing.is_empty(), "round {round}: answered as durable and not in the log: {missing:?}");
        check_tally(&mut reader, &logs).await;
        println!("round {round}: {} durable, {} kept, {} consumed", durable.len(), there.len(), got.len());
        child.kill();
    }
    // What the consumer has not had yet comes now.
    let child = setup.spawn().await;
    let mut last = child.reach.client("consumer").await;
    let frame =
        json!({"action": "subscribe", "topic": "load/#", "consumer": "billing", "ack_wait_ms": 1_000});
    assert_eq!(last.ask(frame).await["ok"], true);
    while !durable.is_subset(&got) {
        let message = last.next().await;
        if message["event"] == "message" {
            got.insert((
                message["topic"].as_str().unwrap().to_owned(),
                message["data"]["n"].as_u64().unwrap(),
            ));
            let ack = json!({"action": "ack", "consumer": "billing", "log": message["log"],
                "epoch": message["epoch"], "offset": message["offset"]});
            assert!(last.send(&ack).await);
        }
    }
    child.kill();
}

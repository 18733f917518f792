//! Subscriptions that begin in the past: every message once, in order, over the seam to what is published now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use weir::config::{Config, LogRule};

use crate::harness::{Client, Reach, Router, Setup, within};

const TOPICS: [&str; 4] = ["a/x", "a/y", "b/x", "b/y"];
/// Messages of each topic while readers join.
const EACH: u64 = 1_500;
/// Publishes that wait for their answer.
const OPEN: u64 = 32;

fn rule(name: &str, topics: &[&str]) -> LogRule {
    let topics = topics.iter().map(ToString::to_string).collect();
    LogRule { name: name.to_owned(), topics, ..LogRule::default() }
}

/// Topics below `a` and below `b` have logs of their own, those below `none` have no log.
fn two_logs(config: &mut Config) {
    config.logs = vec![rule("a", &["a/#"]), rule("b", &["b/#"])];
}

/// Publishes 0, 1, 2… to its two topics; `told` hears how far it is.
async fn publish(mut client: Client, topics: &[&str], told: watch::Sender<u64>) {
    let (mut sent, mut answered) = (0, 0);
    let all = EACH * topics.len() as u64;
    while answered < all {
        let burst = (OPEN - (sent - answered)).min(all - sent);
        let frames = (sent..sent + burst).map(|at| {
            let topic = topics[(at % topics.len() as u64) as usize];
            json!({"action": "publish", "id": at, "topic": topic, "data": at / topics.len() as u64})
        });
        assert!(client.send_all(frames).await);
        sent += burst;
        let answer = client.next().await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        answered += 1;
        told.send_replace(answered);
    }
}

/// What a reader has got of each topic.
#[derive(Default)]
struct Got(BTreeMap<String, Vec<u64>>);

impl Got {
    fn take(&mut self, message: &Value) {
        let topic = message["topic"].as_str().expect("a topic").to_owned();
        self.0.entry(topic).or_default().push(message["data"].as_u64().expect("a number"));
    }

    /// Reads until the last message of every topic is there.
    async fn read(&mut self, client: &mut Client, topics: &[&str]) {
        while !topics.iter().all(|topic| self.0.get(*topic).and_then(|all| all.last()) == Some(&(EACH - 1))) {
            let frame = client.next().await;
            match frame["event"].as_str() {
                Some("message") => self.take(&frame),
                Some("caught-up") => {}
                None if frame["ok"] == true => {}
                _ => panic!("{frame}"),
            }
        }
    }

    /// Each number once, in order, from the first one.
    fn check(&self, topics: &[&str], who: &str) {
        assert_eq!(self.0.keys().map(String::as_str).collect::<Vec<_>>(), topics, "{who}");
        for (topic, numbers) in &self.0 {
            let wrong = numbers.iter().zip(0..).position(|(found, expected)| *found != expected);
            let around = wrong.map(|at| &numbers[at.saturating_sub(3)..(at + 3).min(numbers.len())]);
            assert!(wrong.is_none(), "{who}: {topic} at {wrong:?}: {around:?}");
            assert_eq!(numbers.len() as u64, EACH, "{who}: {topic}");
        }
    }
}

/// Joins when so much is published, by several patterns, and reads to the end.
async fn reader(reach: Arc<Reach>, at: u64, mut progress: watch::Receiver<u64>, patterns: &[&str]) {
    let who = format!("reader-{at}-{}", patterns.len());
    progress.wait_for(|published| *published >= at).await.expect("publishers");
    let mut client = reach.client(&who).await;
    let subscribe =
        |pattern: &&str| json!({"action": "subscribe", "id": pattern, "topic": pattern, "since": "start"});
    assert!(client.send_all(patterns.iter().map(subscribe)).await);
    let mut got = Got::default();
    got.read(&mut client, &TOPICS).await;
    for frame in client.drain().await {
        assert_ne!(frame["event"], "message", "{who}: a double at the end: {frame}");
    }
    got.check(&TOPICS, &who);
}

/// Reads for a while, is cut, comes back with the places that it has seen, again and again.
async fn wanderer(reach: Arc<Reach>) {
    let mut got = Got::default();
    let mut places = json!("start");
    let mut rounds = 0;
    while got.0.len() < TOPICS.len() || got.0.values().any(|all| all.last() != Some(&(EACH - 1))) {
        rounds += 1;
        let mut client = reach.client("wanderer").await;
        let answer = client.ask(json!({"action": "subscribe", "topic": "#", "since": places})).await;
        assert_eq!((&answer["ok"], &answer["recovered"]), (&json!(true), &json!(true)), "{answer}");
        let mut left = 97 * rounds;
        while left > 0 && got.0.values().filter(|all| all.last() == Some(&(EACH - 1))).count() < TOPICS.len()
        {
            let frame = client.next().await;
            if frame["event"] == "message" {
                left -= 1;
                got.take(&frame);
                if !places.is_object() {
                    places = json!({});
                }
                places[frame["log"].as_str().expect("a log")] =
                    json!({"epoch": frame["epoch"], "offset": frame["offset"]});
            }
        }
    }
    got.check(&TOPICS, "wanderer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joins_under_load_gets_each_message_once_and_in_order() {
    let router = Setup::open().config(two_logs).start().await;
    let reach = Arc::new(router.reach.clone());
    let (told_a, progress) = watch::channel(0);
    let (told_b, _progress_b) = watch::channel(0);
    let a = tokio::spawn(publish(router.client("a").await, &["a/x", "b/x"], told_a));
    let b = tokio::spawn(publish(router.client("b").await, &["b/y", "a/y"], told_b));
    let mut readers = tokio::task::JoinSet::new();
    readers.spawn(wanderer(Arc::clone(&reach)));
    for at in 0..6 {
        let at = at * EACH * 2 / 6;
        readers.spawn(reader(Arc::clone(&reach), at, progress.clone(), &["#"]));
        readers.spawn(reader(Arc::clone(&reach), at + 101, progress.clone(), &["a/+", "+/x", "#", "b/y"]));
    }
    while let Some(ended) = within("a reader", readers.join_next()).await {
        ended.unwrap();
    }
    a.await.unwrap();
    b.await.unwrap();
    router.stop().await;
}

/// Publishes so many to a topic by HTTP, a thousand in a request; the last is on the disk.
async fn fill(router: &Router, topic: &str, count: usize) {
    for first in (0..count).step_by(1_000) {
        let numbers = first..(first + 1_000).min(count);
        let messages: Vec<_> = numbers.map(|n| json!({"topic": topic, "data": n})).collect();
        let answer =
            router.http("POST", "/v1/publish?client_id=fill", &[], &json!(messages).to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_never_overflows_a_small_queue() {
    const COUNT: usize = 50_000;
    let small = |config: &mut Config| {
        config.limits.queue_messages = 64;
        config.limits.queue_bytes = 16 * 1024;
    };
    let router = Setup::open().config(small).start().await;
    fill(&router, "long", COUNT).await;
    let mut reader = router.client("reader").await;
    let answer = reader.ask(json!({"action": "subscribe", "topic": "long", "since": "start"})).await;
    assert_eq!((&answer["new"], &answer["recovered"]), (&json!(true), &json!(true)), "{answer}");
    for n in 0..COUNT {
        assert_eq!(reader.message().await["data"], n);
    }
    assert_eq!(reader.event("caught-up").await["topic"], "long");
    router.client("writer").await.publish("long", json!("live")).await;
    assert_eq!(reader.message().await["data"], "live");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_ends_with_its_subscription() {
    let router = Setup::open().start().await;
    fill(&router, "long", 20_000).await;
    let mut reader = router.client("reader").await;
    let subscribe = json!({"action": "subscribe", "topic": "long", "since": "start"});
    assert_eq!(reader.ask(subscribe.clone()).await["ok"], true);
    reader.message().await;
    let gone = reader.ask(json!({"action": "unsubscribe", "topic": "long"})).await;
    assert_eq!(gone["removed"], true, "{gone}");
    let before = reader.drain().await.len();
    assert!(before < 19_000, "it went on: {before}");
    assert!(reader.drain().await.is_empty());
    // Another one on the same connection has its turn, and the same pattern may be replayed again.
    assert_eq!(reader.ask(subscribe.clone()).await["new"], true);
    let again = reader.ask(subscribe).await;
    assert_eq!(again["new"], false, "{again}");
    let mut frames = reader.take_waiting();
    while frames.last().is_none_or(|frame| frame["event"] != "caught-up") {
        frames.push(reader.next().await);
    }
    let numbers: Vec<u64> = frames.iter().filter_map(|frame| frame["data"].as_u64()).collect();
    let second = numbers.iter().rposition(|n| *n == 0).unwrap();
    assert_eq!(numbers[second..], (0..20_000).collect::<Vec<_>>());
    assert!(numbers[..second].iter().zip(0..).all(|(found, expected)| *found == expected));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_replay_comes_behind_the_answer_that_begins_another() {
    const COUNT: u64 = 5_000;
    let router = Setup::open().start().await;
    fill(&router, "long", COUNT as usize).await;
    let mut reader = router.client("reader").await;
    let mut since = json!("start");
    let mut next = 0;
    for round in 0..50 {
        let subscribe = json!({"action": "subscribe", "topic": "long", "since": since});
        let answer = reader.ask(subscribe).await;
        assert_eq!(answer["ok"], true, "{answer}");
        // What came before the answer belongs to the replay before.
        reader.take_waiting();
        for _ in 0..5 {
            let message = reader.message().await;
            assert_eq!(message["data"], next, "round {round}");
            next += 1;
            since = json!({"default": {"epoch": message["epoch"], "offset": message["offset"]}});
        }
        if round % 2 == 0 {
            let gone = reader.ask(json!({"action": "unsubscribe", "topic": "long"})).await;
            assert_eq!(gone["removed"], true, "{gone}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_withdrawn_ends_the_replay() {
    let router = Setup::new().binding("api-key", crate::harness::API_KEY).start().await;
    let (writes, _) = router.key("writer", &["#"], &["#"], "").await;
    let (reads, id) = router.key("reader", &[], &["long"], "").await;
    let mut writer = router.keyed(&writes).await;
    for n in 0..2_000 {
        writer.publish("long", json!({"n": n, "fill": "x".repeat(1_000)})).await;
    }
    let mut reader = router.keyed(&reads).await;
    assert_eq!(
        reader.ask(json!({"action": "subscribe", "topic": "long", "since": "start"})).await["ok"],
        true
    );
    let answer = router.admin("DELETE", &format!("/v1/keys/{id}"), "").await;
    assert_eq!(answer.status / 100, 2, "{answer:?}");
    assert_eq!(reader.closed().await.0, 1008);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_say_where_deliveries_begin() {
    let router = Setup::open().config(two_logs).start().await;
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    let answer = reader.ask(json!({"action": "subscribe", "topic": "#"})).await;
    assert_eq!(answer["places"], json!({}), "nothing was ever published: {answer}");
    let a = writer.publish("a/x", json!(1)).await["messages"][0].clone();
    let b = writer.publish("b/x", json!(2)).await["messages"][0].clone();
    let place = |message: &Value| json!({"epoch": message["epoch"], "offset": message["offset"]});
    let both = json!({"a": place(&a), "b": place(&b)});
    for (pattern, places) in [("+/x", both.clone()), ("a/x", json!({"a": place(&a)})), ("none/x", json!({}))]
    {
        let answer = reader.ask(json!({"action": "subscribe", "topic": pattern})).await;
        assert_eq!(answer["places"], places, "{answer}");
        assert!(answer.get("recovered").is_none(), "{answer}");
    }
    reader.drain().await;
    // A log that is not named is read from its beginning.
    let mut late = router.client("late").await;
    let answer = late.ask(json!({"action": "subscribe", "topic": "+/x", "since": {"a": place(&a)}})).await;
    assert_eq!(
        (&answer["recovered"], &answer["places"]),
        (&json!(true), &json!({"a": place(&a)})),
        "{answer}"
    );
    assert_eq!(late.message().await["data"], 2);
    assert_eq!(late.event("caught-up").await["topic"], "+/x");
    // A place that there never was.
    let mut lost = router.client("lost").await;
    let beyond = json!({"a": {"epoch": a["epoch"], "offset": 1_000_000}, "b": place(&b)});
    let answer = lost.ask(json!({"action": "subscribe", "topic": "+/x", "since": beyond})).await;
    assert_eq!(
        (&answer["recovered"], &answer["oldest"]),
        (&json!(false), &json!({"a": place(&a)})),
        "{answer}"
    );
    assert_eq!(lost.message().await["data"], 1);
    lost.event("caught-up").await;
    // What has no log is live at once.
    writer.publish("none/x", json!(3)).await;
    assert_eq!(lost.message().await["data"], 3);
    for (since, reason) in [
        (json!({"c": {"epoch": 1, "offset": 1}}), "no log is named \"c\": there are a, b"),
        (
            json!("yesterday"),
            "`since` must be \"now\", \"start\" or an object like {\"LOG\":{\"epoch\":1,\"offset\":7}}, each log once",
        ),
    ] {
        let answer = lost.ask(json!({"action": "subscribe", "topic": "a/#", "since": since})).await;
        assert_eq!((&answer["outcome"], &answer["reason"]), (&json!("invalid"), &json!(reason)), "{answer}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_after_kill_9_misses_nothing_or_is_told_so() {
    let setup = Setup::open();
    let child = setup.spawn().await;
    let (mut writer, mut reader) = (child.reach.client("writer").await, child.reach.client("reader").await);
    reader.subscribe("a").await;
    for n in 0..20 {
        writer.publish_at("logged", "a", json!(n)).await;
    }
    let mut seen = Value::Null;
    for n in 0..10 {
        seen = reader.message().await;
        assert_eq!(seen["data"], n);
    }
    for n in 20..60 {
        writer.publish("a", json!(n)).await;
    }
    let mut last = Value::Null;
    for n in 10..60 {
        last = reader.message().await;
        assert_eq!(last["data"], n);
    }
    child.kill();
    let child = setup.spawn().await;
    let resume = async |seen: &Value| {
        let mut reader = child.reach.client("reader").await;
        let since = json!({"default": {"epoch": seen["epoch"], "offset": seen["offset"]}});
        let answer = reader.ask(json!({"action": "subscribe", "topic": "a", "since": since})).await;
        let mut numbers = Vec::new();
        loop {
            let frame = reader.next().await;
            match frame["event"].as_str() {
                Some("message") => numbers.push(frame["data"].as_u64().unwrap()),
                _ => {
                    assert_eq!(frame["event"], "caught-up", "{frame}");
                    return (answer, numbers);
                }
            }
        }
    };
    let (answer, numbers) = resume(&seen).await;
    assert_eq!(answer["recovered"], true, "{answer}");
    assert!(numbers.len() >= 10, "what was answered `logged` is there: {numbers:?}");
    assert!(numbers.iter().zip(10..).all(|(found, expected)| *found == expected), "{numbers:?}");
    // Whether the last one was on the disk is chance; what is said about it is not.
    let survived = numbers.last() == Some(&59);
    let (answer, numbers) = resume(&last).await;
    assert_eq!(answer["recovered"], survived, "{answer}");
    assert!(numbers.is_empty(), "it has seen all of them: {numbers:?} {answer}");
    writer = child.reach.client("writer").await;
    writer.publish_at("logged", "a", json!(60)).await;
    assert_eq!(resume(&last).await.1, [60], "and goes on with what is new");
    child.kill();
}

//! Durable consumers: what they were given and have not acknowledged comes again, whatever happens in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use weir::config::LogRule;

use crate::harness::{API_KEY, Client, OPEN, Reach, Setup, eventually, weir};

/// Longer than any machine takes for a test: nothing comes again because it was slow.
const LONG: u64 = 3_600_000;

/// Begins to read; must be let.
async fn consume(client: &mut Client, frame: Value) -> Value {
    let answer = client.ask(frame).await;
    assert_eq!(answer["ok"], true, "{answer}");
    answer
}

async fn consumer(client: &mut Client, name: &str, topic: &str) -> Value {
    consume(client, json!({"action": "subscribe", "consumer": name, "topic": topic, "ack_wait_ms": LONG}))
        .await
}

fn ack_of(message: &Value) -> Value {
    let key = if message.get("group").is_some() { "group" } else { "consumer" };
    json!({"action": "ack", key: message[key], "log": message["log"], "epoch": message["epoch"],
        "offset": message["offset"]})
}

/// Acknowledges, and waits until that is on the disk.
async fn ack(client: &mut Client, message: &Value) -> u64 {
    let answer = client.ask(ack_of(message)).await;
    assert_eq!(answer["ok"], true, "{answer}");
    answer["acked"].as_u64().unwrap()
}

fn number(message: &Value) -> u64 {
    message["data"].as_u64().unwrap_or_else(|| panic!("{message}"))
}

async fn publish(client: &mut Client, topic: &str, numbers: std::ops::Range<u64>) {
    let frame = |n| json!({"action": "publish", "topic": topic, "data": n});
    assert!(client.send_all(numbers.clone().take(numbers.clone().count() - 1).map(frame)).await);
    let last = client.publish_at("logged", topic, json!(numbers.end - 1)).await;
    assert_eq!(last["level"], "logged", "{last}");
}

/// The next deliveries, as (number, how often delivered).
async fn next(client: &mut Client, count: usize) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let message = client.message().await;
        all.push((number(&message), message["delivery"].as_u64().unwrap()));
    }
    all
}

async fn listed(router: &Reach, name: &str) -> Value {
    let answer = router.admin("GET", "/v1/consumers", "").await;
    let all = answer.json["consumers"].as_array().cloned().unwrap_or_else(|| panic!("{answer:?}"));
    all.into_iter().find(|consumer| consumer["name"] == name).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_comes_again_before_what_is_new() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    publish(&mut writer, "orders/1", 100..105).await;
    let mut reader = router.client("reader").await;
    let answer = consumer(&mut reader, "billing", "orders/+").await;
    assert_eq!(
        (&answer["topic"], &answer["consumer"], &answer["new"]),
        (&json!("orders/+"), &json!("billing"), &json!(true)),
        "{answer}"
    );
    publish(&mut writer, "orders/1", 0..10).await;
    publish(&mut writer, "elsewhere", 0..1).await;
    let mut first = Vec::new();
    for n in 0..10 {
        let message = reader.message().await;
        let seen = (number(&message), &message["delivery"], &message["consumer"], &message["topic"]);
        assert_eq!(seen, (n, &json!(1), &json!("billing"), &json!("orders/1")), "{message}");
        first.push(message);
    }
    for message in first.iter().step_by(2) {
        assert_eq!(ack(&mut reader, message).await, 1);
    }
    assert_eq!(ack(&mut reader, &first[0]).await, 0, "it was acknowledged before");
    drop(reader);
    publish(&mut writer, "orders/2", 10..13).await;
    let mut reader = router.client("reader").await;
    assert_eq!(consumer(&mut reader, "billing", "orders/+").await["new"], false);
    let expected = [(1, 2), (3, 2), (5, 2), (7, 2), (9, 2), (10, 1), (11, 1), (12, 1)];
    assert_eq!(next(&mut reader, 8).await, expected);
    // The same connection once more: nothing changes.
    assert_eq!(consumer(&mut reader, "billing", "orders/+").await["new"], false);
    // Another principal has a "billing" of its own.
    let mut other = router.client("other").await;
    let of_start = json!({"action": "subscribe", "consumer": "billing", "topic": "#", "since": "start", "ack_wait_ms": LONG});
    assert_eq!(consume(&mut other, of_start).await["new"], true);
    assert_eq!(next(&mut other, 5).await, [(100, 1), (101, 1), (102, 1), (103, 1), (104, 1)]);
    let folders = router.stop().await;
    // A restart keeps all of it, and how often each was delivered.
    let router = Setup::over(&folders).start().await;
    let mut reader = router.client("reader").await;
    assert_eq!(consumer(&mut reader, "billing", "orders/+").await["new"], false);
    let again = expected.map(|(n, deliveries)| (n, deliveries + 1));
    assert_eq!(next(&mut reader, 8).await, again);
    assert!(reader.drain().await.is_empty(), "nothing else comes");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ack_wait_over_it_comes_again_until_it_is_acknowledged() {
    let router = Setup::open().start().await;
    let mut reader = router.client("reader").await;
    let hasty = json!({"action": "subscribe", "consumer": "c", "topic": "t", "ack_wait_ms": 100});
    consume(&mut reader, hasty).await;
    publish(&mut router.client("writer").await, "t", 0..1).await;
    for delivery in 1..=3 {
        assert_eq!(next(&mut reader, 1).await, [(0, delivery)]);
    }
    // With patience again, and acknowledged: then it is done with.
    let patient = json!({"action": "subscribe", "consumer": "c", "topic": "t", "ack_wait_ms": LONG});
    consume(&mut reader, patient).await;
    let message = reader.message().await;
    assert_eq!(ack(&mut reader, &message).await, 1);
    reader.drain().await;
    publish(&mut router.client("writer").await, "t", 1..2).await;
    assert_eq!(next(&mut reader, 1).await, [(1, 1)]);
    let shown = listed(&router, "c").await;
    assert!(shown["redelivered"].as_u64().unwrap() >= 3 && shown["in_flight"] == 1, "{shown}");
    assert!(router.metric("weir_durable_redelivered_total").await >= 3.0);
    assert_eq!(router.metric("weir_durable_acked_total").await, 1.0);
    assert_eq!(router.metric("weir_durable_readers").await, 1.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_than_max_in_flight_wait_for_their_acknowledgement() {
    let router = Setup::open().start().await;
    let mut reader = router.client("reader").await;
    let narrow = json!({"action": "subscribe", "consumer": "c", "topic": "t", "max_in_flight": 3, "ack_wait_ms": LONG});
    consume(&mut reader, narrow).await;
    let mut writer = router.client("writer").await;
    publish(&mut writer, "t", 0..12).await;
    let mut held: Vec<Value> = Vec::new();
    for _ in 0..3 {
        held.push(reader.message().await);
    }
    for n in 3..6 {
        assert_eq!(listed(&router, "c").await["in_flight"], 3);
        assert_eq!(reader.drain().await, [] as [Value; 0], "{n}");
        // The last one first: each acknowledgement makes room for one.
        assert_eq!(ack(&mut reader, &held.pop().unwrap()).await, 1);
        held.push(reader.message().await);
        assert_eq!(number(held.last().unwrap()), n);
    }
    // Everything up to the last, then a list.
    let mut all = ack_of(held.last().unwrap());
    all["up_to"] = json!(true);
    assert_eq!(reader.ask(all).await["acked"], 3);
    let three = [reader.message().await, reader.message().await, reader.message().await];
    assert_eq!(three.each_ref().map(number), [6, 7, 8]);
    let mut list = ack_of(&three[0]);
    let offsets: Vec<_> = three.iter().map(|message| message["offset"].clone()).collect();
    list.as_object_mut().unwrap().remove("offset");
    list["offsets"] = json!(offsets);
    assert_eq!(reader.ask(list).await["acked"], 3);
    assert_eq!(next(&mut reader, 3).await, [(9, 1), (10, 1), (11, 1)]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_connection_takes_over() {
    let router = Setup::open().start().await;
    let (mut one, mut two) = (router.client("same").await, router.client("same").await);
    consumer(&mut one, "c", "t").await;
    let mut writer = router.client("writer").await;
    publish(&mut writer, "t", 0..2).await;
    assert_eq!(next(&mut one, 2).await, [(0, 1), (1, 1)]);
    consumer(&mut two, "c", "t").await;
    let ended = one.event("unsubscribed").await;
    let expected = json!({"event": "unsubscribed", "topic": "t", "consumer": "c",
        "reason": "taken over by another connection"});
    assert_eq!(ended, expected);
    assert_eq!(next(&mut two, 2).await, [(0, 2), (1, 2)]);
    publish(&mut writer, "t", 2..3).await;
    assert_eq!(next(&mut two, 1).await, [(2, 1)]);
    assert!(one.drain().await.is_empty());
    // Ended on request, and deleted on request.
    let leave = json!({"action": "unsubscribe", "consumer": "c"});
    let left = two.ask(leave.clone()).await;
    assert_eq!((&left["ok"], &left["consumer"], &left["removed"]), (&json!(true), &json!("c"), &json!(true)));
    assert_eq!(two.ask(leave).await["removed"], false);
    let delete = json!({"action": "unsubscribe", "consumer": "c", "delete": true});
    assert_eq!(two.ask(delete.clone()).await["removed"], true);
    assert_eq!(two.ask(delete).await["removed"], false);
    assert!(listed(&router, "c").await.is_null());
    assert_eq!(consumer(&mut two, "c", "t").await["new"], true);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_without_doubles_and_a_member_that_dies_loses_nothing() {
    const MESSAGES: u64 = 300;
    let router = Setup::open().start().await;
    let join = json!({"action": "subscribe", "group": "g", "topic": "work/#", "ack_wait_ms": LONG});
    let mut mortal = router.client("mortal").await;
    let answer = consume(&mut mortal, join.clone()).await;
    assert_eq!((&answer["group"], &answer["new"]), (&json!("g"), &json!(true)), "{answer}");
    let (seen, mut all) = tokio::sync::mpsc::channel(MESSAGES as usize * 2);
    let mut members = Vec::new();
    for name in 0..3 {
        let mut member = router.client(&format!("member-{name}")).await;
        assert_eq!(consume(&mut member, join.clone()).await["new"], false);
        let seen = seen.clone();
        members.push(tokio::spawn(async move {
            while let Some(message) = member.try_next().await {
                assert_eq!(message["group"], "g", "{message}");
                assert!(member.send(&ack_of(&message)).await);
                seen.send((number(&message), message["delivery"].as_u64().unwrap())).await.unwrap();
            }
        }));
    }
    assert_eq!(listed(&router, "g").await["members"].as_array().unwrap().len(), 4);
    publish(&mut router.client("writer").await, "work/1", 0..MESSAGES).await;
    // One member takes what it gets, acknowledges nothing, and dies.
    let mut taken = BTreeSet::new();
    taken.insert(number(&mortal.message().await));
    let mut got = BTreeMap::new();
    while got.len() + taken.len() < MESSAGES as usize {
        let before = taken.len();
        taken.extend(mortal.drain().await.iter().map(number));
        while let Ok((n, delivery)) = all.try_recv() {
            assert_eq!((delivery, got.insert(n, delivery)), (1, None), "{n} came twice");
        }
        if taken.len() == before {
            tokio::time::sleep(crate::harness::LOOK).await;
        }
    }
    assert!(taken.iter().all(|n| !got.contains_key(n)), "one message, one member");
    drop(mortal);
    for _ in 0..taken.len() {
        let (n, delivery) = all.recv().await.unwrap();
        assert!(taken.remove(&n) && delivery == 2, "{n} was not its");
    }
    eventually("all is acknowledged", async || (listed(&router, "g").await["in_flight"] == 0).then_some(()))
        .await;
    // Who is no member has no say.
    let mut stranger = router.client("stranger").await;
    let ack = json!({"action": "ack", "group": "g", "log": "default", "epoch": 1, "offset": 0});
    assert_eq!(stranger.ask(ack).await["outcome"], "invalid");
    let delete = json!({"action": "unsubscribe", "group": "g", "delete": true});
    assert_eq!(stranger.ask(delete).await["outcome"], "invalid");
    router.stop().await;
    for member in members {
        member.await.unwrap();
    }
}

/// Numbers without a source of chance, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_takes_back_no_acknowledgement_that_was_answered() {
    const BURST: u64 = 200;
    let setup = Setup::open();
    let (mut dice, mut published) = (Dice(7), 0);
    // What was answered, and what was sent at all.
    let (mut acked, mut sent) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..4_usize {
        let child = setup.spawn().await;
        let mut reader = child.reach.client("reader").await;
        let frame = json!({"action": "subscribe", "consumer": "c", "topic": "t", "max_in_flight": 1_000, "ack_wait_ms": LONG});
        assert_eq!(consume(&mut reader, frame).await["new"], round == 0);
        publish(&mut child.reach.client("writer").await, "t", published..published + BURST).await;
        published += BURST;
        let mut missing: BTreeSet<u64> = (0..published).filter(|n| !sent.contains(n)).collect();
        let (mut last, mut open) = (None, BTreeMap::new());
        // What is new comes last, and with it everything before has come.
        while last != Some(published - 1) {
            let frame = reader.next().await;
            if frame["event"] != "message" {
                assert_eq!(frame["ok"], true, "{frame}");
                acked.insert(open.remove(&frame["id"].as_u64().unwrap()).unwrap());
                continue;
            }
            let n = number(&frame);
            assert!(!acked.contains(&n), "round {round}: {n} was acknowledged, and comes again");
            missing.remove(&n);
            last = Some(n);
            let mut ack = ack_of(&frame);
            match dice.roll(3) {
                0 => continue,
                1 => {
                    ack["id"] = json!(n);
                    open.insert(n, n);
                }
                _ => {}
            }
            sent.insert(n);
            assert!(reader.send(&ack).await);
        }
        assert!(missing.is_empty(), "round {round}: neither acknowledged nor delivered again: {missing:?}");
        // Some answers each round, and some are on their way when it dies.
        let enough = acked.len().max(25 * round) + usize::try_from(dice.roll(25)).unwrap();
        while acked.len() < enough && !open.is_empty() {
            let answer = reader.next().await;
            if let Some(n) = answer["id"].as_u64() {
                acked.insert(open.remove(&n).unwrap());
            }
        }
        child.kill();
    }
    assert!(acked.len() >= 75, "{} were answered", acked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_before_a_crash_can_be_acknowledged_after_it() {
    let setup = Setup::open();
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    consumer(&mut reader, "c", "t").await;
    publish(&mut child.reach.client("writer").await, "t", 0..20).await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.push(reader.message().await);
    }
    child.kill();
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    // Before it reads again: whether the router knows that these were delivered is chance.
    for message in seen.iter().skip(1) {
        assert_eq!(ack(&mut reader, message).await, 1);
    }
    consumer(&mut reader, "c", "t").await;
    publish(&mut child.reach.client("writer").await, "t", 20..21).await;
    let came: Vec<u64> = next(&mut reader, 2).await.into_iter().map(|(n, _)| n).collect();
    assert_eq!(came, [0, 20]);
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_reader_it_expires_and_with_one_it_stays() {
    let router = Setup::open().start().await;
    let mut reader = router.client("reader").await;
    let brief =
        |name| json!({"action": "subscribe", "consumer": name, "topic": "t", "expires_after_ms": 1_000});
    consume(&mut reader, brief("stays")).await;
    consume(&mut reader, brief("goes")).await;
    assert_eq!(reader.ask(json!({"action": "unsubscribe", "consumer": "goes"})).await["removed"], true);
    eventually("it is deleted", async || listed(&router, "goes").await.is_null().then_some(())).await;
    let stays = listed(&router, "stays").await;
    assert_eq!((&stays["idle_since_us"], stays["members"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(consume(&mut reader, brief("goes")).await["new"], true);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_messages_are_passed_over() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    let brief = json!({"action": "publish", "topic": "t", "data": 1, "expires_in_ms": 1, "level": "logged"});
    assert_eq!(writer.ask(brief).await["level"], "logged");
    publish(&mut writer, "t", 2..3).await;
    // For time itself there is nothing else to wait for.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut reader = router.client("reader").await;
    let start =
        json!({"action": "subscribe", "consumer": "c", "topic": "t", "since": "start", "ack_wait_ms": LONG});
    consume(&mut reader, start).await;
    assert_eq!(next(&mut reader, 1).await, [(2, 1)]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_in_flight_does_not_come_again() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    let mut reader = router.client("reader").await;
    consumer(&mut reader, "c", "t").await;
    let brief = json!({"action": "publish", "topic": "t", "data": 1, "expires_in_ms": 250});
    assert_eq!(writer.ask(brief).await["outcome"], "accepted");
    publish(&mut writer, "t", 2..3).await;
    // On a busy machine the first one may be too late already.
    while number(&reader.message().await) != 2 {}
    tokio::time::sleep(Duration::from_millis(250)).await;
    drop(reader);
    let mut reader = router.client("reader").await;
    consumer(&mut reader, "c", "t").await;
    let again = reader.message().await;
    assert_eq!((number(&again), &again["delivery"]), (2, &json!(2)));
    assert_eq!(ack(&mut reader, &again).await, 1);
    let settled = async || (listed(&router, "c").await["in_flight"] == 0).then_some(());
    eventually("nothing is in flight", settled).await;
    assert!(reader.drain().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_makes_it_wait_and_cuts_nobody_off() {
    let router = Setup::open().config(|config| config.limits.queue_messages = 16).start().await;
    let mut writer = router.client("writer").await;
    publish(&mut writer, "t", 0..2_000).await;
    let mut reader = router.client("reader").await;
    let wide = json!({"action": "subscribe", "consumer": "c", "topic": "t", "since": "start", "max_in_flight": 10_000, "ack_wait_ms": LONG});
    consume(&mut reader, wide).await;
    for n in 0..2_000 {
        assert_eq!(number(&reader.message().await), n);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_logs_each_in_its_order() {
    let rule =
        |name: &str| LogRule { name: name.into(), topics: vec![format!("{name}/#")], ..LogRule::default() };
    let setup = Setup::open().config(|config| config.logs = vec![rule("a"), rule("b")]);
    let router = setup.start().await;
    let mut writer = router.client("writer").await;
    publish(&mut writer, "a/1", 0..5).await;
    publish(&mut writer, "b/1", 0..5).await;
    let mut reader = router.client("reader").await;
    // Behind the third of one log, and all of the other.
    let asked = json!({"action": "history", "log": "a", "topic": "a/#"});
    let page = reader.ask(asked).await["messages"].clone();
    let place = json!({"epoch": page[2]["epoch"], "offset": page[2]["offset"]});
    let frame = json!({"action": "subscribe", "consumer": "c", "topic": "#", "since": {"a": place}, "ack_wait_ms": LONG});
    consume(&mut reader, frame).await;
    let mut came: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for _ in 0..7 {
        let message = reader.message().await;
        came.entry(message["log"].as_str().unwrap().to_owned()).or_default().push(number(&message));
        assert_eq!(ack(&mut reader, &message).await, 1);
    }
    assert_eq!(came, BTreeMap::from([("a".into(), vec![3, 4]), ("b".into(), vec![0, 1, 2, 3, 4])]));
    let refused = consume_refused(&mut reader, json!({"consumer": "d", "topic": "c/#"})).await;
    assert!(refused.contains("no log keeps topics of \"c/#\""), "{refused}");
    router.stop().await;
}

async fn consume_refused(client: &mut Client, mut frame: Value) -> String {
    frame["action"] = json!("subscribe");
    let answer = client.ask(frame).await;
    assert_eq!((&answer["ok"], &answer["outcome"]), (&json!(false), &json!("invalid")), "{answer}");
    answer["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_told() {
    let setup = Setup::open().config(|config| {
        config.limits.consumers_per_principal = 2;
        config.limits.consumers = 3;
        config.limits.subscriptions_per_session = 3;
    });
    let router = setup.start().await;
    let (mut a, mut b) = (router.client("a").await, router.client("b").await);
    consumer(&mut a, "1", "t").await;
    consume(&mut a, json!({"action": "subscribe", "group": "2", "topic": "t"})).await;
    let refused = consume_refused(&mut a, json!({"consumer": "3", "topic": "t"})).await;
    assert!(refused.contains("at most 2 are accepted"), "{refused}");
    consumer(&mut b, "3", "t").await;
    let refused = consume_refused(&mut b, json!({"consumer": "4", "topic": "t"})).await;
    assert!(refused.contains("has 3 consumers"), "{refused}");
    for (kind, key) in [("consumer", "presence"), ("group", "presence"), ("consumer", "group")] {
        let mut frame = json!({"topic": "t"});
        (frame[kind], frame[key]) = (json!("5"), json!(true));
        let refused = consume_refused(&mut a, frame).await;
        assert!(refused.contains(&format!("`{key}`")), "{refused}");
    }
    a.subscribe("x").await;
    let refused = consume_refused(&mut a, json!({"consumer": "1", "topic": "t"})).await;
    assert!(refused.contains("3 subscriptions are held"), "{refused}");
    assert!(b.ask(json!({"action": "unsubscribe", "consumer": "3", "delete": true})).await["ok"] == true);
    for name in ["", "a b", "ä", &"x".repeat(65)] {
        let refused = consume_refused(&mut b, json!({"consumer": name, "topic": "t"})).await;
        assert!(refused.contains("1 to 64 of A-Z a-z 0-9 _ . -"), "{refused}");
    }
    consumer(&mut b, &"x".repeat(64), "t").await;
    let other = consume_refused(&mut b, json!({"consumer": "x".repeat(64), "topic": "t/#"})).await;
    assert!(other.contains("reads \"t\""), "{other}");
    let published = b.publish_at("logged", "t", json!(1)).await["messages"][0].clone();
    let message = b.message().await;
    for (key, value, wrong) in [
        ("consumer", json!("y"), "no consumer of yours is named"),
        ("log", json!("y"), "it reads default"),
        ("offset", json!(published["offset"].as_u64().unwrap() + 1), "has no message"),
        ("epoch", json!(7), "has no message"),
    ] {
        let mut ack = ack_of(&message);
        ack[key] = value;
        let answer = b.ask(ack).await;
        assert_eq!(answer["outcome"], "invalid", "{answer}");
        assert!(answer["reason"].as_str().unwrap().contains(wrong), "{answer}");
    }
    let mut many = ack_of(&message);
    many.as_object_mut().unwrap().remove("offset");
    many["offsets"] = json!(vec![0; 10_001]);
    assert!(b.ask(many).await["reason"].as_str().unwrap().contains("1 to 10000"));
    // Without an id only what is wrong is told.
    assert!(b.send(&ack_of(&message)).await);
    assert!(
        b.send(&json!({"action": "ack", "consumer": "y", "log": "default", "epoch": 1, "offset": 0})).await
    );
    assert_eq!(b.event("error").await["outcome"], "invalid");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_is_dismissed_with_its_right() {
    let router = Setup::new().binding("door", OPEN).start().await;
    let mut reader = router.client("a").await;
    consumer(&mut reader, "c", "a/+").await;
    // From now on the door knows only keys, and this client has shown none.
    router.folders.write("door.toml", API_KEY);
    let ended = reader.event("unsubscribed").await;
    assert_eq!((&ended["topic"], &ended["consumer"]), (&json!("a/+"), &json!("c")), "{ended}");
    assert_eq!(listed(&router, "c").await["members"], json!([]));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_allowed_can_be_read_and_a_revoked_key_reads_no_more() {
    let router = Setup::keyed().start().await;
    let (key, id) = router.key("narrow", &["#"], &["mine/#"], "").await;
    let mut reader = router.keyed(&key).await;
    let denied = reader.ask(json!({"action": "subscribe", "consumer": "c", "topic": "theirs"})).await;
    assert_eq!(denied["outcome"], "denied", "{denied}");
    assert!(listed(&router, "c").await.is_null(), "nothing was made");
    consumer(&mut reader, "c", "mine/#").await;
    router.admin("DELETE", &format!("/v1/keys/{id}"), "").await;
    assert_eq!(reader.closed().await.0, 1008);
    eventually("nobody reads", async || (listed(&router, "c").await["members"] == json!([])).then_some(()))
        .await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_list_reset_and_delete() {
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"t\"]\n");
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    consumer(&mut reader, "c", "t").await;
    publish(&mut child.reach.client("writer").await, "t", 0..5).await;
    let mut last = Value::Null;
    for _ in 0..5 {
        last = reader.message().await;
    }
    let mut all = ack_of(&last);
    all["up_to"] = json!(true);
    assert_eq!(reader.ask(all).await["acked"], 5);
    let run = async |args: &[&str]| {
        let mut command = weir();
        command.args(args).arg("--admin").arg(child.reach.admin.to_string());
        command.arg("--data").arg(setup.folders.data());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (_, json, _) = run(&["consumer", "list", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let mine = json["consumers"].as_array().unwrap().iter().find(|one| one["name"] == "c").unwrap().clone();
    assert_eq!(
        (&mine["kind"], &mine["owner"], &mine["logs"][0]["lag"]),
        (&json!("consumer"), &json!("reader"), &json!(0))
    );
    let id = mine["id"].as_str().unwrap().to_owned();
    let (ok, table, _) = run(&["consumer", "list"]).await;
    assert!(ok && table.starts_with("ID") && table.contains(&id), "{table}");
    assert!(table.lines().any(|line| line.contains("storage") && line.contains("tally")), "{table}");
    let (ok, said, failed) = run(&["consumer", "reset", &id, "--to", "start"]).await;
    assert!(ok, "{said} {failed}");
    assert_eq!(next(&mut reader, 5).await, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]);
    let place = format!("default:{}:{}", last["epoch"], last["offset"].as_u64().unwrap() - 1);
    assert!(run(&["consumer", "reset", &id, "--to", &place]).await.0);
    assert_eq!(next(&mut reader, 1).await, [(4, 1)]);
    assert!(run(&["consumer", "reset", &id, "--to", "now"]).await.0);
    publish(&mut child.reach.client("writer").await, "t", 5..6).await;
    assert_eq!(next(&mut reader, 1).await, [(5, 1)]);
    for (args, wrong) in [
        (["consumer", "reset", "nothing", "--to", "now"], "no consumer has the id"),
        (["consumer", "reset", &id, "--to", "soon"], "accepted are start, now and"),
        (["consumer", "reset", &id, "--to", "x:1:2"], "does not read a log"),
    ] {
        let (ok, _, said) = run(&args).await;
        assert!(!ok && said.contains(wrong), "{said}");
    }
    assert!(run(&["consumer", "delete", &id]).await.0);
    let ended = reader.event("unsubscribed").await;
    assert_eq!((&ended["consumer"], &ended["reason"]), (&json!("c"), &json!("deleted by the operator")));
    assert!(listed(&child.reach, "c").await.is_null());
    let bad = child.reach.admin("POST", "/v1/consumers/X/reset", r#"{"to":"soon"}"#).await;
    assert!(bad.status == 400 && bad.text.contains("accepted are"), "{bad:?}");
}

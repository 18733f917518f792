//! A page that stops reading, under each overflow policy that loses messages: it is told what it lost, its memory
//! is bounded, and nobody else notices.

use std::collections::HashMap;

use serde_json::{Value, json};
use weir::config::{DeliveryRule, Overflow};

use crate::harness::{Client, Router, Setup, eventually};

const QUEUE_BYTES: usize = 256 * 1024;
const QUEUE_MESSAGES: usize = 64;
/// Topics of each policy.
const TOPICS: u64 = 7;
const POLICIES: [(&str, Overflow); 3] =
    [("oldest", Overflow::DropOldest), ("new", Overflow::DropNew), ("latest", Overflow::LatestOnly)];

fn setup() -> Setup {
    Setup::open().config(|config| {
        config.limits.queue_bytes = QUEUE_BYTES;
        config.limits.queue_messages = QUEUE_MESSAGES;
        // A socket that takes nothing at all is another matter.
        config.limits.write = std::time::Duration::from_secs(600);
        let rule = |(name, overflow)| DeliveryRule { topics: vec![format!("{name}/#")], overflow };
        config.delivery = POLICIES.map(rule).into();
        // The first rule decides.
        let disconnect = DeliveryRule { topics: vec!["#".into()], overflow: Overflow::Disconnect };
        config.delivery.push(disconnect);
    })
}

async fn connection(router: &Router, name: &str) -> Value {
    let listed = router.admin("GET", "/v1/connections", "").await.json;
    let all = listed["connections"].as_array().unwrap().clone();
    all.into_iter().find(|connection| connection["name"] == name).unwrap()
}

/// A connection that is subscribed to `pattern` and for which so much was published that messages wait.
async fn stuck(router: &Router, pattern: &str, writer: &mut Client, topic: &str) -> Client {
    let mut stuck = router.client("stuck").await;
    stuck.subscribe(pattern).await;
    let ballast = "x".repeat(16 * 1024);
    for _ in 0..20_000 {
        assert_eq!(writer.publish(topic, json!(ballast)).await["outcome"], "accepted");
        let queued = async || connection(router, "stuck").await["queued"].as_u64();
        let waiting = queued().await;
        let mut looks = 0;
        // On a busy machine messages may wait although the socket has room: then they are gone at the next look.
        while waiting > Some(2) && queued().await == waiting {
            looks += 1;
            if looks == 10 {
                return stuck;
            }
        }
    }
    panic!("nothing ever waited for a reader that never reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_loses_what_it_says_and_tells_so() {
    let router = setup().start().await;
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("#").await;
    let mut slow = Vec::new();
    for (name, _) in POLICIES {
        let mut client = router.client(name).await;
        client.subscribe(&format!("{name}/#")).await;
        slow.push(client);
    }
    let ballast = "x".repeat(16 * 1024);
    let mut published = 0_u64;
    loop {
        assert!(published < 20_000, "readers that never read lost nothing");
        for _ in 0..20 {
            for (name, _) in POLICIES {
                let topic = format!("{name}/{}", published % TOPICS);
                let answer = writer.publish(&topic, json!({"n": published, "ballast": ballast})).await;
                assert_eq!(answer["outcome"], "accepted", "the publisher notices nothing: {answer}");
                assert_eq!(reader.message().await["data"]["n"], published, "nor do other readers");
            }
            published += 1;
        }
        let mut enough = true;
        for (name, overflow) in POLICIES {
            let slow = connection(&router, name).await;
            let (queued, bytes) = (slow["queued"].as_u64().unwrap(), slow["queued_bytes"].as_u64().unwrap());
            let most = if overflow == Overflow::LatestOnly { TOPICS } else { QUEUE_MESSAGES as u64 };
            assert!(queued <= most && bytes <= QUEUE_BYTES as u64, "{slow}");
            assert_eq!(slow["lost"], slow["lost_by"][overflow.as_str()], "{slow}");
            enough &= slow["lost"].as_u64() >= Some(50);
        }
        if enough {
            break;
        }
    }
    // History is read from the disk: all that came before this is there.
    writer.publish_at("logged", "sync", json!(0)).await;
    let metrics = router.admin("GET", "/metrics", "").await.text;
    let mut total = 0;
    for ((name, overflow), mut slow) in POLICIES.into_iter().zip(slow) {
        let listed = connection(&router, name).await;
        let frames = slow.drain().await;
        let history = reader.history(&format!("{name}/#")).await;
        let lost = check(&frames, &history);
        assert_eq!(listed["lost"], lost, "{name}: as the list has it");
        total += lost;
        let series =
            format!("weir_lost_messages_total{{gateway=\"http\",policy=\"{}\"}} {lost}\n", overflow.as_str());
        assert!(metrics.contains(&series), "{series}\n{metrics}");
        let newest =
            frames.iter().filter(|frame| frame["event"] == "message").map(|frame| &frame["data"]["n"]);
        let newest: Vec<_> = newest.filter_map(Value::as_u64).collect();
        match overflow {
            Overflow::DropNew => assert!(!newest.contains(&(published - 1)), "{name}"),
            Overflow::DropOldest => assert_eq!(newest.last(), Some(&(published - 1)), "{name}"),
            _ => assert!(newest.ends_with(&(published - TOPICS..published).collect::<Vec<_>>()), "{name}"),
        }
        // It is a reader as any other from here on.
        writer.publish(&format!("{name}/0"), json!("last")).await;
        assert_eq!(slow.message().await["data"], "last");
        assert_eq!(connection(&router, name).await["delivered"], newest.len() as u64 + 1);
    }
    assert_eq!(router.metric("weir_lost_messages_total").await, total as f64);
    assert_eq!(router.metric("weir_slow_reader_disconnects_total").await, 0.0);
    router.stop().await;
}

/// Every message of the log was delivered, in order, or is told as lost at its place. How many are.
fn check(frames: &[Value], history: &[Value]) -> u64 {
    let mut wanted = history.iter().map(|message| message["offset"].as_u64().unwrap()).peekable();
    let mut lost = 0;
    for frame in frames {
        if frame["event"] == "message" {
            assert_eq!(frame["offset"].as_u64(), wanted.next(), "as the log has it");
            continue;
        }
        assert_eq!((&frame["event"], &frame["log"]), (&json!("gap"), &json!("default")), "{frame}");
        let (from, to) = (frame["from"].as_u64().unwrap(), frame["to"].as_u64().unwrap());
        assert_eq!(wanted.peek(), Some(&from), "{frame}");
        let mut missing = 0;
        let mut last = 0;
        while let Some(offset) = wanted.next_if(|offset| *offset <= to) {
            (missing, last) = (missing + 1, offset);
        }
        assert_eq!((frame["lost"].as_u64(), last), (Some(missing), to), "{frame}");
        lost += missing;
    }
    assert_eq!(wanted.next(), None, "neither delivered nor told");
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_lags_is_still_heard() {
    let router = setup().start().await;
    let mut writer = router.client("writer").await;
    let mut stuck = stuck(&router, "oldest/#", &mut writer, "oldest/0").await;
    for _ in 0..2 * QUEUE_BYTES / (16 * 1024) {
        assert_eq!(writer.publish("oldest/0", json!("x".repeat(16 * 1024))).await["outcome"], "accepted");
    }
    assert!(connection(&router, "stuck").await["lost"].as_u64() > Some(0), "its queue is full");
    assert!(stuck.send(&json!({"action": "unsubscribe", "id": 1, "topic": "oldest/#"})).await);
    let gone = async || (connection(&router, "stuck").await["subscriptions"] == json!([])).then_some(());
    eventually("the subscription ends although nothing is read", gone).await;
    while stuck.next().await["id"] != 1 {}
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_in_the_queue_is_left_out_and_is_no_gap() {
    let router = setup().start().await;
    let mut writer = router.client("writer").await;
    let mut stuck = stuck(&router, "a", &mut writer, "a").await;
    for (data, expires) in [("short", 1), ("long", 3_600_000)] {
        let frame = json!({"action": "publish", "topic": "a", "data": data, "expires_in_ms": expires});
        assert_eq!(writer.ask(frame).await["outcome"], "accepted");
    }
    // Time is what this is about.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let frames = stuck.drain().await;
    assert!(frames.iter().all(|frame| frame["event"] == "message" && frame["data"] != "short"));
    assert_eq!(frames.last().unwrap()["data"], "long");
    assert_eq!(router.metric("weir_expired_messages_total").await, 1.0);
    let listed = connection(&router, "stuck").await;
    assert_eq!((&listed["expired"], &listed["delivered"]), (&json!(1), &json!(frames.len())));
    assert_eq!(listed["lost"], 0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reader_under_a_flood_does_not_starve_the_others_of_its_thread() {
    let router = setup().start().await;
    let (mut flooded, mut flooder) = (router.client("flooded").await, router.client("flooder").await);
    let (mut calm, mut writer) = (router.client("calm").await, router.client("writer").await);
    flooded.subscribe("oldest/#").await;
    calm.subscribe("calm").await;
    let frames: Vec<_> =
        (0..200).map(|n| json!({"action": "publish", "topic": "oldest/0", "data": n})).collect();
    let flood = tokio::spawn(async move { while flooder.send_all(frames.iter().cloned()).await {} });
    let read = tokio::spawn(async move {
        let mut seen = HashMap::<String, u64>::new();
        while let Some(frame) = flooded.try_next().await {
            *seen.entry(frame["event"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        seen
    });
    for n in 0..200 {
        assert_eq!(writer.publish("calm", json!(n)).await["outcome"], "accepted");
        assert_eq!(calm.message().await["data"], n);
    }
    flood.abort();
    router.stop().await;
    assert!(read.await.unwrap()["message"] > 0, "the flood came through, too");
}

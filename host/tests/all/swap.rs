//! Ten swaps of a plugin under load: nothing lost, nothing doubled, every publisher's order kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{Client, Setup, version, wasm, within};

const PUBLISHERS: usize = 3;
/// Each pattern several times, 20 subscribers in all; every one of them matches all messages.
const PATTERNS: [&str; 5] = ["load/#", "#", "load/+/x", "+/+/x", "load/+/+"];
const SUBSCRIBERS: usize = 20;
const SWAPS: usize = 10;
/// Publishes on their way at once, per publisher.
const WINDOW: usize = 16;

/// (Publisher, number), which names a message.
type Name = (u64, u64);

/// Publishes until it is told to stop, then an end mark. Returns what was accepted, in order: the rest was set aside.
async fn publisher(mut client: Client, number: usize, stop: Arc<AtomicBool>) -> Vec<Name> {
    let topic = format!("load/{number}/x");
    let (mut next, mut open, mut accepted) = (0_u64, 0, Vec::new());
    loop {
        let ending = stop.load(Ordering::Relaxed);
        while open < WINDOW && !ending {
            let data = json!({"p": number, "n": next});
            let frame = json!({"action": "publish", "id": next, "topic": topic, "data": data});
            assert!(client.send(&frame).await);
            next += 1;
            open += 1;
        }
        if open == 0 {
            break;
        }
        let answer = client.next().await;
        open -= 1;
        if answer["outcome"] == "dead-lettered" {
            continue;
        }
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        accepted.push((number as u64, answer["id"].as_u64().unwrap()));
    }
    let end = client.publish(&topic, json!({"p": number, "end": true})).await;
    assert_eq!(end["outcome"], "accepted");
    accepted
}

/// What one subscriber saw until every publisher's end mark.
#[derive(Default)]
struct Seen {
    names: Vec<Name>,
    stamps: Vec<(u64, String)>,
}

async fn subscriber(mut client: Client, newest: Option<watch::Sender<String>>) -> Seen {
    let mut seen = Seen::default();
    let mut ended = 0;
    while ended < PUBLISHERS {
        let message = client.message().await;
        let p = message["data"]["p"].as_u64().unwrap();
        let stamp = message["headers"]["stamp"].as_str().unwrap().to_owned();
        if let Some(newest) = &newest {
            newest.send_if_modified(|known| std::mem::replace(known, stamp.clone()) != stamp);
        }
        seen.stamps.push((p, stamp));
        match message["data"].get("end") {
            Some(_) => ended += 1,
            None => seen.names.push((p, message["data"]["n"].as_u64().unwrap())),
        }
    }
    assert!(client.drain().await.is_empty(), "nothing comes twice at the end");
    seen
}

fn of(p: usize, names: &[Name]) -> Vec<Name> {
    names.iter().filter(|(publisher, _)| *publisher == p as u64).copied().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_swaps_under_load_lose_double_and_reorder_nothing() {
    let router = Setup::open()
        .guest_as("stamp-a", "stamp")
        .binding("stamp", "[config]\nlabel = \"0\"\n")
        .start()
        .await;
    let (newest, mut stamps) = watch::channel(String::new());
    let mut newest = Some(newest);
    let mut subscribers = Vec::new();
    for number in 0..SUBSCRIBERS {
        let mut client = router.client(&format!("subscriber-{number}")).await;
        client.subscribe(PATTERNS[number % PATTERNS.len()]).await;
        if number % 3 == 0 {
            // Overlapping patterns are no reason to get a message twice.
            client.subscribe("load/1/x").await;
        }
        subscribers.push(tokio::spawn(subscriber(client, newest.take())));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        let client = router.client(&format!("publisher-{number}")).await;
        publishers.push(tokio::spawn(publisher(client, number, Arc::clone(&stop))));
    }

    let mut versions = vec!["a0".to_owned()];
    for swap in 1..=SWAPS {
        let now = versions.last().unwrap();
        let (letter, label) = (now[..1].to_owned(), now[1..].to_owned());
        let next = if swap % 2 == 1 {
            // A new component under the same name.
            let (guest, letter) = if letter == "a" { ("stamp-b", "b") } else { ("stamp-a", "a") };
            router.folders.replace("stamp.wasm", &wasm(guest));
            format!("{letter}{label}")
        } else {
            // The same component with another configuration.
            router.folders.replace("stamp.toml", format!("[config]\nlabel = \"{swap}\"\n").as_bytes());
            format!("{letter}{swap}")
        };
        within(&format!("version {next} under load"), stamps.wait_for(|stamp| *stamp == next)).await.unwrap();
        versions.push(next);
    }
    stop.store(true, Ordering::Relaxed);

    let mut accepted = Vec::new();
    for publisher in publishers {
        accepted.extend(publisher.await.unwrap());
    }
    assert!(accepted.len() > SWAPS * PUBLISHERS, "there was load: {}", accepted.len());
    let all: BTreeSet<Name> = accepted.iter().copied().collect();
    for (number, subscriber) in subscribers.into_iter().enumerate() {
        let seen = subscriber.await.unwrap();
        let unique: BTreeSet<Name> = seen.names.iter().copied().collect();
        let lost = all.difference(&unique).count();
        let doubled = seen.names.len() - unique.len();
        assert_eq!((lost, doubled), (0, 0), "subscriber {number}: lost, doubled");
        for p in 0..PUBLISHERS {
            assert_eq!(of(p, &seen.names), of(p, &accepted), "subscriber {number}, order of publisher {p}");
            // One publisher's messages go from version to version, never back.
            let mut went: Vec<&str> = seen
                .stamps
                .iter()
                .filter(|(from, _)| *from == p as u64)
                .map(|(_, stamp)| stamp.as_str())
                .collect();
            went.dedup();
            let places: Vec<_> =
                went.iter().map(|stamp| versions.iter().position(|v| v == stamp).unwrap()).collect();
            assert!(places.is_sorted(), "subscriber {number}, publisher {p}: {went:?}");
        }
    }
    let mut reader = router.client("reader").await;
    let last = reader.publish_at("logged", "load/end/x", json!(0)).await;
    assert_eq!(last["outcome"], "accepted");
    let logged: Vec<Value> = reader.history("load/+/x").await;
    assert_eq!(logged.len(), accepted.len() + PUBLISHERS + 1, "the log has each message once");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_comes_and_goes_under_load_loses_nothing() {
    let router = Setup::open().start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("load/#").await;
    let stop = Arc::new(AtomicBool::new(false));
    let client = router.client("publisher").await;
    let publishing = tokio::spawn(publisher(client, 0, Arc::clone(&stop)));
    let changes = async {
        for _ in 0..5 {
            router.folders.replace("stamp.wasm", &wasm("stamp-a"));
            router.until_live("stamp", "stamp-a").await;
            router.folders.remove("stamp.wasm");
            router.until_plugin("stamp", Value::is_null).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let reading = async {
        let (mut names, mut stamped) = (Vec::new(), 0);
        loop {
            let message = reader.message().await;
            stamped += usize::from(message["headers"]["stamp"] == "a");
            match message["data"]["n"].as_u64() {
                Some(n) => names.push((0, n)),
                None => return (names, stamped),
            }
        }
    };
    let ((), (names, stamped)) = tokio::join!(changes, reading);
    assert_eq!(names, publishing.await.unwrap());
    assert!(stamped > 0 && stamped < names.len(), "{stamped} of {}", names.len());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_under_load_goes_within_its_budget_and_no_message_is_lost() {
    let router = Setup::open().guest_as("stamp-a", "stamp").binding("stamp", "").start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("load/#").await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        let client = router.client(&format!("publisher-{number}")).await;
        publishers.push(tokio::spawn(publisher(client, number, Arc::clone(&stop))));
    }
    let reading = tokio::spawn(async move {
        let (mut names, mut ended) = (Vec::new(), 0);
        while ended < PUBLISHERS {
            let message = reader.message().await;
            match message["data"]["n"].as_u64() {
                Some(n) => names.push((message["data"]["p"].as_u64().unwrap(), n)),
                None => ended += 1,
            }
        }
        names
    });
    // Its trial goes well, and every 50th message of each instance does not.
    router.folders.replace("stamp.toml", b"[config]\nact = \"panic-on-the50th\"\n");
    router.folders.replace("stamp.wasm", &wasm("hostile"));
    let is_back = |plugin: &Value| {
        plugin["version"] == *version("stamp-a")
            && plugin["reason"].as_str().is_some_and(|reason| reason.contains("rolled back from"))
    };
    router.until_plugin("stamp", is_back).await;
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for publisher in publishers {
        accepted.extend(publisher.await.unwrap());
    }
    let names = reading.await.unwrap();
    for p in 0..PUBLISHERS {
        assert_eq!(of(p, &names), of(p, &accepted), "publisher {p}: lost, doubled or out of order");
    }
    // What it could not handle is there, and the event is seen in the list, in the metrics and in the history.
    assert!((router.metric("weir_plugin_rollbacks_total").await - 1.0).abs() < 0.1);
    let history = router.admin("GET", "/v1/plugins/stamp/history", "").await.json;
    assert!(history.to_string().contains("rolled-back"), "{history}");
    assert!(router.calls("stamp", "trap").await <= 300, "it is gone soon");
    router.stop().await;
}

//! Who is present at a topic, and who is told of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Client, Router, Setup};

async fn watch(client: &mut Client, pattern: &str) {
    let answer = client.ask(json!({"action": "subscribe", "topic": pattern, "presence": true})).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

async fn unsubscribe(client: &mut Client, pattern: &str) {
    let answer = client.ask(json!({"action": "unsubscribe", "topic": pattern})).await;
    assert_eq!(answer["removed"], true, "{answer}");
}

/// Names and connections.
async fn present(client: &mut Client, topic: &str) -> Vec<(String, u64)> {
    let answer = client.ask(json!({"action": "presence", "topic": topic})).await;
    assert_eq!((&answer["ok"], &answer["topic"]), (&json!(true), &json!(topic)), "{answer}");
    let members = answer["members"].as_array().unwrap();
    assert_eq!(answer["count"], members.len(), "{answer}");
    assert_eq!(answer["more"], false, "{answer}");
    let one = |member: &Value| {
        assert!(member["since_us"].as_u64().unwrap() > 0, "{answer}");
        (member["name"].as_str().unwrap().to_owned(), member["connections"].as_u64().unwrap())
    };
    members.iter().map(one).collect()
}

fn member(name: &str, connections: u64) -> (String, u64) {
    (name.to_owned(), connections)
}

/// The next frame, which must be this event.
async fn hears(client: &mut Client, event: &str, topic: &str, name: &str) {
    let frame = client.next().await;
    let heard = (&frame["event"], &frame["topic"], &frame["name"]);
    assert_eq!(heard, (&json!(event), &json!(topic), &json!(name)), "{frame}");
    assert_eq!(frame["origin"], "device", "{frame}");
    assert!(frame["time_us"].as_u64().unwrap() > 0, "{frame}");
    assert!(frame.get("more").is_none(), "{frame}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_principal_is_there_from_its_first_connection_to_its_last() {
    let router = Setup::open().start().await;
    let mut watcher = router.client("watcher").await;
    watch(&mut watcher, "rooms/+").await;
    assert_eq!(present(&mut watcher, "rooms/1").await, []);
    let (mut phone, mut laptop) = (router.client("ada").await, router.client("ada").await);
    let mut bob = router.client("bob").await;
    phone.subscribe("rooms/1").await;
    laptop.subscribe("rooms/1").await;
    // The same again, and patterns that only match, change nothing.
    laptop.subscribe("rooms/1").await;
    bob.subscribe("rooms/#").await;
    bob.subscribe("rooms/1").await;
    assert_eq!(present(&mut watcher, "rooms/1").await, [member("ada", 2), member("bob", 1)]);
    hears(&mut watcher, "join", "rooms/1", "ada").await;
    hears(&mut watcher, "join", "rooms/1", "bob").await;
    drop(phone);
    unsubscribe(&mut bob, "rooms/1").await;
    hears(&mut watcher, "leave", "rooms/1", "bob").await;
    drop(laptop);
    hears(&mut watcher, "leave", "rooms/1", "ada").await;
    assert_eq!(present(&mut watcher, "rooms/1").await, []);
    assert!(bob.drain().await.is_empty(), "who did not ask is not told");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_is_told_once_also_of_itself_until_it_has_enough() {
    let router = Setup::open().start().await;
    let mut ada = router.client("ada").await;
    watch(&mut ada, "rooms/1").await;
    hears(&mut ada, "join", "rooms/1", "ada").await;
    // Two patterns that match are one event.
    watch(&mut ada, "#").await;
    let mut bob = router.client("bob").await;
    bob.subscribe("rooms/1").await;
    hears(&mut ada, "join", "rooms/1", "bob").await;
    unsubscribe(&mut ada, "rooms/1").await;
    hears(&mut ada, "leave", "rooms/1", "ada").await;
    // What the last subscribe says, holds.
    ada.subscribe("#").await;
    unsubscribe(&mut bob, "rooms/1").await;
    assert!(ada.drain().await.is_empty());
    watch(&mut ada, "#").await;
    bob.subscribe("rooms/1").await;
    hears(&mut ada, "join", "rooms/1", "bob").await;
    unsubscribe(&mut ada, "#").await;
    unsubscribe(&mut bob, "rooms/1").await;
    assert!(ada.drain().await.is_empty());
    watch(&mut ada, "rooms/1").await;
    hears(&mut ada, "join", "rooms/1", "ada").await;
    unsubscribe(&mut ada, "rooms/1").await;
    assert!(ada.drain().await.is_empty(), "it has given up this pattern");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_asked_for_over_http_and_of_one_topic() {
    let router = Setup::open().start().await;
    let mut client = Client::connect(router.http, "?client_id=ada&origin=page", &[]).await;
    client.subscribe("rooms/1").await;
    let answer = router.http("GET", "/v1/presence?topic=rooms/1", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = client.ask(json!({"action": "presence", "topic": "rooms/1"})).await;
    let mut same = answer.json.clone();
    same["id"] = asked["id"].clone();
    assert_eq!(same, asked);
    assert_eq!(asked["members"][0]["origin"], "page");
    for (path, reason) in [
        ("/v1/presence", "`topic` is missing"),
        ("/v1/presence?topic=rooms/%2B", "without + and #"),
        ("/v1/presence?topic=rooms/%23", "without + and #"),
        ("/v1/presence?topic=a%00", "a character at byte 1"),
        ("/v1/presence?topic=a&limit=1", "\"limit\" is not known here"),
    ] {
        let answer = router.http("GET", path, &[], "").await;
        assert_eq!((answer.status, &answer.json["outcome"]), (400, &json!("invalid")), "{answer:?}");
        assert!(answer.json["reason"].as_str().unwrap().contains(reason), "{answer:?}");
    }
    let denied = router.http("GET", "/v1/presence?topic=$SYS/a", &[], "").await;
    assert_eq!((denied.status, &denied.json["outcome"]), (403, &json!("denied")), "{denied:?}");
    let refused = client.ask(json!({"action": "presence", "topic": "rooms/+"})).await;
    assert_eq!(refused["outcome"], "invalid", "{refused}");
    assert!(client.send(&json!({"action": "presence", "topic": "rooms/1"})).await);
    assert_eq!(client.event("error").await["outcome"], "invalid");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_sees_who_is_present_where_it_may_subscribe() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("page", &[], &["rooms/+"], "").await;
    let (other, id) = router.key("sensor", &[], &["rooms/1"], "").await;
    let (mut page, mut sensor) = (router.keyed(&key).await, router.keyed(&other).await);
    watch(&mut page, "rooms/+").await;
    for pattern in ["halls/1", "#", "rooms/#"] {
        let asked = json!({"action": "subscribe", "topic": pattern, "presence": true});
        assert_eq!(page.ask(asked).await["outcome"], "denied", "{pattern}");
    }
    let denied = page.ask(json!({"action": "presence", "topic": "halls/1"})).await;
    assert_eq!(denied["outcome"], "denied", "{denied}");
    sensor.subscribe("rooms/1").await;
    let joined = page.event("join").await;
    assert_eq!((&joined["name"], &joined["origin"]), (&json!("sensor"), &json!("service")), "{joined}");
    router.admin("DELETE", &format!("/v1/keys/{id}"), "").await;
    assert_eq!(sensor.closed().await.0, 1008);
    assert_eq!(page.event("leave").await["name"], "sensor");
    assert_eq!(present(&mut page, "rooms/1").await, []);
    router.stop().await;
}

async fn with_doorman(presence: bool) -> Router {
    let config = format!("[config]\npresence = {presence}\n");
    Setup::new().guest("doorman").binding("doorman", &config).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_needs_both_rights_and_ends_with_either() {
    let router = with_doorman(true).await;
    let (mut ada, mut bob) = (router.client("ada").await, router.client("bob").await);
    watch(&mut ada, "rooms/1").await;
    hears(&mut ada, "join", "rooms/1", "ada").await;
    ada.subscribe("plain").await;
    router.folders.write("doorman.toml", "[config]\npresence = false\n");
    let ended = ada.event("unsubscribed").await;
    assert_eq!((&ended["topic"], &ended["reason"]), (&json!("rooms/1"), &json!("no longer allowed")));
    bob.subscribe("rooms/1").await;
    assert_eq!(ada.publish("plain", json!(1)).await["outcome"], "accepted");
    assert_eq!(ada.message().await["topic"], "plain", "the other one stands");
    for frame in [
        json!({"action": "subscribe", "topic": "rooms/1", "presence": true}),
        json!({"action": "presence", "topic": "rooms/1"}),
    ] {
        assert_eq!(ada.ask(frame).await["outcome"], "denied");
    }
    assert!(ada.drain().await.is_empty());
    router.stop().await;
}

/// Subscribes and unsubscribes at random places, without waiting for the answers in between; then stays or goes.
async fn come_and_go(mut client: Client, seed: u64, stays: bool) -> Option<Client> {
    let mut state = seed;
    let mut frames = Vec::new();
    for _ in 0..150 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let action = if state >> 40 & 1 == 0 { "subscribe" } else { "unsubscribe" };
        frames.push(json!({"action": action, "topic": format!("rooms/{}", (state >> 41) % 3)}));
    }
    assert!(client.send_all(frames).await);
    if stays {
        client.drain().await;
        return Some(client);
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_leaves_are_exact_in_a_storm() {
    let router = Setup::open().start().await;
    let mut watcher = router.client("watcher").await;
    watch(&mut watcher, "rooms/+").await;
    let mut clients = Vec::new();
    for n in 0..12 {
        clients.push(router.client(&format!("p{}", n % 4)).await);
    }
    let storm = clients.into_iter().enumerate().map(|(n, client)| {
        // Some are cut off in the middle.
        tokio::spawn(come_and_go(client, n as u64 * 7 + 1, n % 3 != 0))
    });
    let storm: Vec<_> = storm.collect();
    let mut stay = Vec::new();
    for client in storm {
        stay.extend(client.await.unwrap());
    }
    // The answer stands among the events where it happened, so this holds at any moment.
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for topic in ["rooms/0", "rooms/1", "rooms/2"] {
        let now: BTreeSet<_> = present(&mut watcher, topic).await.into_iter().map(|(name, _)| name).collect();
        for event in watcher.take_waiting() {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            let members = seen.entry(text("topic")).or_default();
            match text("event").as_str() {
                "join" => assert!(members.insert(text("name")), "joined twice: {event}"),
                "leave" => assert!(members.remove(&text("name")), "left twice: {event}"),
                other => panic!("{other}: {event}"),
            }
        }
        assert_eq!(seen.get(topic).cloned().unwrap_or_default(), now, "{topic}");
    }
    drop(stay);
    while seen.values().any(|members| !members.is_empty()) {
        let left = watcher.event("leave").await;
        let members = seen.get_mut(left["topic"].as_str().unwrap()).unwrap();
        assert!(members.remove(left["name"].as_str().unwrap()), "{left}");
    }
    router.stop().await;
}

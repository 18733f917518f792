//! Retained messages: of each topic the last one, for those who subscribe later.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use weir::config::{Config, LogRule};

use crate::harness::{Client, Events, Reach, Router, Setup, eventually, within};

/// Topics below `a` and below `b` have logs of their own, all others have none.
fn two_logs(config: &mut Config) {
    let rule =
        |name: &str| LogRule { name: name.into(), topics: vec![format!("{name}/#")], ..LogRule::default() };
    config.logs = vec![rule("a"), rule("b")];
}

fn retain(topic: &str, data: impl Into<Value>) -> Value {
    json!({"action": "publish", "topic": topic, "data": data.into(), "retain": true})
}

fn delete(topic: &str) -> Value {
    json!({"action": "publish", "topic": topic, "text": "", "retain": true})
}

async fn accepted(client: &mut Client, frame: Value) -> Value {
    let answer = client.ask(frame).await;
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    answer
}

/// Subscribes, and tells the retained messages that come, in order of their topics. What else comes stays.
async fn retained(client: &mut Client, pattern: &str, count: usize) -> Vec<(String, Value)> {
    let answer = client.ask(json!({"action": "subscribe", "topic": pattern, "retained": true})).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let mut found = Vec::new();
    for _ in 0..count {
        let message = client.message().await;
        assert_eq!(message["retained"], true, "{message}");
        found.push((message["topic"].as_str().unwrap().to_owned(), message["data"].clone()));
    }
    assert_eq!(
        client.event("caught-up").await["topic"],
        pattern,
        "who asks for them hears that it has them all"
    );
    found
}

/// What a new connection finds, which the metric has the number of.
async fn all(router: &Reach) -> Vec<(String, Value)> {
    let count = router.metric("weir_retained_messages").await as usize;
    let mut client = router.client("all").await;
    let found = retained(&mut client, "#", count).await;
    assert!(client.drain().await.is_empty());
    found
}

fn pairs(of: &[(&str, u64)]) -> Vec<(String, Value)> {
    of.iter().map(|(topic, data)| ((*topic).to_owned(), json!(data))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_subscribes_later_gets_the_last_message_of_each_topic_first() {
    let router = Setup::open().config(two_logs).start().await;
    let mut writer = router.client("writer").await;
    for (topic, data) in [("a/x", 1), ("b/x", 2), ("none/x", 3), ("a/x", 4), ("a/x/deep", 5)] {
        accepted(&mut writer, retain(topic, data)).await;
    }
    writer.publish("a/x", json!("not retained")).await;
    assert_eq!(all(&router).await, pairs(&[("a/x", 4), ("a/x/deep", 5), ("b/x", 2), ("none/x", 3)]));
    assert!(router.metric("weir_retained_bytes").await > 0.0);

    let mut reader = router.client("reader").await;
    reader.subscribe("+/x").await;
    let first = reader.message().await;
    assert_eq!((&first["retained"], &first["log"], &first["offset"]), (&json!(true), &json!("a"), &json!(1)));
    assert_eq!(
        (&first["topic"], &first["data"], &first["from"]),
        (&json!("a/x"), &json!(4), &json!("writer"))
    );
    for topic in ["b/x", "none/x"] {
        assert_eq!(reader.message().await["topic"], topic);
    }
    // The very same pattern again: nothing, unless it is asked for.
    reader.subscribe("+/x").await;
    assert!(reader.drain().await.is_empty());
    assert_eq!(retained(&mut reader, "+/x", 3).await, pairs(&[("a/x", 4), ("b/x", 2), ("none/x", 3)]));
    let quiet = json!({"action": "subscribe", "topic": "a/#", "retained": false});
    assert_eq!(reader.ask(quiet).await["new"], true);
    let now = json!({"action": "subscribe", "topic": "b/#", "since": "now"});
    assert_eq!(reader.ask(now).await["new"], true);
    assert!(reader.drain().await.is_empty(), "with `since` they come only when they are asked for");

    accepted(&mut writer, retain("b/x", 6)).await;
    let live = reader.message().await;
    assert_eq!((&live["data"], &live["retained"]), (&json!(6), &Value::Null), "who is there gets it as ever");
    assert!(reader.drain().await.is_empty());

    for topic in ["a/x", "none/x"] {
        accepted(&mut writer, delete(topic)).await;
        assert_eq!(reader.message().await["text"], "", "a deletion is routed");
    }
    assert_eq!(all(&router).await, pairs(&[("a/x/deep", 5), ("b/x", 6)]));
    let folders = router.stop().await;
    let router = Setup::over(&folders).config(two_logs).start().await;
    assert_eq!(all(&router).await, pairs(&[("a/x/deep", 5), ("b/x", 6)]), "a restart changes nothing");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_since_they_come_before_the_replay_that_does_not_bring_them() {
    let router = Setup::open().config(two_logs).start().await;
    let mut writer = router.client("writer").await;
    let first = accepted(&mut writer, retain("a/old", 1)).await;
    accepted(&mut writer, retain("a/new", 2)).await;
    accepted(&mut writer, retain("none/x", 3)).await;
    let mut reader = router.client("reader").await;
    let place = &first["messages"][0];
    let since = json!({"a": {"epoch": place["epoch"], "offset": place["offset"]}});
    let both = json!({"action": "subscribe", "topic": "#", "since": since, "retained": true});
    assert_eq!(reader.ask(both).await["recovered"], true);
    let mut found = Vec::new();
    for _ in 0..3 {
        let message = reader.message().await;
        found.push((message["data"].as_u64().unwrap(), message["retained"] == true));
    }
    assert_eq!(found, [(1, true), (3, true), (2, false)]);
    reader.event("caught-up").await;
    assert!(reader.drain().await.is_empty());

    let refused = json!({"action": "subscribe", "topic": "a/#", "consumer": "c", "retained": true});
    let refused = reader.ask(refused).await;
    assert_eq!(refused["outcome"], "invalid");
    assert!(refused["reason"].as_str().unwrap().starts_with("`retained` is not accepted"), "{refused}");
    let consumer = json!({"action": "subscribe", "topic": "a/#", "consumer": "c", "retained": false});
    assert_eq!(reader.ask(consumer).await["ok"], true);
    assert!(reader.drain().await.is_empty());
    router.stop().await;
}

/// Counts up on each topic, every other message retained, until it is told to stop. Returns the last number.
async fn count_up(
    mut client: Client,
    topics: Vec<String>,
    mut until: tokio::sync::watch::Receiver<bool>,
) -> u64 {
    let mut n = 0;
    while !*until.borrow_and_update() {
        n += 1;
        let frames: Vec<Value> = topics
            .iter()
            .map(|topic| {
                json!({"action": "publish", "id": n, "topic": topic, "data": n, "retain": n % 2 == 0})
            })
            .collect();
        assert!(client.send_all(frames).await);
        for _ in &topics {
            assert_eq!(client.next().await["outcome"], "accepted");
        }
    }
    n
}

/// Joins at some moment: of each topic comes what was retained, then all that is newer than the moment, once.
async fn join(reach: Arc<Reach>, name: String, pattern: &'static str, topics: Vec<String>) {
    let mut client = reach.client(&name).await;
    client.subscribe(pattern).await;
    // Of each topic the last retained number, and the last number.
    let mut seen: BTreeMap<String, (Option<u64>, Option<u64>)> = BTreeMap::new();
    let enough = |seen: &BTreeMap<String, (Option<u64>, Option<u64>)>| {
        topics.iter().all(|topic| matches!(seen.get(topic), Some((Some(_), Some(last))) if *last > 6))
    };
    let mut after = 0;
    while !enough(&seen) || after < 200 {
        let message = client.message().await;
        after += 1;
        let (topic, n) = (message["topic"].as_str().unwrap(), message["data"].as_u64().unwrap());
        let (kept, live) = seen.entry(topic.to_owned()).or_default();
        if message["retained"] == true {
            assert_eq!((*kept, *live), (None, None), "{name}: {topic}: retained {n} came late or twice");
            *kept = Some(n);
            continue;
        }
        if let Some(last) = live.or(*kept) {
            // Between a retained message and the first live one there may be one that was not retained.
            let gap = if live.is_none() { 2 } else { 1 };
            assert!(n > last && n <= last + gap, "{name}: {topic}: {n} after {last}, live: {live:?}");
        }
        *live = Some(n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seam_to_what_is_published_has_no_gap_and_no_double() {
    let router = Setup::open().config(two_logs).start().await;
    let topics: Vec<String> = (0..24).map(|at| format!("{}/{at:02}", ["a", "b", "none"][at % 3])).collect();
    let mut first = router.client("first").await;
    for topic in &topics {
        accepted(&mut first, retain(topic, 0)).await;
    }
    let (stop, until) = tokio::sync::watch::channel(false);
    let mut writers = tokio::task::JoinSet::new();
    for (at, some) in topics.chunks(12).enumerate() {
        writers.spawn(count_up(router.client(&format!("w{at}")).await, some.to_vec(), until.clone()));
    }
    let reach = Arc::new(router.reach.clone());
    let mut readers = tokio::task::JoinSet::new();
    for round in 0..8 {
        for (pattern, prefix) in [("#", ""), ("a/+", "a/"), ("none/#", "none/"), ("b/01", "b/01")] {
            let wanted = topics.iter().filter(|topic| topic.starts_with(prefix)).cloned().collect();
            readers.spawn(join(Arc::clone(&reach), format!("r{round}{prefix}"), pattern, wanted));
        }
        readers.join_next().await.unwrap().unwrap();
    }
    while let Some(reader) = within("a reader", readers.join_next()).await {
        reader.unwrap();
    }
    stop.send(true).unwrap();
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_wait_for_room_and_cut_nobody_off() {
    const TOPICS: u64 = 20_000;
    let router = Setup::open().config(|config| config.limits.queue_messages = 64).start().await;
    let mut writer = router.client("writer").await;
    for chunk in (0..TOPICS).collect::<Vec<_>>().chunks(1_000) {
        let batch: Vec<Value> =
            chunk.iter().map(|n| json!({"topic": format!("t/{n:05}"), "data": n, "retain": true})).collect();
        let answer = router.http("POST", "/v1/publish", &[], &json!(batch).to_string()).await;
        assert_eq!(answer.json["ok"], true);
    }
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    // It has read none of them: what is published meanwhile brings the retained message with it.
    accepted(&mut writer, retain("t/19999", "new")).await;
    let mut last = None;
    let (mut early, mut live) = (None, None);
    let mut count = 0;
    while count < TOPICS || live.is_none() {
        let message = reader.message().await;
        let topic = message["topic"].as_str().unwrap().to_owned();
        if message["retained"] != true {
            assert_eq!((topic.as_str(), &message["data"]), ("t/19999", &json!("new")));
            live = Some(count);
            continue;
        }
        count += 1;
        if topic == "t/19999" {
            assert_eq!(message["data"], 19_999);
            early = Some(count);
        } else {
            assert!(last.as_ref().is_none_or(|last| *last < topic), "{topic} after {last:?}");
            last = Some(topic);
        }
    }
    assert_eq!(early, live, "the old one directly before the new one");
    assert!(reader.drain().await.is_empty());
    // One who goes away in the middle leaves nothing behind.
    let mut gone = router.client("gone").await;
    gone.subscribe("#").await;
    assert_eq!(gone.ask(json!({"action": "unsubscribe", "topic": "#"})).await["removed"], true);
    gone.take_waiting();
    assert!(gone.drain().await.is_empty(), "nothing after the answer to unsubscribe");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_limits_allow_is_refused_as_a_whole() {
    let setup = Setup::open().guest("reroute").config(two_logs);
    let router = setup.config(|config| config.limits.retained_messages = 2).start().await;
    let mut client = router.client("c").await;
    client.subscribe("#").await;
    // What a transform makes of it is retained, too: each under its own topic.
    accepted(&mut client, retain("x", json!({"to": ["a/1", "a/2"], "how": "replace"}))).await;
    for topic in ["a/1", "a/2"] {
        assert_eq!(client.message().await["topic"], topic);
    }
    for (topic, how) in [(json!(["a/3"]), "replace"), (json!(["a/1", "b/3"]), "replace")] {
        let refused = client.ask(retain("x", json!({"to": topic, "how": how}))).await;
        assert_eq!(refused["outcome"], "invalid", "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains("more than 2 retained messages"), "{refused}");
    }
    let refused = router.http("POST", "/v1/publish", &[], &retain_http("none/x")).await;
    assert_eq!((refused.status, &refused.json["outcome"]), (422, &json!("invalid")), "{refused:?}");
    assert!(client.drain().await.is_empty(), "nothing of it was routed");
    assert!(client.history("b/#").await.is_empty());
    accepted(&mut client, delete("a/1")).await;
    accepted(&mut client, retain("none/x", 1)).await;
    let found: Vec<String> = all(&router).await.into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(found, ["a/2", "none/x"]);
    router.stop().await;
}

fn retain_http(topic: &str) -> String {
    json!({"topic": topic, "data": 1, "retain": true}).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_ones_are_not_sent_and_go_away() {
    let router = Setup::open().config(two_logs).start().await;
    let mut writer = router.client("writer").await;
    for topic in ["a/brief", "none/brief"] {
        let mut brief = retain(topic, 1);
        brief["expires_in_ms"] = json!(1);
        accepted(&mut writer, brief).await;
    }
    let mut long = retain("a/long", 2);
    long["expires_in_ms"] = json!(3_600_000);
    accepted(&mut writer, long).await;
    let left = async || (router.metric("weir_retained_messages").await == 1.0).then_some(());
    eventually("the expired ones are swept", left).await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let message = reader.message().await;
    assert_eq!((&message["topic"], message["expires_us"].is_u64()), (&json!("a/long"), true), "{message}");
    assert!(reader.drain().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_only_what_it_may_read() {
    let router = Setup::keyed().start().await;
    let (writer, _) = router.key("writer", &["#"], &[], "").await;
    let (reader, id) = router.key("reader", &[], &["mine/#"], "").await;
    let (mut writer, mut reader) = (router.keyed(&writer).await, router.keyed(&reader).await);
    for topic in ["mine/a", "yours/a"] {
        accepted(&mut writer, retain(topic, topic)).await;
    }
    for pattern in ["#", "+/a", "yours/a"] {
        let denied = reader.ask(json!({"action": "subscribe", "topic": pattern, "retained": true})).await;
        assert_eq!(denied["outcome"], "denied", "{denied}");
    }
    reader.subscribe("mine/#").await;
    assert_eq!(reader.message().await["data"], "mine/a");
    assert!(reader.drain().await.is_empty());
    assert_eq!(router.admin("DELETE", &format!("/v1/keys/{id}"), "").await.status, 200);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_over_http_begin_with_them() {
    let router = Setup::open().config(two_logs).start().await;
    let published = router.http("POST", "/v1/publish?topic=a/x&retain=true", &[], "1").await;
    assert_eq!(published.status, 201, "{published:?}");
    for topic in ["a/y", "none/x"] {
        router.http("POST", "/v1/publish", &[], &retain_http(topic)).await;
    }
    let mut events = Events::open(router.http, "?topic=a/%2B&topic=none/x&client_id=c", &[]).await;
    events.event("subscribed").await;
    let mut topics = Vec::new();
    for _ in 0..3 {
        let event = events.event("message").await;
        assert_eq!(event.data["retained"], true);
        topics.push(event.data["topic"].as_str().unwrap().to_owned());
    }
    topics.sort();
    assert_eq!(topics, ["a/x", "a/y", "none/x"]);
    // Cut off before all were sent: whoever comes back gets them.
    let opening = |id: &str| [("last-event-id", id.to_owned())];
    for (id, count) in [("retained;start", 1), ("retained;a:1:0", 1), ("start", 0)] {
        let headers = opening(id);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut events = Events::open(router.http, "?topic=none/%23", &headers).await;
        events.event("subscribed").await;
        for _ in 0..count {
            let event = events.event("message").await;
            assert_eq!(event.data["retained"], true);
            assert!(event.id.is_some_and(|id| id.starts_with("retained;")));
        }
        events.event("caught-up").await;
    }
    for query in ["&retained=false", "&since=now"] {
        let mut events = Events::open(router.http, &format!("?topic=%23{query}"), &[]).await;
        events.event("subscribed").await;
        router.http("POST", "/v1/publish?topic=a/live", &[], "2").await;
        assert_eq!(events.event("message").await.data["topic"], "a/live");
    }
    let refused = router.http("GET", "/v1/subscribe?topic=a&retained=maybe", &[], "").await;
    assert_eq!((refused.status, &refused.json["outcome"]), (400, &json!("invalid")));
    router.stop().await;
}

/// Publishes to several topics until the process dies: retained numbers, now and then a deletion. Returns for
/// each topic the last number whose answer was `logged`, and the last one sent.
async fn storm(
    mut client: Client,
    first: u64,
    answers: tokio::sync::mpsc::Sender<()>,
) -> BTreeMap<String, (u64, u64)> {
    const OPEN: u64 = 32;
    let mut of: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut n, mut open) = (first, 0);
    loop {
        while open < OPEN {
            n += 1;
            let topic = format!("{}/{}", ["a", "b"][(n % 2) as usize], n % 7);
            let frame = json!({"action": "publish", "id": n, "topic": topic, "retain": true,
                "text": if n % 5 == 0 { String::new() } else { n.to_string() },
                "level": if n % 3 == 0 { "routed" } else { "logged" }});
            if !client.send(&frame).await {
                break;
            }
            of.entry(topic).or_default().1 = n;
            open += 1;
        }
        let Some(answer) = client.try_next().await else { return of };
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        if answer["level"] == "logged" {
            let topic = answer["messages"][0]["topic"].as_str().unwrap();
            let logged = &mut of.get_mut(topic).unwrap().0;
            *logged = (*logged).max(answer["id"].as_u64().unwrap());
        }
        open -= 1;
        let _ = answers.send(()).await;
    }
}

/// Of each topic, the number and text of the last message in its log.
async fn last_in_the_log(client: &mut Client) -> BTreeMap<String, String> {
    let history = client.history("#").await;
    let text = |message: &Value| message["text"].as_str().unwrap().to_owned();
    history.iter().map(|message| (message["topic"].as_str().unwrap().to_owned(), text(message))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_leaves_what_the_log_says() {
    let setup = Setup::open();
    setup.write_config(
        "[[log]]\nname = \"a\"\ntopics = [\"a/#\"]\n[[log]]\nname = \"b\"\ntopics = [\"b/#\"]\n",
    );
    let mut first = 0;
    for round in 0..3 {
        let child = setup.spawn().await;
        let (answers, mut answered) = tokio::sync::mpsc::channel(16);
        let storm = tokio::spawn(storm(child.reach.client("storm").await, first, answers));
        for _ in 0..200 + 37 * round {
            answered.recv().await.expect("an answer");
        }
        child.kill();
        while answered.recv().await.is_some() {}
        let sent = storm.await.unwrap();
        first = sent.values().map(|(_, sent)| *sent).max().unwrap();

        let child = setup.spawn().await;
        let mut client = child.reach.client("check").await;
        let logged = last_in_the_log(&mut client).await;
        let expected: Vec<_> = logged.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        let mut reader = child.reach.client("reader").await;
        reader.subscribe("#").await;
        let mut found = Vec::new();
        for _ in &expected {
            let message = reader.message().await;
            assert_eq!(message["retained"], true);
            let text = message["text"].as_str().unwrap().to_owned();
            let topic = message["topic"].as_str().unwrap().to_owned();
            let (logged, sent) = sent.get(&topic).copied().unwrap_or_default();
            let n: u64 = text.parse().unwrap();
            assert!(n >= logged && n <= sent.max(n), "{topic}: {n}, but {logged} was answered");
            found.push((topic, text));
        }
        assert_eq!(found, expected);
        assert!(reader.drain().await.is_empty());
        drop(child);
    }
}

async fn told(router: &Router, arguments: &[&str]) -> std::process::Output {
    let config = Setup::over(&router.folders).write_config("");
    let mut command = crate::harness::weir();
    command.arg("retained").args(arguments).arg("--config").arg(config);
    command.arg("--data").arg(router.folders.data()).arg("--admin").arg(router.admin.to_string());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_lists_and_deletes_them() {
    let router = Setup::open().config(two_logs).start().await;
    let mut writer = router.client("writer").await;
    for topic in ["a/x", "a/y z", "none/x"] {
        accepted(&mut writer, retain(topic, 1)).await;
    }
    let listed = router.admin("GET", "/v1/retained?topic=a/%2B&limit=1", "").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let one = &listed.json["retained"][0];
    assert_eq!(
        (&one["topic"], &one["log"], &one["from"]),
        (&json!("a/x"), &json!("a"), &json!("writer")),
        "{one}"
    );
    assert_eq!((&listed.json["messages"], &listed.json["next"]), (&json!(3), &json!("a/x")));
    let next = router.admin("GET", "/v1/retained?topic=a/%2B&limit=1&after=a/x", "").await;
    assert_eq!(next.json["retained"][0]["topic"], "a/y z");
    let end = router.admin("GET", "/v1/retained?topic=a/%2B&after=a/y%20z", "").await;
    assert_eq!((&end.json["retained"], &end.json["next"]), (&json!([]), &Value::Null));
    for (query, status) in [("?topic=a/%23/b", 400), ("?limit=0", 400), ("?limit=x", 400)] {
        assert_eq!(router.admin("GET", &format!("/v1/retained{query}"), "").await.status, status, "{query}");
    }

    let text = String::from_utf8(told(&router, &["list"]).await.stdout).unwrap();
    assert!(["TOPIC", "a/x", "a/y z", "none/x"].iter().all(|word| text.contains(word)), "{text}");
    let json = told(&router, &["list", "none/#", "--json"]).await.stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["retained"].as_array().unwrap().len(), 1, "{json}");
    for topic in ["a/y z", "none/x"] {
        let deleted = told(&router, &["delete", topic]).await;
        assert!(deleted.status.success(), "{deleted:?}");
        let again = told(&router, &["delete", topic]).await;
        assert!(String::from_utf8_lossy(&again.stderr).contains("has no retained message"), "{again:?}");
    }
    assert_eq!(all(&router).await, pairs(&[("a/x", 1)]));
    let folders = router.stop().await;
    let router = Setup::over(&folders).config(two_logs).start().await;
    assert_eq!(all(&router).await, pairs(&[("a/x", 1)]));
    router.stop().await;
}

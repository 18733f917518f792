//! What is said over a WebSocket by those who keep the rules.

use std::time::Duration;

use serde_json::{Value, json};
use weir::config::LogRule;

use super::wire::{CLOSE, PING, PONG, TEXT, close_code, frame, send, text, websocket};
use super::{OUTCOMES, data, until_connected, with_outcomes};
use crate::harness::{API_KEY, OPEN, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_is_answered_where_an_id_asks_for_it() {
    let router = with_outcomes().start().await;
    let mut client = router.client("a").await;
    for (topic, data, outcome, _) in OUTCOMES {
        let data: Value = serde_json::from_str(data).unwrap();
        let answer = client.publish(topic, data).await;
        assert_eq!(answer["outcome"], outcome, "{topic}: {answer}");
        assert_eq!(answer["ok"], ["accepted", "filtered"].contains(&outcome), "{answer}");
        assert_eq!(answer.get("path").is_some(), topic == "checked", "{answer}");
        assert_eq!(answer.get("reason").is_some(), outcome != "accepted", "{answer}");
    }
    // Without an id, only what went wrong is told.
    for (topic, data) in [("a", json!(1)), ("twice", json!(1)), ("checked", json!({"n": "x"}))] {
        assert!(client.send(&json!({"action": "publish", "topic": topic, "data": data})).await);
    }
    let error = client.event("error").await;
    let expected = json!({"event": "error", "outcome": "invalid", "reason": "must be a number, is a string"});
    assert_eq!(error, expected);
    assert!(client.send(&json!({"action": "subscribe", "topic": "a/#/b"})).await);
    assert_eq!(client.event("error").await["outcome"], "invalid");
    assert!(client.send(&json!({"action": "ping"})).await);
    assert!(client.event("pong").await["time_us"].is_u64());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_ends_the_session_after_its_answer() {
    let router = Setup::open().guest("goodbye").start().await;
    let mut client = router.client("a").await;
    let answer = client.publish("weather", json!(1)).await;
    let (reason, path) = ("nobody talks about weather", "/topic");
    assert_eq!((&answer["reason"], &answer["path"]), (&json!(reason), &json!(path)), "{answer}");
    assert_eq!(client.closed().await, (1008, reason.to_owned()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_ends_with_the_right_to_it() {
    let router = Setup::new().binding("door", OPEN).start().await;
    let mut client = router.client("a").await;
    client.subscribe("a/+").await;
    // From now on the door knows only keys, and this client has shown none.
    router.folders.write("door.toml", API_KEY);
    let ended = client.event("unsubscribed").await;
    assert_eq!(ended["topic"], "a/+", "{ended}");
    assert!(!ended["reason"].as_str().unwrap().is_empty(), "{ended}");
    assert_eq!(client.publish("a/b", json!(1)).await["ok"], false);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_stands_as_it_was_written() {
    let kept = LogRule { name: "kept".into(), topics: vec!["kept/#".into()], ..LogRule::default() };
    let router = Setup::open().config(|config| config.logs = vec![kept]).start().await;
    let mut reader = websocket(router.http).await;
    send(&mut reader, TEXT, br##"{"action":"subscribe","id":"s","topic":"#"}"##).await;
    assert_eq!(text(&mut reader).await, r##"{"id":"s","ok":true,"topic":"#","new":true,"places":{}}"##);
    let mut writer = router.client("sensor-3").await;
    for value in ["{\"x\" : [1, 2],\t\"x\":null, \"y\":1.00}", "-0.0e+10", "\"\\u0041\"", "null"] {
        let frame = format!(r#"{{"action":"publish","topic":"free","data": {value} }}"#);
        assert!(writer.send_text(frame).await);
        let delivery = text(&mut reader).await;
        assert!(delivery.ends_with(&format!(r#","data":{value}}}"#)), "{delivery}");
        let parsed: Value = serde_json::from_str(&delivery).unwrap();
        assert_eq!(parsed["from"], "sensor-3");
        for key in ["log", "epoch", "offset", "message_id", "headers"] {
            assert_eq!(parsed.get(key), None, "{delivery}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_everything_in_order() {
    const MESSAGES: u64 = 1_000;
    let router = Setup::open().start().await;
    let mut readers = Vec::new();
    for name in 0..10 {
        let mut reader = router.client(&format!("reader-{name}")).await;
        reader.subscribe("t").await;
        readers.push(tokio::spawn(async move {
            for n in 0..MESSAGES {
                assert_eq!(data(&reader.message().await), n);
            }
            reader.drain().await
        }));
    }
    let mut writer = router.client("writer").await;
    for burst in 0..MESSAGES / 100 {
        let ids = burst * 100..(burst + 1) * 100;
        let frame = |n| json!({"action": "publish", "id": n, "topic": "t", "data": n});
        assert!(writer.send_all(ids.clone().map(frame)).await);
        for id in ids {
            assert_eq!(writer.next().await["id"], id);
        }
    }
    for reader in readers {
        assert!(reader.await.unwrap().is_empty());
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_between_deliveries() {
    let router = Setup::open().start().await;
    let mut socket = websocket(router.http).await;
    send(&mut socket, PING, &[1, 2, 3]).await;
    assert_eq!(frame(&mut socket).await, Some((PONG, vec![1, 2, 3])));
    send(&mut socket, TEXT, br#"{"action":"subscribe","id":1,"topic":"t"}"#).await;
    text(&mut socket).await;
    for n in 0..50 {
        send(&mut socket, TEXT, br#"{"action":"publish","topic":"t","data":1}"#).await;
        send(&mut socket, PING, &[n]).await;
    }
    let (mut messages, mut last) = (0, None);
    while messages < 50 || last != Some(49) {
        match frame(&mut socket).await {
            Some((PONG, ping)) => {
                assert!(last.is_none_or(|last| last < ping[0]), "{last:?} {ping:?}");
                last = Some(ping[0]);
            }
            Some((TEXT, _)) => messages += 1,
            other => panic!("{other:?}"),
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_is_answered_in_kind_and_leaves_nothing_behind() {
    let router = Setup::open().start().await;
    let with_reason = [&4_001_u16.to_be_bytes()[..], b"bye"].concat();
    for payload in [&with_reason[..], &1_000_u16.to_be_bytes(), b""] {
        let mut socket = websocket(router.http).await;
        send(&mut socket, CLOSE, payload).await;
        assert_eq!(frame(&mut socket).await, Some((CLOSE, payload.to_vec())));
        assert_eq!(frame(&mut socket).await, None);
    }
    // A code that nobody may send.
    let mut socket = websocket(router.http).await;
    send(&mut socket, CLOSE, &1_005_u16.to_be_bytes()).await;
    assert_eq!(close_code(&mut socket).await, 1002);
    // Gone without a word.
    let mut lost = router.client("lost").await;
    lost.subscribe("t").await;
    until_connected(&router, 1).await;
    drop(lost);
    until_connected(&router, 0).await;
    assert!(router.metric("weir_subscriptions").await < 0.5);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_what_was_asked_and_then_closes() {
    let setup = Setup::open().guest("misbehave").config(|config| {
        config.plugin.deadline = Duration::from_secs(1);
        config.plugin.pass_deadline = Duration::from_secs(2);
    });
    let router = setup.start().await;
    let mut client = router.client("a").await;
    let publish = |id: u64, data: &str| json!({"action": "publish", "id": id, "topic": "t", "data": data});
    let frames =
        [publish(1, "loop"), publish(2, "fine"), publish(3, "fine"), json!({"action": "ping", "id": 0})];
    assert!(client.send_all(frames).await);
    // Its answer says that those before it have been taken up; the plugin keeps them for a while.
    let mut answers = vec![client.next().await];
    while answers.last().unwrap()["id"] != 0 {
        answers.push(client.next().await);
    }
    router.begin_stop();
    answers.extend(client.drain_closed().await);
    answers.sort_by_key(|answer| answer["id"].as_u64());
    let outcomes: Vec<_> = answers.iter().map(|answer| answer["outcome"].clone()).collect();
    assert_eq!(outcomes, [Value::Null, json!("plugin-failed"), json!("accepted"), json!("accepted")]);
    assert_eq!(client.closed().await.0, 1001);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_go_to_the_plugin_as_they_were_asked() {
    let router = Setup::open().guest("oracle").start().await;
    let mut client = router.client("a").await;
    let ask = |topic: &str| {
        json!({"action": "query", "plugin": "oracle", "topic": topic, "params": {"x": [1]}, "limit": 7,
               "cursor": "AQL_"})
    };
    let mut answer = client.ask(ask("a/#")).await;
    answer.as_object_mut().unwrap().remove("id");
    let item = json!({"topic": "a/#", "params": {"x": [1]}, "limit": 7});
    assert_eq!(answer, json!({"ok": true, "items": [item], "next": "AQL_"}));
    for (topic, outcome, path) in [
        ("invalid", "invalid", json!("/since")),
        ("unknown", "not-found", Value::Null),
        ("busy", "unavailable", Value::Null),
        ("broken", "plugin-failed", Value::Null),
    ] {
        let failed = client.ask(ask(topic)).await;
        assert_eq!((&failed["outcome"], &failed["path"]), (&json!(outcome), &path), "{failed}");
        assert_eq!(failed["ok"], false);
        assert!(!failed["reason"].as_str().unwrap().contains("is broken"), "its words are the operator's");
    }
    router.stop().await;
}

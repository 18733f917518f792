//! What an answer promises: levels, limits, history and queries.

use serde_json::{Value, json};
use weir::config::LogRule;

use crate::harness::{Client, Setup};

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["data"]["n"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_level_holds_what_it_promises() {
    let router = Setup::open().guest("tally").start().await;
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("t").await;
    for n in 1..=20 {
        let level = ["routed", "logged", "stored"][n % 3];
        let answer = writer.publish_at(level, "t", json!({"n": n})).await;
        assert_eq!((&answer["outcome"], &answer["level"]), (&json!("accepted"), &json!(level)), "{answer}");
        assert_eq!(answer["note"], Value::Null, "{answer}");
        match level {
            // It was queued for every subscriber before the answer.
            "routed" => {
                let heard = reader.drain().await;
                assert_eq!(heard.last().unwrap()["data"]["n"], n);
            }
            "logged" => assert_eq!(reader.history("t").await.len(), n),
            _ => {
                let answer = reader.ask(json!({"action": "query", "plugin": "tally", "topic": "t"})).await;
                assert_eq!(answer["items"][0]["last"], n, "{answer}");
            }
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_is_not_reached_comes_with_the_reason() {
    let kept = LogRule { name: "kept".into(), topics: vec!["kept/#".into()], ..LogRule::default() };
    let router = Setup::open().guest("tally").config(|config| config.logs = vec![kept]).start().await;
    let mut client = router.client("writer").await;
    let answer = client.publish_at("logged", "free/a", json!({"n": 1})).await;
    assert_eq!((&answer["outcome"], &answer["level"]), (&json!("accepted"), &json!("routed")), "{answer}");
    assert!(answer["note"].as_str().unwrap().contains("no log"), "{answer}");
    assert_eq!(answer["messages"][0].get("offset"), None, "{answer}");
    // What can never be stored is set aside, and that is said.
    let answer = client.publish_at("stored", "kept/a", json!("no number")).await;
    assert_eq!((&answer["outcome"], &answer["level"]), (&json!("accepted"), &json!("logged")), "{answer}");
    assert_eq!(
        answer["note"], "in the log, but plugin tally has set it aside: tally wants {\"n\":NUMBER}",
        "{answer}"
    );
    let answer = client.publish_at("stored", "kept/a", json!({"n": 1})).await;
    assert_eq!((&answer["level"], &answer["note"]), (&json!("stored"), &Value::Null), "{answer}");
    assert!((router.metric("weir_dead_letters_total").await - 1.0).abs() < 0.1);
    // A storage plugin that does not keep up is named.
    let answer = client.publish_at("stored", "kept/a", json!("stuck")).await;
    assert_eq!((&answer["outcome"], &answer["level"]), (&json!("accepted"), &json!("logged")), "{answer}");
    assert!(answer["note"].as_str().unwrap().contains("tally"), "{answer}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_too_fast_is_told_when_to_try_again() {
    let router = Setup::open().config(|config| config.limits.publishes_per_s = 5).start().await;
    let (mut writer, mut other) = (router.client("writer").await, router.client("other").await);
    let mut refused = Vec::new();
    // Not even this machine takes four seconds for 25 messages that are not waited for.
    let frame = |n| json!({"action": "publish", "id": n, "topic": "a", "data": n});
    assert!(writer.send_all((0..25).map(frame)).await);
    for _ in 0..25 {
        let answer = writer.next().await;
        match answer["outcome"].as_str().unwrap() {
            "accepted" => {}
            "rate-limited" => refused.push(answer["retry_after_ms"].as_u64().unwrap()),
            other => panic!("{other}"),
        }
    }
    assert!(!refused.is_empty() && refused.iter().all(|wait| (1..=200).contains(wait)), "{refused:?}");
    assert_eq!(other.publish("a", json!(1)).await["outcome"], "accepted", "each client has its own rate");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused_and_the_limit_named() {
    let router = Setup::open()
        .config(|config| {
            config.limits.message_bytes = 1_000;
            config.limits.request_bytes = 4_000;
            config.limits.requests_messages = 3;
            config.limits.subscriptions_per_session = 2;
        })
        .start()
        .await;
    let mut client = router.client("a").await;
    let text = |bytes: usize| json!({"action": "publish", "topic": "a", "text": "x".repeat(bytes)});
    assert_eq!(client.ask(text(1_000)).await["outcome"], "accepted");
    let refused = client.ask(text(1_001)).await;
    assert_eq!((&refused["ok"], &refused["outcome"]), (&json!(false), &json!("too-large")));
    assert!(refused["reason"].as_str().unwrap().contains("1000"), "{refused}");
    client.subscribe("a").await;
    client.subscribe("b").await;
    let refused = client.ask(json!({"action": "subscribe", "topic": "c"})).await;
    assert!(
        refused["outcome"] == "invalid" && refused["reason"].as_str().unwrap().contains('2'),
        "{refused}"
    );
    let post = async |body: &str| {
        let answer = router.http("POST", "/v1/publish", &[], body).await;
        (answer.status, answer.json["outcome"].clone())
    };
    assert_eq!(
        post(&json!({"topic": "a", "text": "x".repeat(1_001)}).to_string()).await,
        (413, json!("too-large"))
    );
    assert_eq!(
        post(&json!({"topic": "a", "text": "x".repeat(4_000)}).to_string()).await,
        (413, json!("too-large"))
    );
    assert_eq!(
        post(
            r#"[{"topic":"a","data":1},{"topic":"a","data":1},{"topic":"a","data":1},{"topic":"a","data":1}]"#
        )
        .await,
        (413, json!("too-large"))
    );
    // A frame that no message fits into is not read to its end.
    assert!(client.send_text("x".repeat(20_000)).await);
    assert_eq!(client.closed().await.0, 1009);
    router.stop().await;
}

/// All pages, and how many they were.
async fn pages(client: &mut Client, frame: &mut Value) -> (Vec<u64>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = client.ask(frame.clone()).await;
        assert_eq!((&page["ok"], &page["recovered"]), (&json!(true), &json!(true)), "{page}");
        let messages = page["messages"].as_array().unwrap();
        assert!(messages.len() as u64 <= frame["limit"].as_u64().unwrap());
        seen.extend(numbers(messages));
        frame["since"] = page["next"].clone();
        pages += 1;
        if page["more"] == false {
            return (seen, pages);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_paged_in_both_directions() {
    let router = Setup::open().start().await;
    let mut client = router.client("a").await;
    for n in 1..=25 {
        let topic = if n % 5 == 0 { "other" } else { "t/a" };
        assert_eq!(client.publish_at("logged", topic, json!({"n": n})).await["outcome"], "accepted");
    }
    let expected: Vec<u64> = (1..=25).filter(|n| n % 5 != 0).collect();
    let mut forwards = json!({"action": "history", "topic": "t/#", "limit": 6});
    let (seen, number) = pages(&mut client, &mut forwards).await;
    assert_eq!(seen, expected);
    assert!(number >= 4, "{number} pages");
    let mut backwards = json!({"action": "history", "topic": "t/#", "limit": 6, "reverse": true});
    let (seen, _) = pages(&mut client, &mut backwards).await;
    assert_eq!(seen, expected.into_iter().rev().collect::<Vec<_>>());
    // Who has read everything goes on where new messages come.
    client.publish_at("logged", "other", json!({"n": 100})).await;
    client.publish_at("logged", "t/a", json!({"n": 101})).await;
    assert_eq!(pages(&mut client, &mut forwards).await.0, [101]);
    assert!(pages(&mut client, &mut backwards).await.0.is_empty());
    // A place that never was cannot be resumed from.
    let page = client
        .ask(json!({"action": "history", "topic": "#", "since": {"default": {"epoch": 1, "offset": 1_000_000}}}))
        .await;
    assert_eq!(
        (&page["recovered"], numbers(page["messages"].as_array().unwrap()).len()),
        (&json!(false), 27),
        "{page}"
    );
    for wrong in [
        json!({"limit": 0}),
        json!({"limit": 1001}),
        json!({"log": "nowhere"}),
        json!({"since": {"default": {"epoch": 1}}}),
        json!({"since": {"nowhere": {"epoch": 1, "offset": 1}}}),
    ] {
        let mut frame = json!({"action": "history", "topic": "#"});
        frame.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(client.ask(frame.clone()).await["outcome"], "invalid", "{frame}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_answer_what_is_stored_or_say_why_not() {
    let router = Setup::keyed().guest("tally").binding("tally", "topics = [\"mine/#\"]\n").start().await;
    let (key, _) = router.key("mine", &["#"], &["mine/#"], "").await;
    let mut client = router.keyed(&key).await;
    for n in [3, 4] {
        client.publish_at("stored", "mine/a", json!({"n": n})).await;
    }
    client.publish_at("stored", "yours/a", json!({"n": 5})).await;
    let query = |plugin: &str, topic: &str| json!({"action": "query", "plugin": plugin, "topic": topic});
    let answer = client.ask(query("tally", "mine/a")).await;
    assert_eq!(answer["items"], json!([{"count": 2, "sum": 7, "last": 4, "disorder": 0}]), "{answer}");
    for (plugin, topic, outcome, status) in [
        ("tally", "mine/b", "not-found", 404),
        ("nobody", "mine/a", "not-found", 404),
        ("tally", "yours/a", "denied", 403),
        ("tally", "#", "denied", 403),
    ] {
        let answer = client.ask(query(plugin, topic)).await;
        assert_eq!(
            (&answer["ok"], &answer["outcome"]),
            (&json!(false), &json!(outcome)),
            "{plugin} {topic}: {answer}"
        );
        let path = format!("/v1/query/{plugin}?topic={}", topic.replace('#', "%23"));
        let answer = router.http("GET", &path, &[("x-api-key", &key)], "").await;
        assert_eq!((answer.status, &answer.json["outcome"]), (status, &json!(outcome)), "{plugin} {topic}");
    }
    router.stop().await;
}

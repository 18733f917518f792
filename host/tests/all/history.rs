//! History of several logs, read as one.

use serde_json::{Value, json};
use weir::config::{Config, LogRule};

use crate::harness::{Client, Events, Setup};

fn three_logs(config: &mut Config) {
    let rule = |name: &str, topics: &str| LogRule {
        name: name.to_owned(),
        topics: vec![topics.to_owned()],
        ..LogRule::default()
    };
    config.logs = vec![rule("a", "a/#"), rule("b", "b/#"), rule("rest", "#")];
}

fn numbers(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|message| message["data"].as_u64().unwrap()).collect()
}

/// All pages, each beginning where the one before says.
async fn pages(client: &mut Client, mut frame: Value) -> (Vec<u64>, Value) {
    let mut all = Vec::new();
    loop {
        let page = client.ask(frame.clone()).await;
        assert_eq!((&page["ok"], &page["recovered"]), (&json!(true), &json!(true)), "{page}");
        assert!(numbers(&page).len() as u64 <= frame["limit"].as_u64().unwrap());
        all.extend(numbers(&page));
        frame["since"] = page["next"].clone();
        if page["more"] == false {
            return (all, page["next"].clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_logs_are_merged_by_time_in_both_directions() {
    let router = Setup::open().config(three_logs).start().await;
    let mut client = router.client("a").await;
    let all = json!({"action": "history", "topic": "#", "limit": 7});
    let empty = client.ask(all.clone()).await;
    assert_eq!((&empty["next"], &empty["more"]), (&json!({}), &json!(false)), "{empty}");
    let topics = ["a/x", "b/x", "c/x", "a/y", "a/x"];
    for n in 0..100 {
        client.publish_at("logged", topics[n % 5], json!(n)).await;
    }
    let of =
        |wanted: &[usize]| (0..100).filter(|n| wanted.contains(&(*n as usize % 5))).collect::<Vec<u64>>();
    let (forwards, next) = pages(&mut client, all.clone()).await;
    assert_eq!(forwards, of(&[0, 1, 2, 3, 4]));
    let mut backwards = all.clone();
    backwards["reverse"] = json!(true);
    assert_eq!(pages(&mut client, backwards).await.0, forwards.iter().rev().copied().collect::<Vec<_>>());
    for (change, expected) in [
        (json!({"topic": "+/x"}), of(&[0, 1, 2, 4])),
        (json!({"topic": "a/#"}), of(&[0, 3, 4])),
        (json!({"topic": "b/x"}), of(&[1])),
        (json!({"log": "a"}), of(&[0, 3, 4])),
        (json!({"log": "a", "topic": "b/#"}), vec![]),
        (json!({"since": "now"}), vec![]),
    ] {
        let mut frame = all.clone();
        frame.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(pages(&mut client, frame.clone()).await.0, expected, "{frame}");
    }
    // Who has read everything goes on with what comes, in whichever log.
    for (n, topic) in [(100, "c/x"), (101, "a/x"), (102, "b/x")] {
        client.publish_at("logged", topic, json!(n)).await;
    }
    let mut frame = all.clone();
    frame["since"] = next.clone();
    assert_eq!(pages(&mut client, frame).await.0, [100, 101, 102]);
    // A log that is not named is read from its oldest message; one that there is not, is refused.
    let some = json!({"a": next["a"], "b": next["b"]});
    let mut frame = json!({"action": "history", "topic": "#", "limit": 2, "since": some});
    assert_eq!(numbers(&client.ask(frame.clone()).await), [2, 7]);
    frame["since"] = json!({"nowhere": next["a"]});
    let answer = client.ask(frame).await;
    assert_eq!(answer["reason"], "no log is named \"nowhere\": there are a, b, rest", "{answer}");
    let text: Vec<_> =
        ["a", "b", "rest"].map(|log| format!("{log}:{}:{}", next[log]["epoch"], next[log]["offset"])).into();
    let path = format!("/v1/history?client_id=a&topic=%23&since={}", text.join(","));
    assert_eq!(numbers(&router.http("GET", &path, &[], "").await.json), [100, 101, 102]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_gone_in_one_log_is_named() {
    let router = Setup::open().config(three_logs).start().await;
    let mut client = router.client("a").await;
    let mut places = json!({});
    for (n, topic) in ["a/x", "b/x"].into_iter().enumerate() {
        let answer = client.publish_at("logged", topic, json!(n)).await;
        let place = &answer["messages"][0];
        places[place["log"].as_str().unwrap()] = json!({"epoch": place["epoch"], "offset": place["offset"]});
    }
    let good = places["b"].clone();
    places["b"]["offset"] = json!(1_000);
    let page = client.ask(json!({"action": "history", "topic": "#", "since": places})).await;
    assert_eq!((&page["recovered"], &page["oldest"]), (&json!(false), &json!({"b": good})), "{page}");
    assert_eq!(numbers(&page), [1]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_messages_are_left_out_of_history_and_replays() {
    let router = Setup::open().start().await;
    let mut client = router.client("a").await;
    for n in 0..6 {
        let mut frame = json!({"action": "publish", "topic": "t", "data": n, "level": "logged"});
        if n % 2 == 0 {
            frame["expires_in_ms"] = json!(1);
        }
        assert_eq!(client.ask(frame).await["outcome"], "accepted");
    }
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    for reverse in [false, true] {
        let frame = json!({"action": "history", "topic": "t", "reverse": reverse, "limit": 3});
        let mut found = numbers(&client.ask(frame).await);
        found.sort_unstable();
        assert_eq!(found, [1, 3, 5]);
    }
    client.ask(json!({"action": "subscribe", "topic": "t", "since": "start"})).await;
    for n in [1, 3, 5] {
        assert_eq!(client.message().await["data"], n);
    }
    client.event("caught-up").await;
    let mut events = Events::open(router.http, "?topic=t&since=start", &[]).await;
    events.event("subscribed").await;
    for n in [1, 3, 5] {
        assert_eq!(events.event("message").await.data["data"], n);
    }
    events.event("caught-up").await;
    router.stop().await;
}

//! Who may publish and subscribe where, whatever plugins make of a message.

use serde_json::{Value, json};

use crate::harness::{Client, Router, Setup};

/// A key's connection that may write to `mine/#`, and one that reads all.
async fn writer_and_reader(router: &Router) -> (Client, Client) {
    let (key, _) = router.key("writer", &["mine/#"], &["mine/#"], "").await;
    let (all, _) = router.key("reader", &[], &["#"], "").await;
    let (writer, mut reader) = (router.keyed(&key).await, router.keyed(&all).await);
    reader.subscribe("#").await;
    (writer, reader)
}

fn outcome(answer: &Value) -> &str {
    answer["outcome"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_publish_reaches_nobody_and_is_answered() {
    let router = Setup::keyed().start().await;
    let (mut writer, mut reader) = writer_and_reader(&router).await;
    let denied = writer.publish("yours/a", json!(1)).await;
    assert_eq!((&denied["ok"], outcome(&denied)), (&json!(false), "denied"), "{denied}");
    assert!(denied["reason"].as_str().unwrap().contains("yours/a"), "{denied}");
    assert_eq!(outcome(&writer.publish_at("logged", "mine/a", json!(2)).await), "accepted");
    let first = reader.message().await;
    assert_eq!(
        (&first["topic"], &first["data"], &first["from"]),
        (&json!("mine/a"), &json!(2), &json!("writer"))
    );
    assert!(reader.drain().await.is_empty());
    let logged: Vec<_> = reader.history("#").await.iter().map(|message| message["topic"].clone()).collect();
    assert_eq!(logged, ["mine/a"], "nothing of it is in the log either");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_needs_the_right_to_its_whole_pattern() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("page", &["#"], &["mine/+/temperature"], "").await;
    let mut page = router.keyed(&key).await;
    for pattern in ["#", "+/a/temperature", "mine/#", "mine/+/+", "yours/a/temperature", "$SYS/#"] {
        let answer = page.ask(json!({"action": "subscribe", "topic": pattern})).await;
        assert_eq!((&answer["ok"], outcome(&answer)), (&json!(false), "denied"), "{pattern}: {answer}");
        let answer = page.ask(json!({"action": "history", "topic": pattern})).await;
        assert_eq!(outcome(&answer), "denied", "{pattern}: {answer}");
    }
    page.subscribe("mine/+/temperature").await;
    page.subscribe("mine/a/temperature").await;
    for (topic, seen) in
        [("mine/a/humidity", false), ("yours/a/temperature", false), ("mine/a/temperature", true)]
    {
        assert_eq!(outcome(&page.publish(topic, json!(topic)).await), "accepted");
        let heard: Vec<_> = page.drain().await.iter().map(|message| message["topic"].clone()).collect();
        assert_eq!(heard, if seen { vec![json!(topic)] } else { vec![] });
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_the_router_itself_are_nobodys_to_write() {
    let router = Setup::open().start().await;
    let mut client = router.client("a").await;
    let mut reader = router.client("b").await;
    reader.subscribe("#").await;
    reader.subscribe("+/x").await;
    for topic in ["$SYS/x", "$x", "$"] {
        assert_eq!(outcome(&client.publish(topic, json!(1)).await), "denied", "{topic}");
    }
    for topic in ["a/+", "a/#", "", "a\0b"] {
        assert_eq!(outcome(&client.publish(topic, json!(1)).await), "invalid", "{topic:?}");
    }
    assert_eq!(outcome(&client.publish("a/x", json!("end")).await), "accepted");
    assert_eq!(reader.message().await["data"], "end");
    router.stop().await;
}

/// The guest `reroute` sends where the payload says.
fn to(topics: &[&str], how: &str) -> Value {
    json!({"to": topics, "how": how})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_cannot_reach_what_its_publisher_may_not() {
    let router = Setup::keyed().guest("reroute").start().await;
    let (mut writer, mut reader) = writer_and_reader(&router).await;
    for (topics, how) in [
        (vec!["yours/a"], "replace"),
        (vec!["yours/a"], "add"),
        (vec!["mine/b", "yours/a"], "replace"),
        (vec!["mine/b", "mine/c", "yours/a", "mine/d"], "add"),
        (vec!["$SYS/a"], "replace"),
    ] {
        let denied = writer.publish("mine/a", to(&topics, how)).await;
        assert_eq!(outcome(&denied), "denied", "{topics:?} {how}: {denied}");
    }
    let accepted = writer.publish_at("logged", "mine/a", to(&["mine/b"], "add")).await;
    assert_eq!(outcome(&accepted), "accepted", "{accepted}");
    let topics: Vec<_> =
        accepted["messages"].as_array().unwrap().iter().map(|m| m["topic"].clone()).collect();
    assert_eq!(topics, ["mine/a", "mine/b"]);
    // Of all those before, nobody got anything, not even the parts that were allowed.
    for topic in ["mine/a", "mine/b"] {
        assert_eq!(reader.message().await["topic"], topic);
    }
    assert!(reader.drain().await.is_empty());
    assert_eq!(reader.history("#").await.len(), 2);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transform_with_emit_reaches_just_that() {
    let router = Setup::keyed().guest("reroute").binding("reroute", "emit = [\"yours/+\"]\n").start().await;
    let (mut writer, mut reader) = writer_and_reader(&router).await;
    assert_eq!(
        outcome(&writer.publish("yours/a", to(&["mine/a"], "add")).await),
        "denied",
        "emit is no right to publish"
    );
    assert_eq!(outcome(&writer.publish("mine/a", to(&["yours/a/b"], "add")).await), "denied");
    assert_eq!(outcome(&writer.publish("mine/a", to(&["yours/a"], "replace")).await), "accepted");
    let message = reader.message().await;
    assert_eq!((&message["topic"], &message["from"]), (&json!("yours/a"), &json!("writer")));
    assert!(reader.drain().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sender_is_who_has_the_key_whatever_publishers_and_plugins_say() {
    let router = Setup::keyed().guest("forge").start().await;
    let (mut writer, mut reader) = writer_and_reader(&router).await;
    let before = writer.ask(json!({"action": "ping"})).await["time_us"].as_u64().unwrap();
    let frame = json!({"action": "publish", "topic": "mine/a", "data": {"from": "admin"},
                       "headers": {"from": "admin", "name": "admin"}, "message_id": "from: admin"});
    assert_eq!(outcome(&writer.ask(frame).await), "accepted");
    let message = reader.message().await;
    assert_eq!(message["from"], "writer", "{message}");
    assert!(message["time_us"].as_u64().unwrap() >= before, "{message}");
    assert_eq!(
        message["content_type"], "text/x-forged",
        "what belongs to the publisher, a transform may change"
    );
    let refused =
        writer.ask(json!({"action": "publish", "topic": "mine/a", "data": 1, "from": "admin"})).await;
    assert!(
        outcome(&refused) == "invalid" && refused["reason"].as_str().unwrap().contains("from"),
        "{refused}"
    );
    router.stop().await;
}

//! State of plugins: a pass is one transaction, over all shards, and over restarts.

use serde_json::{Value, json};

use crate::harness::{Router, Setup};

const PUBLISHERS: usize = 8;
const EACH: usize = 100;

/// Publishers of different names, so that they are spread over the shards, each sending all at once.
async fn hammer(router: &Router) -> Vec<Value> {
    let publishers = (0..PUBLISHERS).map(async |number| {
        let mut client = router.client(&format!("publisher-{number}")).await;
        let frame = |n| json!({"action": "publish", "id": n, "topic": "hot", "data": n});
        assert!(client.send_all((0..EACH).map(frame)).await);
        let mut answers = Vec::new();
        for _ in 0..EACH {
            answers.push(client.next().await);
        }
        answers
    });
    futures_util::future::join_all(publishers).await.concat()
}

async fn count(router: &Router) -> String {
    let answer = router.client("asker").await.publish("hot", json!("?")).await;
    assert_eq!(answer["outcome"], "filtered", "{answer}");
    answer["reason"].as_str().unwrap().to_owned()
}

fn with(outcome: &str, answers: &[Value]) -> usize {
    answers.iter().filter(|answer| answer["outcome"] == outcome).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_that_fight_for_one_key_lose_no_count() {
    for by_hand in [false, true] {
        let binding = format!("[config]\nlimit = 500\nby_hand = {by_hand}\n");
        let setup = Setup::open().guest("counter").binding("counter", &binding);
        let router = setup.config(|config| config.shards = 4).start().await;
        let answers = hammer(&router).await;
        let outcomes = (with("accepted", &answers), with("filtered", &answers));
        assert_eq!(outcomes, (500, PUBLISHERS * EACH - 500), "by hand: {by_hand}");
        assert_eq!(count(&router).await, (PUBLISHERS * EACH).to_string());
        let folders = router.stop().await;
        let router = Setup::over(&folders).start().await;
        assert_eq!(count(&router).await, (PUBLISHERS * EACH).to_string(), "after a restart");
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_by_a_later_stage_is_no_duplicate_when_he_tries_again() {
    let check =
        "plugin = \"stock:json-check\"\norder = 20\n[[config.fields]]\npath = \"/n\"\ntype = \"number\"\n";
    let router = Setup::keyed()
        .binding("dedupe", "plugin = \"stock:dedupe\"\norder = 10\n")
        .binding("check", check)
        .guest("reroute")
        .start()
        .await;
    let (key, _) = router.key("sensor", &["mine/#"], &[], "").await;
    let mut sensor = router.keyed(&key).await;
    let mut publish = async |id: &str, data: Value| {
        let frame = json!({"action": "publish", "topic": "mine/a", "message_id": id, "data": data});
        sensor.ask(frame).await["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(publish("m-1", json!({"n": "seven"})).await, "invalid");
    assert_eq!(publish("m-1", json!({"n": 7})).await, "accepted");
    assert_eq!(publish("m-1", json!({"n": 7})).await, "filtered");
    // Denied after all plugins have been called.
    assert_eq!(publish("m-2", json!({"n": 7, "to": ["yours/a"], "how": "add"})).await, "denied");
    assert_eq!(publish("m-2", json!({"n": 7, "to": ["mine/b"], "how": "add"})).await, "accepted");
    assert_eq!(publish("m-2", json!({"n": 7})).await, "filtered");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_wrote_before_it_failed_is_gone() {
    // Counted first, then trapped in the next filter: the count must not move.
    let router = Setup::open()
        .guest("counter")
        .binding("counter", "order = 1\n[config]\nlimit = 1000\n")
        .guest("misbehave")
        .binding("misbehave", "order = 2\n")
        .start()
        .await;
    let mut client = router.client("a").await;
    assert_eq!(client.publish("hot", json!("fine")).await["outcome"], "accepted");
    assert_eq!(client.publish("hot", json!("panic")).await["outcome"], "plugin-failed");
    assert_eq!(client.publish("hot", json!("fine")).await["outcome"], "accepted");
    assert_eq!(count(&router).await, "2");
    router.stop().await;
}

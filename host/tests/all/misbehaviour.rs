//! Plugins that do what they must not: each costs the message that made it do so, and nothing else.

use serde_json::{Value, json};
use weir::store::{Store, StoreOptions};

use crate::harness::{Client, Router, Setup, eventually};
use crate::policies::POLICIES;

async fn misbehaving() -> Router {
    Setup::open().guest("misbehave").binding("misbehave", POLICIES).start().await
}

async fn publish(client: &mut Client, topic: &str, what: &str) -> Value {
    client.publish(topic, json!(what)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_tried_once_more_and_its_words_are_in_the_dead_letter() {
    let router = misbehaving().await;
    let mut client = router.client("writer").await;
    assert_eq!(publish(&mut client, "dead-letter", "panic").await["outcome"], "dead-lettered");
    assert_eq!(router.calls("dead-letter", "trap").await, 2);
    assert!((router.metric("weir_dead_letters_total").await - 1.0).abs() < 0.1);
    let folders = router.stop().await;
    let store = Store::open(&folders.data(), StoreOptions::default()).unwrap();
    let letters = store.load_space("$dead-letters").unwrap();
    assert_eq!(letters.len(), 1);
    let letter = String::from_utf8_lossy(&letters[0].value).into_owned();
    for part in ["dead-letter", "\"panic\"", "misbehave panics on dead-letter", "trapped"] {
        assert!(letter.contains(part), "{part:?} in {letter:?}");
    }
    store.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_plugin_does_ends_and_the_next_message_goes_through() {
    let router = misbehaving().await;
    let mut client = router.client("writer").await;
    let (mut traps, mut errors) = (0, 0);
    for (what, end, times) in [
        ("panic", "trap", 2),
        ("allocate", "memory", 2),
        ("sleep", "trap", 2),
        ("recurse", "trap", 2),
        ("flood", "trap", 2),
        ("unavailable", "error", 2),
        ("internal", "error", 1),
        // A missed deadline is not tried again.
        ("loop", "timeout", 1),
    ] {
        let answer = publish(&mut client, "deny", what).await;
        assert_eq!(answer["outcome"], "plugin-failed", "{what}: {answer}");
        let expected = match end {
            "trap" => {
                traps += times;
                traps
            }
            "error" => {
                errors += times;
                errors
            }
            _ => times,
        };
        assert_eq!(router.calls("deny", end).await, expected, "{what}");
        assert_eq!(publish(&mut client, "deny", "fine").await["outcome"], "accepted", "after {what}");
    }
    // Much talk is no crime; it is cut off on its way to the log.
    assert_eq!(publish(&mut client, "deny", "chatter").await["outcome"], "accepted");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_on_one_shard_holds_up_nobody_on_another() {
    let setup = Setup::open().guest("misbehave").config(|config| {
        config.shards = 8;
        config.plugin.deadline = std::time::Duration::from_secs(5);
        config.plugin.pass_deadline = std::time::Duration::from_secs(6);
    });
    let router = setup.start().await;
    let mut looper = router.client("looper").await;
    assert!(looper.send(&json!({"action": "publish", "id": 1, "topic": "a", "data": "loop"})).await);
    // Of 16 names, most live on other shards: they are answered before the loop is stopped.
    let mut others = Vec::new();
    for name in 0..16 {
        let mut other = router.client(&format!("other-{name}")).await;
        others.push(tokio::spawn(async move { other.publish("b", json!("fine")).await }));
    }
    let stopped = looper.next().await;
    assert_eq!(stopped["outcome"], "plugin-failed", "{stopped}");
    let before = others.iter().filter(|other| other.is_finished()).count();
    assert!(before >= 8, "{before} of 16 were answered while one shard was busy");
    for other in others {
        assert_eq!(other.await.unwrap()["outcome"], "accepted");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_times_out_twice_is_left_alone_for_a_while_and_then_tried_again() {
    let router = misbehaving().await;
    let mut client = router.client("writer").await;
    for _ in 0..2 {
        assert_eq!(publish(&mut client, "deny", "loop").await["outcome"], "plugin-failed");
    }
    assert_eq!(publish(&mut client, "deny", "fine").await["outcome"], "plugin-failed", "the breaker is open");
    assert_eq!(router.calls("deny", "skipped").await, 1);
    // The policy holds for what is not called, and nobody else's breaker is open.
    assert_eq!(publish(&mut client, "drop", "fine").await["outcome"], "accepted");
    eventually("the breaker closes", async || {
        let mut probe = router.client("probe").await;
        let answer = publish(&mut probe, "deny", "fine").await;
        Some(()).filter(|()| answer["outcome"] == "accepted")
    })
    .await;
    assert_eq!(router.calls("deny", "timeout").await, 2, "what was not called did not time out");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_traps_at_every_message_gets_new_instances_at_a_bounded_rate() {
    let router = misbehaving().await;
    let mut client = router.client("writer").await;
    let mut poison = 0;
    while router.calls("deny", "skipped").await == 0 {
        for _ in 0..10 {
            assert_eq!(publish(&mut client, "deny", "panic").await["outcome"], "plugin-failed");
        }
        poison += 10;
        assert!(poison < 1_000, "instances have no end");
        assert_eq!(
            publish(&mut client, "drop", "fine").await["outcome"],
            "accepted",
            "others are not held up"
        );
    }
    eventually("it is called again", async || {
        let mut probe = router.client("probe").await;
        let answer = publish(&mut probe, "deny", "fine").await;
        Some(()).filter(|()| answer["outcome"] == "accepted")
    })
    .await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_sees_nothing_of_the_world_outside() {
    let router = Setup::open().guest("snoop").start().await;
    let (mut client, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("t").await;
    assert_eq!(publish(&mut client, "t", "x").await["outcome"], "accepted");
    let seen = reader.message().await["data"].clone();
    let nothing = json!({"arguments": 0, "variables": 0, "readable": 0, "written": false, "input": 0});
    assert_eq!(seen, nothing);
    router.stop().await;
}

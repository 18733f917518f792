//! Plugins that do what they must not: each costs the message that made it do so, and nothing else.

use serde_json::{Value, json};
use weir::store::{Store, StoreOptions};

use crate::harness::{Client, Router, Setup};

/// The guest `misbehave` under each policy, on a topic of the policy's name.
const POLICIES: &str = "\
[[binding]]\nname = \"deny\"\ntopics = [\"deny\"]\non-error = \"deny\"\n
[[binding]]\nname = \"pass\"\ntopics = [\"pass\"]\non-error = \"pass\"\n
[[binding]]\nname = \"drop\"\ntopics = [\"drop\"]\non-error = \"drop\"\n
[[binding]]\nname = \"dead-letter\"\ntopics = [\"dead-letter\"]\non-error = \"dead-letter\"\n
[[binding]]\nname = \"disconnect\"\ntopics = [\"disconnect\"]\non-error = \"disconnect\"\n";

async fn misbehaving() -> Router {
    Setup::open().guest("misbehave").binding("misbehave", POLICIES).start().await
}

async fn publish(client: &mut Client, topic: &str, what: &str) -> Value {
    client.publish(topic, json!(what)).await
}

/// Calls of a binding that ended so.
async fn calls(router: &Router, plugin: &str, end: &str) -> u64 {
    let text = router.admin("GET", "/metrics", "").await.text;
    let (plugin, end) = (format!("plugin=\"{plugin}\""), format!("end=\"{end}\""));
    let line = text
        .lines()
        .find(|line| line.contains("plugin_calls") && line.contains(&plugin) && line.contains(&end));
    line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_has_its_outcome() {
    let router = misbehaving().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let mut client = router.client("writer").await;
    for (topic, outcome, ok) in [
        ("deny", "plugin-failed", false),
        ("pass", "accepted", true),
        ("drop", "filtered", true),
        ("dead-letter", "dead-lettered", false),
        ("disconnect", "plugin-failed", false),
    ] {
        let answer = publish(&mut client, topic, "panic").await;
        assert_eq!((&answer["outcome"], &answer["ok"]), (&json!(outcome), &json!(ok)), "{topic}: {answer}");
        if outcome == "plugin-failed" {
            assert!(answer["reason"].as_str().unwrap().contains(topic), "it names the plugin: {answer}");
            assert!(
                !answer.to_string().contains("misbehave panics"),
                "its words are the operator's: {answer}"
            );
        }
    }
    let (code, reason) = client.closed().await;
    assert!(code == 1011 && reason.contains("disconnect"), "{code} {reason}");
    let mut client = router.client("writer").await;
    for topic in ["deny", "pass", "drop", "dead-letter", "disconnect"] {
        assert_eq!(publish(&mut client, topic, "fine").await["outcome"], "accepted", "{topic}");
    }
    let heard: Vec<_> =
        reader.drain().await.iter().map(|m| (m["topic"].clone(), m["data"].clone())).collect();
    let expected = [
        ("pass", "panic"),
        ("deny", "fine"),
        ("pass", "fine"),
        ("drop", "fine"),
        ("dead-letter", "fine"),
        ("disconnect", "fine"),
    ];
    assert_eq!(heard, expected.map(|(topic, data)| (json!(topic), json!(data))));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_tried_once_more_and_its_words_are_in_the_dead_letter() {
    let router = misbehaving().await;
    let mut client = router.client("writer").await;
    assert_eq!(publish(&mut client, "dead-letter", "panic").await["outcome"], "dead-lettered");
    assert_eq!(calls(&router, "dead-letter", "trap").await, 2);
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
        ("allocate", "trap", 2),
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
        assert_eq!(calls(&router, "deny", end).await, expected, "{what}");
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

//! New code over old state: migrated on a copy while those who need it wait, or not at all; and the way back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::harness::{Client, Reach, Router, Setup, eventually, wasm};

const PUBLISHERS: usize = 6;
/// Publishes on their way at once, per publisher.
const WINDOW: usize = 8;
/// More than any test counts.
const COUNTER: &str = "topics = [\"hot\"]\n[config]\nlimit = 1000000000\n";

/// Publishes until it is told to stop. Returns how many were accepted: all of them.
async fn publisher(mut client: Client, stop: Arc<AtomicBool>, counted: Arc<AtomicUsize>) -> usize {
    let (mut sent, mut open) = (0, 0);
    loop {
        while open < WINDOW && !stop.load(Ordering::Relaxed) {
            let frame = json!({"action": "publish", "id": sent, "topic": "hot", "data": sent});
            assert!(client.send(&frame).await);
            (sent, open) = (sent + 1, open + 1);
        }
        if open == 0 {
            return sent;
        }
        let answer = client.next().await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        counted.fetch_add(1, Ordering::Relaxed);
        open -= 1;
    }
}

/// What the plugin has counted.
async fn count(reach: &Reach) -> String {
    let answer = reach.client("asker").await.publish("hot", json!("?")).await;
    assert_eq!(answer["outcome"], "filtered", "{answer}");
    answer["reason"].as_str().unwrap().to_owned()
}

async fn publish(reach: &Reach, times: usize) {
    let mut client = reach.client("one").await;
    for number in 0..times {
        assert_eq!(client.publish_at("logged", "hot", json!(number)).await["outcome"], "accepted");
    }
}

async fn rollback(reach: &Reach) -> (u16, String) {
    let answer = reach.admin("POST", "/v1/plugins/counter/rollback", "").await;
    let said = answer.json["done"].as_str().or_else(|| answer.json["reason"].as_str());
    (answer.status, said.unwrap().to_owned())
}

async fn start() -> Router {
    let setup = Setup::open().guest("counter").binding("counter", COUNTER);
    setup.config(|config| config.shards = 3).start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_count_is_lost_and_the_way_back_leads_to_what_was_saved() {
    let router = start().await;
    let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        let client = router.client(&format!("publisher-{number}")).await;
        publishers.push(tokio::spawn(publisher(client, Arc::clone(&stop), Arc::clone(&counted))));
    }
    let more = async |most: usize| {
        let wanted = counted.load(Ordering::Relaxed) + most;
        let enough = async || (counted.load(Ordering::Relaxed) >= wanted).then_some(());
        eventually("more is counted", enough).await;
    };
    more(200).await;
    router.folders.replace("counter.wasm", &wasm("counter-v2"));
    router.until_live("counter", "counter-v2").await;
    more(200).await;
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for publisher in publishers {
        sent += publisher.await.unwrap();
    }
    assert_eq!(count(&router).await, format!("v2: {sent}"));
    let (status, said) = rollback(&router).await;
    assert!(status == 200 && said.contains("what was written since is lost"), "{said}");
    let before: usize = count(&router).await.parse().unwrap();
    assert!(before >= 200 && before <= sent - 200, "{before} of {sent} were counted before the migration");
    publish(&router, 3).await;
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!(count(&router).await, (before + 3).to_string(), "and it goes on from there");
    // It is tried again, from what is there now.
    assert_eq!(router.admin("DELETE", "/v1/plugins/counter", "").await.status, 200);
    assert_eq!(count(&router).await, format!("v2: {}", before + 3));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_fails_leaves_the_old_version_and_its_state() {
    let setup = Setup::open().guest("counter").binding("counter", COUNTER);
    // For the endless one: it is cut off while nobody waits.
    let router =
        setup.config(|config| config.plugin.init_deadline = std::time::Duration::from_secs(2)).start().await;
    publish(&router, 5).await;
    // With no state there is nothing to migrate.
    router.folders.replace("fresh.toml", b"topics = [\"fresh\"]\n[config]\nfail = \"error\"\n");
    router.folders.replace("fresh.wasm", &wasm("counter-v2"));
    router.until_live("fresh", "counter-v2").await;
    for (fail, part) in
        [("error", "not from 0"), ("panic", "the migration panics"), ("endless", "took longer than")]
    {
        router.folders.replace("counter.toml", format!("{COUNTER}fail = \"{fail}\"\n").as_bytes());
        router.folders.replace("counter.wasm", &wasm("counter-v2"));
        let said = |plugin: &serde_json::Value| {
            plugin["reason"].as_str().is_some_and(|why| why.starts_with("migration: ") && why.contains(part))
        };
        let listed = router.until_plugin("counter", said).await;
        assert!(
            listed["state"] == "failed" && listed["reason"].as_str().unwrap().contains("serves on"),
            "{listed}"
        );
    }
    publish(&router, 2).await;
    assert_eq!(count(&router).await, "7");
    router.folders.replace("counter.toml", COUNTER.as_bytes());
    router.until_live("counter", "counter-v2").await;
    assert_eq!(count(&router).await, "v2: 7");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrated_state_survives_kill_9_and_after_the_window_there_is_no_way_back() {
    let text = format!("{COUNTER}[budget]\nwindow = \"1ms\"\n");
    let setup = Setup::open().guest("counter").binding("counter", &text);
    let child = setup.spawn().await;
    publish(&child.reach, 4).await;
    setup.folders.replace("counter.wasm", &wasm("counter-v2"));
    child.reach.until_live("counter", "counter-v2").await;
    publish(&child.reach, 4).await;
    child.kill();
    let child = setup.spawn().await;
    assert_eq!(count(&child.reach).await, "v2: 8");
    let (status, said) = rollback(&child.reach).await;
    assert!(
        status == 409 && said.contains("schema 2") && said.contains("gone with the error budget"),
        "{said}"
    );
    assert_eq!(count(&child.reach).await, "v2: 8");
    // Code that knows no schema does not get at it by the folder either.
    setup.folders.replace("counter.wasm", &wasm("counter"));
    let refused = |plugin: &serde_json::Value| {
        plugin["reason"].as_str().is_some_and(|why| why.starts_with("migration: its state has schema 2"))
    };
    child.reach.until_plugin("counter", refused).await;
    assert_eq!(count(&child.reach).await, "v2: 8");
    child.kill();
}

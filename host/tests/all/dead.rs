//! Dead letters, as the operator sees them: over the admin listener, on the command line, over a restart.

use serde_json::{Value, json};

use crate::harness::{Folders, Router, Setup, eventually, weir};

const POLICY: &str = "on-error = \"dead-letter\"\n";

async fn listed(router: &Router) -> Vec<Value> {
    router.admin("GET", "/v1/dead", "").await.json["dead"].as_array().unwrap().clone()
}

/// Runs `weir dead …` on the folders of a server, away from the threads that serve.
async fn dead(router: &Router, folders: &Folders, arguments: &[&str]) -> std::process::Output {
    let mut command = weir();
    let admin = router.admin.to_string();
    command.arg("dead").args(arguments).args(["--admin", &admin]).arg("--data").arg(folders.data());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_can_be_read_and_deleted() {
    let router = Setup::open().guest("misbehave").binding("misbehave", POLICY).start().await;
    let mut client = router.client("ada").await;
    for topic in ["a/1", "a/2", "a/3"] {
        assert_eq!(client.publish(topic, json!("panic")).await["outcome"], "dead-lettered");
    }
    let letters =
        eventually("three letters", async || Some(listed(&router).await).filter(|all| all.len() == 3));
    let letters = letters.await;
    let topics: Vec<_> = letters.iter().map(|letter| letter["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["a/3", "a/2", "a/1"], "newest first");
    let first = &letters[2];
    assert_eq!((&first["plugin"], &first["payload_bytes"]), (&json!("misbehave"), &json!(7)), "{first}");
    assert!(first["reason"].as_str().unwrap().contains("misbehave panics on a/1"), "{first}");

    // Page by page.
    let mut paged = Vec::new();
    let mut path = "/v1/dead?limit=1".to_owned();
    loop {
        let page = router.admin("GET", &path, "").await.json;
        paged.extend(page["dead"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/dead?limit=1&before={next}");
    }
    assert_eq!(paged, letters);
    for (path, status) in [
        ("/v1/dead?limit=0", 400),
        ("/v1/dead?limit=1001", 400),
        ("/v1/dead?before=x", 400),
        ("/v1/dead/x", 400),
        ("/v1/dead/01ARZ3NDEKTSV4RRFFQ69G5FAV", 404),
    ] {
        assert_eq!(router.admin("GET", path, "").await.status, status, "{path}");
    }

    // They are there after a restart.
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!(listed(&router).await, letters);
    let id = first["id"].as_str().unwrap();
    let shown = dead(&router, &folders, &["show", id]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["text"], &shown["from"]), (&json!("\"panic\""), &json!("ada")), "{shown}");
    let table = String::from_utf8(dead(&router, &folders, &["list"]).await.stdout).unwrap();
    assert!(table.lines().count() == 4 && table.contains("a/2"), "{table}");
    assert!(dead(&router, &folders, &["purge", id]).await.status.success());
    assert!(!dead(&router, &folders, &["purge", id]).await.status.success(), "it is gone");
    assert_eq!(listed(&router).await, letters[..2]);
    assert!(dead(&router, &folders, &["purge", "--all"]).await.status.success());
    let answer = router.admin("GET", "/v1/dead", "").await.json;
    assert_eq!(answer, json!({"letters": 0, "bytes": 0, "dead": [], "next": null}));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_does_not_know_is_refused_before_it_does_anything() {
    let router =
        Setup::open().guest("misbehave").binding("misbehave", "on-error = \"dead-letter\"\n").start().await;
    let mut client = router.client("writer").await;
    assert_eq!(client.publish("t", json!("panic")).await["outcome"], "dead-lettered");
    for (method, path) in [
        ("DELETE", "/v1/dead?plugin=other"),
        ("POST", "/v1/dead/requeue?dry_run=1"),
        ("POST", "/v1/plugins/misbehave/disable?x=1"),
        ("GET", "/v1/plugins?x=1"),
        ("GET", "/v1/dead?x=1"),
    ] {
        let answer = router.admin(method, path, "").await;
        assert_eq!(answer.status, 400, "{method} {path}: {answer:?}");
    }
    assert_eq!(router.admin("GET", "/v1/dead", "").await.json["letters"], 1);
    router.stop().await;
}

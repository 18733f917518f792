//! The end of a process, and the starts that fail: what is said, and with which status.

use std::collections::BTreeSet;
use std::io::Read;
use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::harness::{Setup, eventually, weir};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_answers_what_was_taken_says_1001_and_exits_with_0() {
    let setup = Setup::open();
    let mut child = setup.spawn().await;
    let (mut writer, mut idle) = (child.reach.client("writer").await, child.reach.client("idle").await);
    idle.subscribe("nothing/#").await;
    let frame = |n| json!({"action": "publish", "id": n, "topic": "a", "data": {"n": n}, "level": "logged"});
    assert!(writer.send_all((0..2_000).map(frame)).await);
    assert_eq!(writer.next().await["outcome"], "accepted");
    child.terminate();
    let mut accepted = BTreeSet::from([0]);
    while let Some(answer) = writer.try_next().await {
        let id = answer["id"].as_u64().unwrap();
        match answer["outcome"].as_str().unwrap() {
            "accepted" => assert!(accepted.insert(id), "{id} was answered twice"),
            "shutting-down" => {}
            other => panic!("{other}: {answer}"),
        }
    }
    assert_eq!(writer.closed().await.0, 1001);
    assert_eq!(idle.closed().await.0, 1001);
    let status = child.ended().await;
    assert_eq!(status.code(), Some(0), "{}", child.log());
    // What was answered is there, and nothing else: who got no answer may safely send again.
    let child = setup.spawn().await;
    let mut reader = child.reach.client("reader").await;
    let logged = reader.history("a").await;
    let there: BTreeSet<_> = logged.iter().map(|message| message["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(there, accepted);
    assert_eq!(logged.len(), there.len());
    let after = reader.publish("a", json!({"n": 0})).await;
    assert_eq!(after["messages"][0]["epoch"], logged[0]["epoch"], "a clean end opens no epoch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_does_not_hold_up_the_stop() {
    let setup = Setup::open();
    // Far more than this test waits for anything.
    setup.write_config("[limits]\ndrain = \"1h\"\nwrite = \"1h\"\n");
    let mut child = setup.spawn().await;
    let (mut stuck, mut writer) = (child.reach.client("stuck").await, child.reach.client("writer").await);
    stuck.subscribe("#").await;
    let ballast = "x".repeat(256 * 1024);
    // What the system's own buffers take is not known: until much of it waits here.
    loop {
        assert_eq!(writer.publish("a", json!(ballast)).await["outcome"], "accepted");
        let listed = child.reach.admin("GET", "/v1/connections", "").await.json;
        let all = listed["connections"].as_array().unwrap();
        let waits = all.iter().find(|one| one["name"] == "stuck").unwrap()["queued_bytes"].as_u64().unwrap();
        if waits > 2 * 1024 * 1024 {
            break;
        }
    }
    child.terminate();
    assert_eq!(writer.closed().await.0, 1001, "the others are told as ever");
    let status = child.ended().await;
    assert_eq!(status.code(), Some(0), "{}", child.log());
    assert!(
        child.log().contains("connections did not end in time, or take nothing, and are cut"),
        "{}",
        child.log()
    );
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait_for_what_is_under_way() {
    let setup = Setup::open();
    setup.write_config("[limits]\ndrain = \"10m\"\nbody = \"10m\"\n");
    let mut child = setup.spawn().await;
    // A request whose body never comes.
    let mut stream = tokio::net::TcpStream::connect(child.reach.http).await.unwrap();
    let head = "POST /v1/publish?topic=a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100", "the request is under way");
    child.terminate();
    eventually("the first signal is heard", async || {
        child.log().contains("a second signal stops at once").then_some(())
    })
    .await;
    child.terminate();
    assert_eq!(child.ended().await.code(), Some(130), "{}", child.log());
}

/// Runs a `weir serve` that cannot start.
fn refused(config: &std::path::Path) -> (Option<i32>, String) {
    let mut process = weir()
        .args(["serve", "--config"])
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (process.wait().unwrap().code(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_one_clear_message() {
    let setup = Setup::open();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let path = setup.folders.root().join("weir.toml");
    std::fs::write(&path, format!("[http]\nlisten = \"{address}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n"))
        .unwrap();
    let (code, said) = refused(&path);
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(
        said.contains(&address.to_string()) && said.contains("in use") && said.contains("--http"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_is_in_use_is_a_clear_message() {
    let setup = Setup::open();
    let child = setup.spawn().await;
    let other = setup.folders.root().join("other.toml");
    std::fs::write(&other, "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    let (code, said) = tokio::task::spawn_blocking(move || refused(&other)).await.unwrap();
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("data") && last.contains("another"), "{said}");
    // The one that has it goes on.
    let mut client = child.reach.client("a").await;
    assert_eq!(client.publish_at("logged", "a", json!(1)).await["outcome"], "accepted");
    let answer = child.reach.http("GET", "/v1/history?topic=a", &[], "").await;
    assert_eq!(answer.json["messages"].as_array().unwrap().len(), 1, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_in_this_process_stops_as_well_and_starts_again() {
    let router = Setup::open().start().await;
    let mut client = router.client("a").await;
    assert_eq!(client.publish("a", json!({"n": 1})).await["outcome"], "accepted");
    router.begin_stop();
    assert_eq!(client.closed().await.0, 1001);
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    assert_eq!(router.client("a").await.history("a").await.len(), 1, "`routed` survives an orderly end");
    router.stop().await;
}

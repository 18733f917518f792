//! `weir plugin try`: recorded messages go through a candidate, and nothing comes of it.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use weir::config::LogRule;

use crate::harness::{Answer, PATIENCE, Router, Setup, eventually, version, wasm, weir};

fn recording(setup: Setup) -> Setup {
    let input =
        LogRule { name: "input".into(), topics: vec!["#".into()], record_input: true, ..LogRule::default() };
    setup.config(|config| config.logs = vec![input, LogRule::default()])
}

/// Waits until so many messages are recorded.
async fn recorded(router: &Router, count: usize) {
    eventually(&format!("{count} messages are recorded"), async || {
        let answer = router.admin("GET", "/v1/logs/input/export", "").await;
        (answer.text.lines().count() == count + 1).then_some(())
    })
    .await;
}

async fn ask(router: &Router, binding: &str, guest: &str, more: Value) -> Answer {
    let component = base64::engine::general_purpose::STANDARD.encode(wasm(guest));
    let mut body = json!({"binding": binding, "component": component, "since_ms": 3_600_000});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    router.admin("POST", "/v1/plugins/try", &body.to_string()).await
}

/// The lines of a try.
async fn tried(router: &Router, binding: &str, guest: &str, more: Value) -> Vec<Value> {
    let answer = ask(router, binding, guest, more).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last line, without its event: replayed, same, different, failed live, failed with the candidate.
fn sum(lines: &[Value]) -> [u64; 5] {
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "done", "{last}");
    ["replayed", "same", "different", "live_failed", "candidate_failed"]
        .map(|word| last[word].as_u64().unwrap_or_else(|| panic!("{word}: {last}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_candidate_makes_otherwise_is_told_and_the_same_is_not() {
    let router = recording(Setup::open())
        .guest_as("stamp-a", "stamp")
        .binding("stamp", "topics = [\"t/#\"]\n[config]\nlabel = \"!\"\n")
        .start()
        .await;
    let mut client = router.client("ada").await;
    for n in 0..10 {
        client.publish("t/a", json!({"n": n})).await;
        client.publish("elsewhere", json!({"n": n})).await;
    }
    recorded(&router, 20).await;
    let lines = tried(&router, "stamp", "stamp-b", json!({"limit": 3, "steps": true})).await;
    let loaded = json!({"event": "loaded", "plugin": "stamp", "version": version("stamp-b"), "replaces": version("stamp-a")});
    assert_eq!(lines[0], loaded);
    assert_eq!((lines.len(), sum(&lines)), (5, [20, 10, 10, 0, 0]), "{lines:?}");
    let first = &lines[1];
    assert_eq!((&first["event"], &first["topic"]), (&json!("difference"), &json!("t/a")), "{first}");
    assert_eq!(first["changes"], json!(["- header: stamp = a!", "+ header: stamp = b!"]), "{first}");
    let steps = first["steps"]["candidate"].as_array().unwrap();
    let plugins: Vec<_> = steps.iter().map(|step| step["plugin"].as_str().unwrap()).collect();
    assert_eq!(plugins, ["open", "stamp"], "{first}");
    assert_eq!(steps[1]["version"], version("stamp-b"));
    let same = tried(&router, "stamp", "stamp-a", json!({})).await;
    assert_eq!((same.len(), sum(&same)), (2, [20, 20, 0, 0, 0]));
    let other = json!({"config": "topics = ['elsewhere']\n[config]\nlabel = '!'\n"});
    let other = tried(&router, "stamp", "stamp-a", other).await;
    assert_eq!(sum(&other)[2], 20, "another binding of the same version: {other:?}");
    let mapped = json!({"config": "order = 5"});
    let added = tried(&router, "added", "keep", mapped).await;
    assert!(added[0].get("replaces").is_none() && sum(&added)[2] == 0, "{added:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_goes_on_from_message_to_message_and_nothing_of_it_stays() {
    let router = recording(Setup::open())
        .guest("counter")
        .binding("counter", "topics = [\"hot\"]\n[config]\nlimit = 100\n")
        .start()
        .await;
    let mut client = router.client("ada").await;
    client.subscribe("#").await;
    for n in 0..10 {
        client.publish("hot", json!(n)).await;
    }
    assert_eq!(client.publish("hot", json!("?")).await["reason"], "10");
    client.drain().await;
    recorded(&router, 11).await;
    let before = (router.calls("counter", "keep").await, client.history("#").await.len());
    // It begins with what is counted now: 10.
    let strict = "topics = ['hot']\n[config]\nlimit = 15\n";
    let lines = tried(&router, "counter", "counter", json!({"config": strict})).await;
    assert_eq!(sum(&lines), [11, 6, 5, 0, 0], "{lines:?}");
    let first = &lines[1];
    assert_eq!(first["live"]["outcome"], "accepted", "{first}");
    assert_eq!(
        (&first["candidate"]["outcome"], &first["candidate"]["reason"]),
        (&json!("filtered"), &json!("over the limit"))
    );
    assert_eq!(first["changes"][0], "outcome: accepted → filtered");
    assert_eq!(before, (router.calls("counter", "keep").await, client.history("#").await.len()));
    assert_eq!(client.publish("hot", json!("?")).await["reason"], "10", "nothing was counted");
    assert!(client.drain().await.is_empty(), "nothing was delivered");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_and_set_nothing_aside() {
    let router = recording(Setup::open()).guest("same").start().await;
    let mut client = router.client("ada").await;
    for text in ["well", "poison", "well"] {
        client.publish("t", json!(text)).await;
    }
    recorded(&router, 3).await;
    let poison = json!({"config": "[config]\nact = 'panic-on-poison'"});
    let lines = tried(&router, "same", "hostile", poison).await;
    assert_eq!(sum(&lines), [3, 2, 1, 0, 1], "{lines:?}");
    assert_eq!(lines[1]["candidate"]["outcome"], "dead-lettered");
    let looping = json!({"config": "[config]\nact = 'loop'\n[limits]\ndeadline = '20ms'"});
    let lines = tried(&router, "same", "hostile", looping).await;
    assert_eq!(sum(&lines), [3, 0, 3, 0, 3], "its breaker opens: {lines:?}");
    assert_eq!(router.admin("GET", "/v1/dead", "").await.json["letters"], 0);
    assert_eq!(client.publish("t", json!("poison")).await["outcome"], "accepted");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_tried_is_refused_with_the_step_and_what_to_do() {
    let router = recording(Setup::open()).guest("same").start().await;
    for (binding, guest, more, step, part) in [
        ("door", "doorman", json!({}), "binding", "only filters and transforms"),
        ("tally", "tally", json!({}), "binding", "weir plugin rebuild tally"),
        ("same", "keep", json!({}), "binding", "it is a filter, and same is a transform"),
        ("same", "same", json!({"config": "topic = ['a']"}), "binding", "did you mean `topics`?"),
        ("Same", "same", json!({}), "read", "accepted are 1 to 63"),
        (
            "x",
            "hostile",
            json!({"config": "[config]\nact = 'panic-at-init'"}),
            "init",
            "hostile panics at init",
        ),
        ("x", "wrong-import", json!({}), "imports", ""),
    ] {
        let lines = tried(&router, binding, guest, more).await;
        let line = lines.last().unwrap();
        assert_eq!((&line["event"], &line["step"]), (&json!("failed"), &json!(step)), "{line}");
        assert!(line["reason"].as_str().unwrap().contains(part), "{line}");
    }
    for (more, part) in [
        (json!({"component": "?"}), "`component` is not Base64"),
        (json!({"limit": 10_001}), "limit 10001: 0 to 10000 are accepted"),
        (json!({"sinse": 1}), "unknown field `sinse`"),
    ] {
        let answer = ask(&router, "same", "same", more).await;
        assert!(answer.status == 400 && answer.json["reason"].as_str().unwrap().contains(part), "{answer:?}");
    }
    let anybody = crate::harness::request(router.admin, "POST", "/v1/plugins/try", &[], "").await;
    assert_eq!(anybody.status, 401, "{anybody:?}");
    let most = "x".repeat(router_limit());
    let answer = router.admin("POST", "/v1/plugins/try", &most).await;
    assert_eq!(answer.status, 413, "{}", answer.status);
    router.stop().await;
    let router = Setup::open().guest("same").start().await;
    let answer = ask(&router, "same", "same", json!({})).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.json["reason"].as_str().unwrap().contains("record_input = true"), "{answer:?}");
    router.stop().await;
}

/// More than a component of the largest size takes, and what goes with it.
fn router_limit() -> usize {
    let config = weir::config::Config::default();
    config.plugin.most_file_bytes(&config.plugin_ceiling) * 4 / 3 + (2 << 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_tried_at_a_time_and_ends_when_nobody_listens_or_the_router_stops() {
    let slow = "[config]\nact = 'sleep'\n";
    let short_drain = |config: &mut weir::config::Config| config.limits.drain = Duration::from_millis(500);
    let router = recording(Setup::open().config(short_drain)).guest("same").start().await;
    let mut client = router.client("ada").await;
    // Each line has the topic many times, so that they make some 10 MB: more than buffers on the way take.
    let topic = "t".repeat(500);
    let frame = |n| json!({"action": "publish", "topic": topic, "data": n});
    assert!(client.send_all((0..2_000).map(frame)).await);
    recorded(&router, 2_000).await;
    // A client that sends its request and reads nothing: the lines find no room.
    let component = base64::engine::general_purpose::STANDARD.encode(wasm("stamp-b"));
    let body = json!({"binding": "same", "component": component, "since_ms": 3_600_000, "limit": 10_000, "steps": true});
    let stuck = stuck(&router, &body.to_string()).await;
    let busy = ask(&router, "same", "hostile", json!({"config": slow})).await;
    assert_eq!(busy.status, 503, "{busy:?}");
    assert!(busy.json["reason"].as_str().unwrap().contains("one at a time"), "{busy:?}");
    drop(stuck);
    eventually("room for another", async || {
        let answer = ask(&router, "same", "same", json!({})).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let last = self::stuck(&router, &body.to_string()).await;
    tokio::time::timeout(PATIENCE, router.stop()).await.expect("it does not wait for who does not read");
    drop(last);
}

/// A client whose try has begun, and that reads nothing of it.
async fn stuck(router: &Router, body: &str) -> tokio::net::TcpStream {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(router.admin).await.unwrap();
    let head = format!(
        "POST /v1/plugins/try HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        router.admin,
        router.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_what_would_change() {
    let router = recording(Setup::open()).guest_as("stamp-a", "stamp").start().await;
    let mut client = router.client("ada").await;
    for n in 0..3 {
        client.publish("t/a", json!({"n": n})).await;
    }
    recorded(&router, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let run = async |guest: &str, more: &[&str]| {
        let file = folder.path().join("stamp.wasm");
        std::fs::write(&file, wasm(guest)).unwrap();
        let mut command = weir();
        command.args(["plugin", "try"]).arg(file).args(["--since", "1h", "--limit", "1"]).args(more);
        command.args(["--admin", &router.admin.to_string()]).arg("--data").arg(router.folders.data());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    };
    let (good, out, said) = run("stamp-b", &[]).await;
    assert!(good && said.starts_with("trying stamp, version"), "{out}{said}");
    assert!(
        out.contains(
            "  t/a\n  accepted t/a 7 B → accepted t/a 7 B\n    - header: stamp = a\n    + header: stamp = b\n"
        ),
        "{out}"
    );
    assert!(out.contains("3 replayed: 0 same, 3 different; failed: 0 as it is live, 0 with the candidate\n1 of 3 differences are shown (--limit)"), "{out}");
    let (good, out, _) = run("stamp-a", &[]).await;
    assert!(good && out.starts_with("3 replayed: 3 same, 0 different"), "{out}");
    let (good, out, _) = run("stamp-b", &["--json"]).await;
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(good && lines.len() == 3 && lines[1]["steps"]["live"].is_array(), "{out}");
    let (good, _, said) = run("tally", &[]).await;
    assert!(!good && said.contains("binding: ") && said.contains("weir plugin rebuild"), "{said}");
    router.stop().await;
}

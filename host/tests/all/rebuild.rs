//! A storage plugin's data made anew from the log: complete, by one version, all or nothing.

use serde_json::{Value, json};

use crate::harness::{Child, Client, Folders, Reach, Setup, eventually, weir};
use crate::outbox::noise;

/// Nothing to stumble over.
const PLAIN: &str = "topics = [\"t/#\"]\n";
const TALLY: &str = "topics = [\"t/#\", \"stuck\"]\n";

/// Publishes so many numbers, without waiting for each; all of them are in the log afterwards.
async fn publish(client: &mut Client, topic: &str, numbers: std::ops::RangeInclusive<u64>) {
    let last = *numbers.end();
    for chunk in numbers.collect::<Vec<_>>().chunks(100) {
        let frame = |n: &u64| {
            let level = if *n == last { "logged" } else { "routed" };
            json!({"action": "publish", "id": n, "topic": topic, "data": {"n": n}, "level": level})
        };
        assert!(client.send_all(chunk.iter().map(frame)).await);
        for _ in chunk {
            let answer = client.next().await;
            assert_eq!(answer["outcome"], "accepted", "{answer}");
        }
    }
}

fn counted(last: u64) -> Value {
    json!({"count": last, "sum": last * (last + 1) / 2, "last": last, "disorder": 0})
}

async fn tally(client: &mut Client, topic: &str) -> Value {
    let answer = client.ask(json!({"action": "query", "plugin": "tally", "topic": topic})).await;
    answer["items"][0].clone()
}

async fn until_counted(client: &mut Client, topic: &str, last: u64) {
    let client = tokio::sync::Mutex::new(client);
    eventually(&format!("{last} messages are counted"), async || {
        let found = tally(*client.lock().await, topic).await;
        let count = found["count"].as_u64().unwrap_or(0);
        assert!(count <= last, "{found}: a message was counted twice");
        (count == last).then(|| assert_eq!(found, counted(last)))
    })
    .await;
}

async fn begin(reach: &Reach, name: &str) -> Value {
    let answer = reach.admin("POST", &format!("/v1/plugins/{name}/rebuild"), "").await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json
}

/// From now on a rebuild meets what cannot be stored, which the storage thread has passed.
async fn stumble(reach: &Reach, folders: &Folders) {
    folders.write("tally.toml", TALLY);
    eventually("the binding has its new topics", async || {
        let all = reach.admin("GET", "/v1/consumers", "").await.json;
        all["consumers"].as_array()?.iter().any(|it| it["topics"] == json!(["t/#", "stuck"])).then_some(())
    })
    .await;
}

async fn until_state(reach: &Reach, name: &str, state: &str) -> Value {
    eventually(&format!("the rebuild of {name} is {state}"), async || {
        let answer = reach.admin("GET", &format!("/v1/plugins/{name}/rebuild"), "").await;
        (answer.json["state"] == state).then_some(answer.json)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_traffic_each_message_counts_once_and_the_old_data_serves() {
    let router = Setup::open().guest("tally").binding("tally", TALLY).start().await;
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    let mut sent = 2_000;
    publish(&mut writer, "t/1", 1..=sent).await;
    until_counted(&mut reader, "t/1", sent).await;
    for _ in 0..3 {
        let report = begin(&router, "tally").await;
        assert_eq!(
            (&report["state"], &report["begins"][0]["offset"]),
            (&json!("running"), &json!(0)),
            "{report}"
        );
        assert!(report["of"].as_u64().unwrap() >= sent, "{report}");
        let mut state = json!("running");
        let mut seen = sent;
        while state == "running" {
            publish(&mut writer, "t/1", sent + 1..=sent + 100).await;
            sent += 100;
            // What was answered `stored` is there at once, before, during and after the switch.
            sent += 1;
            let answer = writer.publish_at("stored", "t/1", json!({"n": sent})).await;
            assert_eq!(answer["level"], "stored", "{answer}");
            let found = tally(&mut reader, "t/1").await;
            assert_eq!(found, counted(sent), "{seen} were there before");
            seen = sent;
            state = router.admin("GET", "/v1/plugins/tally/rebuild", "").await.json["state"].clone();
        }
        let report = until_state(&router, "tally", "done").await;
        assert!(report["ended_us"].as_u64() >= report["started_us"].as_u64(), "{report}");
        assert_eq!(tally(&mut reader, "t/1").await, counted(sent));
        assert_eq!(router.plugin("tally").await["rebuild"]["state"], "done");
    }
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    let mut reader = router.client("reader").await;
    assert_eq!(tally(&mut reader, "t/1").await, counted(sent));
    reader.publish_at("stored", "t/1", json!({"n": sent + 1})).await;
    assert_eq!(tally(&mut reader, "t/1").await, counted(sent + 1));
    router.stop().await;
}

/// `timeseries` with these buckets.
fn timeseries(buckets: &str) -> String {
    format!("plugin = \"stock:timeseries\"\n[config]\nbuckets = {buckets}\nfields = [\"/n\"]\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_makes_other_data_of_the_same_messages() {
    let router = Setup::open().binding("numbers", &timeseries("[\"1d\"]")).start().await;
    let mut client = router.client("a").await;
    publish(&mut client, "t/1", 1..=500).await;
    client.publish_at("stored", "t/1", json!({"n": 501})).await;
    let ask = |bucket: &str| json!({"action": "query", "plugin": "numbers", "topic": "t/1", "params": {"bucket": bucket}, "limit": 1000});
    let count = |answer: &Value| {
        answer["items"].as_array().map(|items| items.iter().filter_map(|i| i["count"].as_u64()).sum::<u64>())
    };
    assert_eq!(client.ask(ask("2d")).await["outcome"], "invalid");
    router.folders.write("numbers.toml", &timeseries("[\"1d\", \"2d\"]"));
    let asked = tokio::sync::Mutex::new(&mut client);
    eventually("the new configuration is live", async || {
        (asked.lock().await.ask(ask("2d")).await["ok"] == true).then_some(())
    })
    .await;
    client.publish_at("stored", "t/1", json!({"n": 502})).await;
    assert_eq!(count(&client.ask(ask("2d")).await), Some(1), "the log before is not in the new bucket");
    begin(&router, "numbers").await;
    until_state(&router, "numbers", "done").await;
    assert_eq!(count(&client.ask(ask("2d")).await), Some(502));
    assert_eq!(count(&client.ask(ask("1d")).await), Some(502));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_get_on_says_why_and_begins_again_with_a_new_version() {
    let router = Setup::open().guest("tally").binding("tally", PLAIN).start().await;
    let mut client = router.client("a").await;
    publish(&mut client, "t/1", 1..=100).await;
    client.publish_at("logged", "stuck", json!("stuck")).await;
    publish(&mut client, "t/1", 101..=200).await;
    until_counted(&mut client, "t/1", 200).await;
    stumble(&router, &router.folders).await;
    begin(&router, "tally").await;
    let listed = router.until_plugin("tally", |plugin| plugin["rebuild"]["error"].is_string()).await;
    assert!(listed["rebuild"]["error"].as_str().unwrap().contains("tally is stuck"), "{listed}");
    let refused = router.admin("POST", "/v1/plugins/tally/rebuild", "").await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text.contains("being rebuilt already"), "{}", refused.text);
    assert_eq!(tally(&mut client, "t/1").await, counted(200), "the old data serves");
    // A version that does not stumble: all data is made by it.
    router.folders.write("tally.toml", PLAIN);
    let report = until_state(&router, "tally", "done").await;
    assert_eq!(report.get("error"), None, "{report}");
    assert_eq!(tally(&mut client, "t/1").await, counted(200));
    // Without the plugin there is no rebuild either, and nothing waits for it.
    stumble(&router, &router.folders).await;
    begin(&router, "tally").await;
    router.until_plugin("tally", |plugin| plugin["rebuild"]["error"].is_string()).await;
    router.folders.remove("tally.toml");
    router.folders.remove("tally.wasm");
    router.until_plugin("tally", Value::is_null).await;
    let what = "the storage thread has ended";
    eventually(what, async || {
        let answer = router.admin("POST", "/v1/plugins/tally/rebuild", "").await;
        (answer.status == 404).then_some(())
    })
    .await;
    let gone = router.admin("GET", "/v1/plugins/tally/rebuild", "").await;
    assert!(gone.status == 404 && gone.text.contains("its binding is gone"), "{}", gone.text);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rebuilt_is_refused_by_name() {
    let router = Setup::open().guest("tally").guest("keep").start().await;
    for (name, status, said) in [
        ("nobody", 404, "there are tally"),
        ("keep", 409, "keep is of the kind filter"),
        ("open", 409, "open is of the kind auth"),
    ] {
        let answer = router.admin("POST", &format!("/v1/plugins/{name}/rebuild"), "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text.contains(said), "{}", answer.text);
    }
    assert_eq!(router.admin("GET", "/v1/plugins/tally/rebuild", "").await.status, 404);
    router.stop().await;
}

/// Retention deletes whatever it can, as soon as there are two segments.
const SMALL: &str = "[[log]]\nname = \"default\"\ntopics = [\"#\"]\nmax_bytes = 1\nhold_max_bytes = 1\n";

/// Fills the log until its beginning is gone; how many messages that are.
async fn until_gone(reach: &Reach, client: &mut Client) -> u64 {
    for n in 0..20 {
        client.publish_at("logged", "filler", json!(noise(900_000, n))).await;
    }
    eventually("retention has taken something", async || {
        let oldest = reach.admin("GET", "/v1/logs/default", "").await.json["oldest"].as_u64()?;
        (oldest > 0).then_some(oldest)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_no_longer_holds_is_not_thrown_away_unasked() {
    let setup = Setup::open().guest("tally").binding("tally", TALLY);
    setup.write_config(SMALL);
    let child = setup.spawn().await;
    let mut client = child.reach.client("a").await;
    publish(&mut client, "t/1", 1..=100).await;
    until_counted(&mut client, "t/1", 100).await;
    let gone = until_gone(&child.reach, &mut client).await;
    let refused = child.reach.admin("POST", "/v1/plugins/tally/rebuild", "").await;
    let said = format!("log default no longer has its first {gone} messages");
    assert!(refused.status == 409 && refused.text.contains(&said), "{}", refused.text);
    let (ok, told) = cli(&child, &setup, &["tally"]).await;
    assert!(!ok && told.contains(&said) && told.contains("--partial"), "{told}");
    let wrong = child.reach.admin("POST", "/v1/plugins/tally/rebuild", "{\"part\":true}").await;
    assert!(wrong.status == 400 && wrong.text.contains("accepted are"), "{}", wrong.text);
    assert_eq!(tally(&mut client, "t/1").await, counted(100), "the data is as it was");
    let log = child.reach.admin("GET", "/v1/logs/default", "").await.json;
    assert!(!log["consumers"].to_string().contains("rebuild"), "it holds nothing: {log}");
    let (ok, told) = cli(&child, &setup, &["tally", "--partial"]).await;
    assert!(ok && told.contains("tally is rebuilt"), "{told}");
    assert_eq!(tally(&mut client, "t/1").await, Value::Null, "that was asked for");
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_loses_messages_on_the_way_ends_with_the_old_data() {
    let setup = Setup::open().guest("tally").binding("tally", PLAIN);
    setup.write_config(SMALL);
    let child = setup.spawn().await;
    let mut client = child.reach.client("a").await;
    client.publish_at("logged", "stuck", json!("stuck")).await;
    publish(&mut client, "t/1", 1..=100).await;
    until_counted(&mut client, "t/1", 100).await;
    stumble(&child.reach, &setup.folders).await;
    begin(&child.reach, "tally").await;
    until_gone(&child.reach, &mut client).await;
    let report = until_state(&child.reach, "tally", "stopped").await;
    assert!(report["error"].as_str().unwrap().contains("no longer has offsets"), "{report}");
    assert_eq!(tally(&mut client, "t/1").await, counted(100));
    child.kill();
}

async fn cli(child: &Child, setup: &Setup, more: &[&str]) -> (bool, String) {
    let mut command = weir();
    command.args(["plugin", "rebuild"]).args(more);
    command.arg("--admin").arg(child.reach.admin.to_string()).arg("--data").arg(setup.folders.data());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verb_waits_and_says_what_is_covered() {
    let setup = Setup::open().guest("tally");
    let child = setup.spawn().await;
    let mut client = child.reach.client("a").await;
    publish(&mut client, "t/1", 1..=100).await;
    until_counted(&mut client, "t/1", 100).await;
    let (ok, said) = cli(&child, &setup, &["tally"]).await;
    assert!(ok && said.contains("log default: from its first message on"), "{said}");
    assert!(said.contains("tally is rebuilt: 100 messages passed"), "{said}");
    assert_eq!(tally(&mut client, "t/1").await, counted(100));
    let (ok, said) = cli(&child, &setup, &["tally", "--no-wait"]).await;
    assert!(ok && !said.contains("is rebuilt"), "{said}");
    let (ok, said) = cli(&child, &setup, &["nobody"]).await;
    assert!(!ok && said.contains("there are tally"), "{said}");
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_leaves_the_old_data_or_the_new() {
    let setup = Setup::open().guest("tally").binding("tally", TALLY);
    let mut child = setup.spawn().await;
    let mut sent = 20_000;
    publish(&mut child.reach.client("writer").await, "t/1", 1..=sent).await;
    until_counted(&mut child.reach.client("reader").await, "t/1", sent).await;
    // From a rebuild that has just begun to one that is over.
    for least in [0, 1, 5_000, 10_000, 20_000, u64::MAX] {
        let last = sent;
        sent += 300;
        publish(&mut child.reach.client("writer").await, "t/1", last + 1..=sent).await;
        begin(&child.reach, "tally").await;
        eventually("the rebuild has come so far", async || {
            let report = child.reach.admin("GET", "/v1/plugins/tally/rebuild", "").await.json;
            (report["state"] == "done" || report["done"].as_u64().unwrap() >= least).then_some(())
        })
        .await;
        child.kill();
        child = setup.spawn().await;
        until_counted(&mut child.reach.client("reader").await, "t/1", sent).await;
    }
    begin(&child.reach, "tally").await;
    until_state(&child.reach, "tally", "done").await;
    assert_eq!(tally(&mut child.reach.client("reader").await, "t/1").await, counted(sent));
    child.kill();
}

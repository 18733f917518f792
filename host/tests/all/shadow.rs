//! `mode = "shadow"`: a candidate beside the live version, compared and never in the way.

use serde_json::{Value, json};

use crate::harness::{Reach, Setup, eventually, version, wasm, weir};

fn shadow(plugin: &str, of: &str, more: &str) -> String {
    format!("plugin = \"{plugin}\"\nmode = \"shadow\"\nshadow-of = \"{of}\"\nshare = 1.0\n{more}")
}

/// What came of a shadow, once so many messages are counted.
async fn after(router: &Reach, name: &str, count: u64) -> Value {
    let what = format!("the shadow {name} has seen {count}");
    eventually(&what, async || {
        let report = router.admin("GET", &format!("/v1/plugins/{name}/shadow"), "").await;
        let counted = ["same", "different", "failed", "skipped"];
        let sum: u64 = counted.iter().filter_map(|word| report.json[*word].as_u64()).sum();
        (report.status == 200 && sum >= count).then_some(report.json)
    })
    .await
}

fn counts(report: &Value) -> [u64; 4] {
    ["same", "different", "failed", "skipped"].map(|word| report[word].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_are_counted_and_shown_and_nothing_else_comes_of_them() {
    let router = Setup::open()
        .guest_as("stamp-a", "stamp")
        .binding("stamp", "topics = [\"t/#\"]\n")
        .guest("stamp-b")
        .binding("stamp-b", &shadow("stamp-b", "stamp", ""))
        .binding("twin", &shadow("stamp", "stamp", "[config]\n"))
        .start()
        .await;
    let listed = router.plugin("stamp-b").await;
    assert_eq!(
        (&listed["state"], &listed["version"]),
        (&json!("shadow"), &json!(version("stamp-b"))),
        "{listed}"
    );
    let mut client = router.client("ada").await;
    client.subscribe("#").await;
    for n in 0..30 {
        let answer = client.publish("t/a", json!({"n": n})).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        assert_eq!(client.message().await["headers"]["stamp"], "a", "nothing of a shadow is delivered");
    }
    client.publish("elsewhere", json!(1)).await;
    assert!(client.message().await.get("headers").is_none(), "not the live version's topic");
    let report = after(&router, "stamp-b", 30).await;
    assert_eq!((counts(&report), &report["of"]), ([0, 30, 0, 0], &json!("stamp")), "{report}");
    assert_eq!(report["version"], version("stamp-b"));
    let kept = report["divergences"].as_array().unwrap();
    assert_eq!(kept.len(), 20, "the first ones");
    let (live, other) = (&kept[0]["live"], &kept[0]["shadow"]);
    assert_eq!((&kept[0]["topic"], &kept[0]["bytes"]), (&json!("t/a"), &json!(7)), "{}", kept[0]);
    assert_eq!((&live["verdict"], &other["verdict"]), (&json!("changed"), &json!("changed")));
    assert_eq!(live["messages"][0]["fields"], json!(["content_type: application/json", "header: stamp = a"]));
    assert_eq!(other["messages"][0]["fields"][1], "header: stamp = b");
    assert_eq!(live["messages"][0]["text"], "{\"n\":0}");
    assert_eq!(counts(&after(&router, "twin", 30).await), [30, 0, 0, 0], "the same version agrees");
    let listed = router.plugin("stamp-b").await;
    assert_eq!((&listed["shadow"]["different"], &listed["calls"]), (&json!(30), &json!(30)), "{listed}");
    let metrics = router.admin("GET", "/metrics", "").await.text;
    let line = "weir_plugin_shadow_total{plugin=\"stamp-b\",result=\"different\"} 30";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    router.folders.remove("stamp-b.toml");
    router.folders.remove("stamp-b.wasm");
    router.until_plugin("stamp-b", Value::is_null).await;
    let metrics = router.admin("GET", "/metrics", "").await.text;
    assert!(!metrics.contains("plugin_shadow_total{plugin=\"stamp-b\""), "its series are gone: {metrics}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_sees_the_state_as_the_live_version_saw_it_and_leaves_no_trace() {
    let config = "topics = [\"t\"]\n[config]\nlimit = 20\n";
    let router = Setup::open()
        .guest("counter")
        .binding("counter", config)
        .binding("by-hand", &shadow("counter", "counter", "[config]\nlimit = 20\nby_hand = true\n"))
        .binding("stricter", &shadow("counter", "counter", "[config]\nlimit = 15\n"))
        .start()
        .await;
    let mut client = router.client("ada").await;
    for n in 1..=25 {
        let outcome = if n <= 20 { "accepted" } else { "filtered" };
        assert_eq!(client.publish("t", json!(n)).await["outcome"], outcome, "{n}");
    }
    assert_eq!(counts(&after(&router, "by-hand", 25).await), [25, 0, 0, 0]);
    let report = after(&router, "stricter", 25).await;
    assert_eq!(counts(&report), [20, 5, 0, 0], "{report}");
    let first = &report["divergences"][0];
    assert_eq!((&first["live"]["verdict"], &first["shadow"]["verdict"]), (&json!("keep"), &json!("drop")));
    assert_eq!(first["shadow"]["reason"], "over the limit");
    let counted = client.publish("t", json!("?")).await;
    assert_eq!(counted["reason"], "25", "only the live version has counted: {counted}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_loops_or_traps_hurts_nobody() {
    let router = Setup::open()
        .guest("same")
        .guest("hostile")
        .binding(
            "loops",
            &shadow("hostile", "same", "[config]\nact = \"loop\"\n[limits]\ndeadline = \"20ms\"\n"),
        )
        .binding("traps", &shadow("hostile", "same", "[config]\nact = \"panic-on-poison\"\n"))
        .start()
        .await;
    let mut client = router.client("ada").await;
    client.subscribe("#").await;
    for n in 0..400 {
        let text = if n % 100 == 0 { "poison" } else { "well" };
        let answer = client.publish("t", json!(text)).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        assert_eq!(client.message().await["data"], text);
    }
    let loops = counts(&after(&router, "loops", 400).await);
    assert!(loops[2] >= 2 && loops[3] > 300, "its breaker opens: {loops:?}");
    assert_eq!(loops[0] + loops[1], 0, "{loops:?}");
    let traps = after(&router, "traps", 400).await;
    assert_eq!(counts(&traps), [396, 0, 4, 0], "{traps}");
    let made = &traps["divergences"][0]["shadow"];
    assert_eq!(made["verdict"], "trap");
    assert!(made["reason"].as_str().unwrap().contains("hostile panics on poison"), "{made}");
    let dead = router.admin("GET", "/v1/dead", "").await.json;
    assert_eq!(dead["letters"], 0, "{dead}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compared_is_refused_or_waits_and_says_why() {
    let router = Setup::open()
        .guest("keep")
        .binding("keep", "")
        .binding("door", &shadow("stock:open", "keep", ""))
        .binding("store", &shadow("stock:timeseries", "keep", ""))
        .guest("same")
        .binding("same", &shadow("same", "keep", ""))
        .guest("counter")
        .binding("counter", "[config]\nlimit = 9\n")
        .guest("counter-v2")
        .binding("counter-v2", &shadow("counter-v2", "counter", ""))
        .binding("early", &shadow("keep", "late", ""))
        .start()
        .await;
    for (name, state, part) in [
        ("door", "failed", "only filters and transforms"),
        ("store", "failed", "weir plugin rebuild store"),
        ("same", "failed", "it is a transform, and keep is a filter"),
        ("counter-v2", "failed", "migrated only when it goes live"),
        ("early", "waiting", "\"late\""),
    ] {
        let line = router.plugin(name).await;
        let reason = line["reason"].as_str().unwrap_or_default();
        assert!(line["state"] == state && reason.contains(part), "{name}: {line}");
        let report = router.admin("GET", &format!("/v1/plugins/{name}/shadow"), "").await;
        assert_eq!(report.status, 404, "{report:?}");
        assert!(report.json["reason"].as_str().unwrap().contains(part), "{report:?}");
    }
    let live = router.admin("GET", "/v1/plugins/keep/shadow", "").await.json;
    assert!(live["reason"].as_str().unwrap().contains("is live and no shadow"), "{live}");
    let none = router.admin("GET", "/v1/plugins/none/shadow", "").await.json;
    assert!(none["reason"].as_str().unwrap().contains("no plugin is named"), "{none}");
    router.folders.replace("late.wasm", &wasm("counter"));
    router.folders.replace("late.toml", b"[config]\nlimit = 1\n");
    router.until_plugin("early", |line| line["state"] == "shadow").await;
    router.folders.remove("late.toml");
    router.folders.remove("late.wasm");
    router.until_plugin("early", |line| line["state"] == "waiting").await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_shows_the_first_differences() {
    let router = Setup::open()
        .guest_as("stamp-a", "stamp")
        .guest("stamp-b")
        .binding("stamp-b", &shadow("stamp-b", "stamp", ""))
        .start()
        .await;
    let mut client = router.client("ada").await;
    client.publish("t/a", json!("\u{1b}[31m")).await;
    after(&router, "stamp-b", 1).await;
    let mut command = weir();
    command.args(["plugin", "shadow", "stamp-b", "--admin", &router.admin.to_string()]);
    command.arg("--data").arg(router.folders.data());
    let said = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{text}");
    assert!(text.contains("beside stamp: 0 same, 1 different, 0 failed, 0 skipped\n"), "{text}");
    assert!(text.contains("    t/a 12 B [content_type: application/json] [header: stamp = b] "), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    router.stop().await;
}

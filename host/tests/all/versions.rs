//! Kept versions: what goes back, by hand or by its error budget, what is switched off, and what is remembered of it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use serde_json::{Value, json};
use weir::accounts::{Accounts, Records};
use weir::config::{Compile, LimitsTable, PluginLimits, Trust};
use weir::metrics::Metrics;
use weir::plugin::{Deed, PluginView, Plugins, PluginsOptions};
use weir::store::{Store, StoreOptions};

use crate::harness::{Answer, Client, Folders, Reach, Router, Setup, eventually, version, wasm, weir};

async fn stamp(client: &mut Client) -> Value {
    assert_eq!(client.publish("t", json!(1)).await["outcome"], "accepted");
    client.message().await["headers"]["stamp"].clone()
}

async fn client(reach: &Reach) -> Client {
    let mut client = reach.client("both").await;
    client.subscribe("t").await;
    client
}

async fn act(reach: &Reach, name: &str, deed: &str, body: &str) -> Answer {
    reach.admin("POST", &format!("/v1/plugins/{name}/{deed}"), body).await
}

/// Does it, and expects that it can be done.
async fn done(reach: &Reach, name: &str, deed: &str) -> String {
    let answer = act(reach, name, deed, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json["done"].as_str().unwrap().to_owned()
}

/// Asks for it, and expects a refusal.
async fn refused(reach: &Reach, name: &str, deed: &str, body: &str) -> String {
    let answer = act(reach, name, deed, body).await;
    assert!(matches!(answer.status, 404 | 409), "{answer:?}");
    answer.json["reason"].as_str().unwrap().to_owned()
}

async fn events(reach: &Reach, name: &str) -> Vec<(String, String)> {
    let answer = reach.admin("GET", &format!("/v1/plugins/{name}/history"), "").await;
    let lines = answer.json["history"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines.iter().map(|line| (text(line, "event"), text(line, "version"))).collect()
}

fn says(plugin: &Value, part: &str) -> bool {
    plugin["reason"].as_str().is_some_and(|reason| reason.contains(part))
}

fn labelled(folders: &Folders, label: &str) {
    folders.replace("stamp.toml", format!("[config]\nlabel = \"{label}\"\n").as_bytes());
}

async fn until_reason(reach: &Reach, part: &str) -> Value {
    reach.until_plugin("stamp", |plugin| says(plugin, part)).await
}

/// Waits until the stamp is this one.
async fn until_stamp(client: &mut Client, wanted: &str) {
    let client = tokio::sync::Mutex::new(client);
    let look = async || (stamp(*client.lock().await).await == wanted).then_some(());
    eventually(&format!("the stamp is {wanted}"), look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_serves_again_with_its_own_binding_and_kill_9_changes_nothing() {
    let setup = Setup::open().guest_as("stamp-a", "stamp");
    labelled(&setup.folders, "1");
    let (a, b) = (version("stamp-a"), version("stamp-b"));
    let child = setup.spawn().await;
    let mut both = client(&child.reach).await;
    assert_eq!(stamp(&mut both).await, "a1");
    // What comes together goes live together.
    let swaps = child.reach.metric("weir_plugin_swaps_total").await;
    child.freeze();
    setup.folders.replace("stamp.wasm", &wasm("stamp-b"));
    labelled(&setup.folders, "2");
    setup.folders.replace("keep.wasm", &wasm("keep"));
    setup.folders.replace("keep.toml", b"topics = [\"guarded/#\"]\n");
    child.thaw();
    until_stamp(&mut both, "b2").await;
    child.reach.until_live("keep", "keep").await;
    assert!((child.reach.metric("weir_plugin_swaps_total").await - swaps - 1.0).abs() < 0.1);

    let said = done(&child.reach, "stamp", "rollback").await;
    assert!(said.contains(&format!("version {a} (number 1) serves again")), "{said}");
    assert_eq!(stamp(&mut both).await, "a1", "component and binding, at once");
    let listed = child.reach.plugin("stamp").await;
    assert_eq!((&listed["state"], &listed["version"]), (&json!("active"), &json!(a)), "{listed}");
    assert!(says(&listed, &format!("rolled back from {b} at 2")) && says(&listed, "quarantined"), "{listed}");
    child.kill();

    let child = setup.spawn().await;
    let mut both = client(&child.reach).await;
    assert_eq!(stamp(&mut both).await, "a1");
    assert!(says(&child.reach.plugin("stamp").await, "rolled back from"));
    // The same file again is no other file.
    setup.folders.replace("stamp.wasm", &wasm("stamp-b"));
    setup.folders.replace("other.wasm", &wasm("keep"));
    child.reach.until_live("other", "keep").await;
    assert_eq!(stamp(&mut both).await, "a1");
    let forgotten = child.reach.admin("DELETE", "/v1/plugins/stamp", "").await;
    assert_eq!(forgotten.status, 200, "{forgotten:?}");
    assert_eq!(stamp(&mut both).await, "b2", "it is tried again");
    done(&child.reach, "stamp", "rollback").await;
    labelled(&setup.folders, "3");
    until_stamp(&mut both, "b3").await;
    assert!(child.reach.plugin("stamp").await["reason"].is_null());
    let happened = events(&child.reach, "stamp").await;
    let expected = [
        ("live", &a),
        ("live", &b),
        ("rolled-back", &a),
        ("quarantined", &b),
        ("forgotten", &b),
        ("live", &b),
        ("rolled-back", &a),
        ("quarantined", &b),
        ("live", &b),
    ];
    assert_eq!(happened, expected.map(|(event, version)| (event.to_owned(), version.clone())));
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_kept_version_can_be_named_and_few_are_kept() {
    let setup = Setup::open().guest_as("stamp-a", "stamp");
    labelled(&setup.folders, "1");
    let router = setup.start().await;
    let mut both = client(&router).await;
    for label in 2..=7 {
        labelled(&router.folders, &label.to_string());
        until_stamp(&mut both, &format!("a{label}")).await;
    }
    let kept = router.folders.data().join("versions");
    assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o700);
    let names = std::fs::read_dir(kept).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let texts = names.iter().filter(|name| name.ends_with(".toml")).count();
    // Five of the stamp, and the one of `open`.
    assert_eq!((texts, names.len() - texts), (6, 2), "{names:?}");
    let answer = act(&router, "stamp", "rollback", r#"{"to":"4"}"#).await;
    assert_eq!((answer.status, stamp(&mut both).await), (200, json!("a4")), "{answer:?}");
    for (to, part) in [
        ("4", "the one that serves"),
        ("1", "no version \"1\" is kept: kept are 3 ("),
        ("ffffff", "kept are"),
    ] {
        let said = refused(&router, "stamp", "rollback", &json!({"to": to}).to_string()).await;
        assert!(said.contains(part), "{said}");
        assert_eq!(stamp(&mut both).await, "a4");
    }
    done(&router, "stamp", "rollback").await;
    assert_eq!(stamp(&mut both).await, "a3", "the one before that");
    let said = refused(&router, "stamp", "rollback", "").await;
    assert!(said.contains("no earlier version"), "{said}");
    let said = refused(&router, "stmap", "rollback", "").await;
    assert!(said.contains("no plugin is named \"stmap\": there are open, stamp"), "{said}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_cannot_be_done_says_why_and_changes_nothing() {
    let setup = Setup::open().guest_as("stamp-a", "stamp");
    let secret = setup.folders.root().join("secret");
    std::fs::write(&secret, "-secret").unwrap();
    setup.folders.write("stamp.toml", &format!("[secrets]\nlabel = {{ file = {secret:?} }}\n"));
    let router = setup.start().await;
    let mut both = client(&router).await;
    assert_eq!(stamp(&mut both).await, "a-secret");
    labelled(&router.folders, "2");
    until_stamp(&mut both, "a2").await;
    std::fs::remove_file(&secret).unwrap();
    let said = refused(&router, "stamp", "rollback", "").await;
    assert!(said.contains("cannot serve again") && said.contains("No such file"), "{said}");
    router.folders.replace("stamp.wasm", &wasm("stamp-b"));
    until_stamp(&mut both, "b2").await;
    let kept = router.folders.data().join("versions");
    for entry in std::fs::read_dir(&kept).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with(&version("stamp-a")) {
            std::fs::write(path, "no component").unwrap();
        }
    }
    let said = refused(&router, "stamp", "rollback", "").await;
    assert!(said.contains("its digest is another"), "{said}");
    let listed = router.plugin("stamp").await;
    assert!(listed["state"] == "active" && listed["reason"].is_null(), "{listed}");
    assert_eq!(stamp(&mut both).await, "b2");
    assert!(router.metric("weir_plugin_rollbacks_total").await < 0.5);
    // A version that does not load is told with its stage.
    router.folders.replace("stamp.wasm", b"nonsense");
    until_reason(&router, "not a WebAssembly component").await;
    let answer = router.admin("GET", "/v1/plugins/stamp/history", "").await;
    let last = answer.json["history"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["event"], &last["stage"]), (&json!("failed"), &json!("format")), "{last}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_disabled_stays_out_over_a_restart_and_a_door_stays_shut() {
    let setup = Setup::open().guest_as("stamp-a", "stamp");
    let router = setup.start().await;
    let mut both = client(&router).await;
    assert_eq!(stamp(&mut both).await, "a");
    done(&router, "stamp", "disable").await;
    assert_eq!(stamp(&mut both).await, Value::Null);
    let said = refused(&router, "stamp", "disable", "").await;
    assert!(said.contains("is disabled since 2"), "{said}");
    let said = refused(&router, "stamp", "rollback", "").await;
    assert!(said.contains("weir plugin enable stamp"), "{said}");
    let folders = router.stop().await;
    let router = Setup::over(&folders).start().await;
    let mut both = client(&router).await;
    assert_eq!(stamp(&mut both).await, Value::Null);
    let listed = router.plugin("stamp").await;
    assert_eq!((&listed["state"], &listed["kind"]), (&json!("disabled"), &json!("transform")), "{listed}");
    assert!(says(&listed, "disabled by the operator at 2"), "{listed}");
    done(&router, "stamp", "enable").await;
    assert_eq!(stamp(&mut both).await, "a");
    assert!(refused(&router, "stamp", "enable", "").await.contains("is not disabled"));
    let said = done(&router, "open", "disable").await;
    assert!(said.contains("refused"), "{said}");
    let answer = router.http("POST", "/v1/publish?client_id=x", &[], r#"{"topic":"t","data":1}"#).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    assert!(says(&router.plugin("open").await, "everybody who comes here is refused"));
    done(&router, "open", "enable").await;
    let mut again = client(&router).await;
    assert_eq!(stamp(&mut again).await, "a");
    let words: Vec<_> = events(&router, "stamp").await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(words, ["live", "disabled", "enabled"]);
    // Gone from the folder, it is forgotten as a whole when it is asked for.
    router.folders.remove("stamp.wasm");
    router.until_plugin("stamp", Value::is_null).await;
    assert_eq!(events(&router, "stamp").await.pop().unwrap().0, "unbound");
    assert_eq!(router.admin("DELETE", "/v1/plugins/stamp", "").await.status, 200);
    assert_eq!(router.admin("GET", "/v1/plugins/stamp/history", "").await.status, 404);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_fails_its_sample_messages_does_not_go_live() {
    let setup = Setup::open()
        .guest_as("stamp-a", "stamp")
        .binding("stamp", "[[sample]]\ntopic = \"t\"\njson = 1\nexpect = \"changed\"\n")
        .guest("counter")
        .guest("tally")
        .binding("tally", "topics = [\"tally/#\"]\n[[sample]]\ntopic = \"tally/1\"\njson = { n = 1 }\n");
    let counter = "topics = [\"counted\"]\n[config]\nlimit = 2\n";
    let one = "[[sample]]\ntopic = \"counted\"\njson = 1\nexpect = \"keep\"\n";
    // Each begins with the state as it is: what one writes is no other's business.
    setup.folders.write("counter.toml", &format!("{counter}{one}{one}"));
    let router = setup.start().await;
    let mut both = client(&router).await;
    for name in ["stamp", "counter", "tally"] {
        assert_eq!(router.plugin(name).await["state"], "active", "{}", router.plugin(name).await);
    }
    assert_eq!(both.publish("counted", json!(1)).await["outcome"], "accepted", "no sample was counted");
    let sample = |expect: &str| format!("[[sample]]\ntopic = \"t\"\ntext = \"x\"\n{expect}\n");
    for (file, text, reason) in [
        (
            "stamp",
            sample("expect = \"drop\""),
            "stamp.toml:1: sample message 1 (topic \"t\"): expected drop, got changed",
        ),
        ("counter", format!("{counter}{one}{}", sample("expect = \"drop\"")), "sample message 2"),
        (
            "counter",
            format!("{counter}{one}{}", sample("expect = \"changed\"")),
            "accepted are answer, keep, drop, refuse",
        ),
        ("tally", sample(""), "got a failure"),
        ("open", format!("plugin = \"stock:open\"\n{}", sample("")), "not for auth plugins"),
    ] {
        router.folders.replace(&format!("{file}.toml"), text.as_bytes());
        let listed =
            router.until_plugin(file, |plugin| plugin["state"] == "failed" && says(plugin, reason)).await;
        assert!(says(&listed, "serves on"), "{listed}");
    }
    assert_eq!(stamp(&mut both).await, "a");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_goes_by_itself_and_the_command_line_tells_of_it() {
    let text = "topics = [\"t\"]\n[budget]\nfailures = 2\n";
    let router = Setup::open().guest_as("keep", "guard").binding("guard", text).start().await;
    let mut both = client(&router).await;
    assert_eq!(both.publish("t", json!("panic")).await["outcome"], "accepted");
    both.message().await;
    router.folders.replace("guard.wasm", &wasm("misbehave"));
    router.until_live("guard", "misbehave").await;
    // A failing message is answered by the policy, until the version before is back.
    let both = tokio::sync::Mutex::new(&mut both);
    let back = async || {
        let answer = both.lock().await.publish("t", json!("panic")).await;
        assert!(answer["outcome"] == "plugin-failed" || answer["outcome"] == "accepted", "{answer}");
        (answer["outcome"] == "accepted").then_some(())
    };
    eventually("the version before is back", back).await;
    let listed = router.plugin("guard").await;
    assert_eq!(
        (&listed["state"], &listed["version"]),
        (&json!("active"), &json!(version("keep"))),
        "{listed}"
    );
    assert!(
        says(&listed, "more than 2 failures within 300 s") && says(&listed, "rolled back from"),
        "{listed}"
    );
    assert!((router.metric("weir_plugin_rollbacks_total").await - 1.0).abs() < 0.1);

    let said = plugin(&router, &["history", "guard"]).await;
    assert!(said.contains("rolled-back") && said.contains("by budget: from"), "{said}");
    let json: Value = serde_json::from_str(&plugin(&router, &["history", "guard", "--json"]).await).unwrap();
    assert_eq!(json["history"][0]["binding"], text, "the binding file of a kept version is shown");
    let said = plugin(&router, &["forget", "guard"]).await;
    assert!(said.contains("is tried again"), "{said}");
    let said = plugin(&router, &["rollback", "guard", "--to", "1"]).await;
    assert!(said.contains(&format!("version {} (number 1) serves again", version("keep"))), "{said}");
    let said = plugin(&router, &["rollback", "guard", "--to", "7"]).await;
    assert!(said.contains("no version \"7\" is kept"), "{said}");
    assert!(plugin(&router, &["disable", "guard"]).await.contains("guard is disabled"));
    assert!(plugin(&router, &["list"]).await.contains("disabled by the operator at"));
    assert!(plugin(&router, &["enable", "guard"]).await.contains("guard is enabled"));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_elsewhere_lead_nowhere() {
    let router = Setup::open().guest("keep").start().await;
    for name in ["..%2f..%2fkeep", "..%5ckeep", "keep%00", "KEEP", "keep%0aforged", &"x".repeat(300)] {
        for deed in ["rollback", "disable", "enable"] {
            let answer = router.admin("POST", &format!("/v1/plugins/{name}/{deed}"), "").await;
            assert!((400..500).contains(&answer.status), "{deed} {name}: {answer:?}");
        }
        let answer = router.admin("DELETE", &format!("/v1/plugins/{name}"), "").await;
        assert!((400..500).contains(&answer.status), "forget {name}: {answer:?}");
        let answer = router.admin("GET", &format!("/v1/plugins/{name}/history"), "").await;
        assert!((400..500).contains(&answer.status), "history of {name}: {answer:?}");
    }
    assert_eq!(router.plugin("keep").await["state"], "active");
    router.stop().await;
}

/// What `weir plugin …` says, away from the threads that serve.
async fn plugin(router: &Router, arguments: &[&str]) -> String {
    let mut command = weir();
    let admin = router.admin.to_string();
    command.arg("plugin").args(arguments).args(["--admin", &admin]).arg("--data").arg(router.folders.data());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

struct NoKeys;

impl Records for NoKeys {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }

    fn save(&self, _key: &[u8], _value: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    fn apply(
        &self,
        _: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// The plugins alone, so that a test can say what a shard says.
fn plugins(folders: &Folders, store: &Store, metrics: &Arc<Metrics>) -> Plugins {
    let options = PluginsOptions {
        folder: folders.plugins(),
        versions: folders.data().join("versions"),
        cache: Some(std::fs::canonicalize(folders.data().join("compiled")).unwrap()),
        compiler: Some(weir().get_program().into()),
        compile: Compile::default(),
        trust: Trust::default(),
        limits: PluginLimits::default(),
        ceiling: LimitsTable::ceiling(),
        shards: 1,
        store: store.clone(),
        accounts: Arc::new(Accounts::open(Box::new(NoKeys)).unwrap()),
        metrics: Arc::clone(metrics),
    };
    Plugins::start(options).unwrap()
}

fn live(plugins: &Plugins) -> String {
    plugins.chain().load().transforms[0].shared.version.to_string()
}

fn until_serves(plugins: &Plugins, guest: &str) {
    let deadline = std::time::Instant::now() + crate::harness::PATIENCE;
    while live(plugins) != version(guest) {
        assert!(std::time::Instant::now() < deadline, "{guest} serves");
        std::thread::sleep(crate::harness::LOOK);
    }
}

#[test]
fn what_fails_too_often_goes_back_by_itself_and_only_if_it_still_serves() {
    let setup = Setup::new().guest_as("stamp-a", "stamp");
    let folders = &setup.folders;
    let store = Store::open(&folders.data(), StoreOptions::default()).unwrap();
    let metrics = Arc::new(Metrics::new());
    let first = plugins(folders, &store, &metrics);
    let report = |plugins: &Plugins| Arc::clone(&plugins.chain().load().transforms[0].report);
    let old = report(&first);
    // The only version stays, and the list and the history say why.
    old.over_budget("6 failures within 5 min".into());
    first.rescan();
    assert_eq!(live(&first), version("stamp-a"));
    let reason = first.list()[0].reason.clone().unwrap();
    assert!(reason.contains("6 failures") && reason.contains("no earlier version"), "{reason}");
    folders.replace("stamp.wasm", &wasm("stamp-b"));
    until_serves(&first, "stamp-b");
    assert_eq!(first.list()[0].reason, None);
    // What is said of a version that is gone is said of nobody.
    old.over_budget("late".into());
    first.rescan();
    assert_eq!(live(&first), version("stamp-b"));
    report(&first).over_budget("7 failures".into());
    until_serves(&first, "stamp-a");
    let reason = first.list()[0].reason.clone().unwrap();
    assert!(reason.contains("rolled back from") && reason.contains("7 failures"), "{reason}");
    let text = metrics.encode();
    assert!(text.contains("weir_plugin_rollbacks_total{plugin=\"stamp\",by=\"budget\"} 1"), "{text}");
    first.stop();
    // The quarantine outlives the process, and an over-budget version never becomes a target.
    let second = plugins(folders, &store, &metrics);
    assert_eq!(live(&second), version("stamp-a"));
    let said = second.act("stamp", Deed::Rollback(None)).unwrap_err().to_string();
    assert!(said.contains("no earlier version"), "{said}");
    let lines = second.history("stamp").unwrap();
    let words: Vec<_> = lines.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(words, ["live", "over-budget", "live", "rolled-back", "quarantined"]);
    assert_eq!(lines[3].by.as_deref(), Some("budget"));
    assert!(lines[3].reason.as_deref().unwrap().contains("7 failures"));
    second.stop();
}

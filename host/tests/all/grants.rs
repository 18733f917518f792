//! What a plugin may do beyond its messages is granted by its binding, shown, and counted where it is missing.

use serde_json::{Value, json};

use crate::harness::{Reach, Setup, eventually, wasm};
use crate::outbox::receiver::Receiver;
use crate::outbox::{quick, until_metric};

async fn ungranted(reach: &Reach, plugin: &str, grant: &str, result: &str) -> f64 {
    let labels = [("plugin", plugin), ("grant", grant), ("result", result)];
    reach.sample("weir_plugin_ungranted_total", &labels).await
}

fn notes(listed: &Value) -> String {
    listed["notes"].to_string().replace("\\\"", "\"")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_is_refused_granted_or_counted() {
    let router = Setup::open().guest("lots").start().await;
    let listed = router.plugin("lots").await;
    let reason = listed["reason"].as_str().unwrap();
    assert_eq!(listed["state"], "failed");
    assert!(reason.contains("wasi:random/random@0.2"), "{reason}");
    assert!(reason.contains("imports = [\"wasi:random/random\"] in the binding of lots"), "{reason}");

    router.folders.write("lots.toml", "imports = [\"wasi:random/random\"]\n");
    let listed = router.until_plugin("lots", |plugin| plugin["state"] == "active").await;
    assert_eq!(listed["grants"]["imports"], json!(["wasi:random/random"]), "{listed}");
    let mut client = router.client("writer").await;
    assert_eq!(client.publish("t", json!("draw")).await["outcome"], "accepted");

    router.folders.write("lots.toml", "count-only = true\n");
    let counted = |plugin: &Value| plugin["grants"]["count_only"] == true && plugin["state"] == "active";
    let listed = router.until_plugin("lots", counted).await;
    assert!(notes(&listed).contains("imports = [\"wasi:random/random\"] would grant"), "{listed}");
    assert_eq!(ungranted(&router, "lots", "imports", "passed").await, 1.0);
    assert_eq!(client.publish("t", json!("fine")).await["outcome"], "accepted");
    assert_eq!(
        client.publish("t", json!("draw")).await["outcome"],
        "plugin-failed",
        "there is no such function"
    );

    // Sockets bring resources and functions that wait: they are there in name only.
    let sockets = router.folders.plugins().join("caller.toml");
    std::fs::write(sockets, "plugin = \"wrong-import\"\ntopics = [\"call\"]\ncount-only = true\n").unwrap();
    router.folders.replace("wrong-import.wasm", &wasm("wrong-import"));
    router.until_plugin("caller", |plugin| plugin["state"] == "active").await;
    let call = json!({"action": "publish", "topic": "call", "text": "127.0.0.1:1"});
    assert_eq!(client.ask(call).await["outcome"], "plugin-failed");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emit_without_a_grant_is_refused_or_counted() {
    let router = Setup::keyed().guest("reroute").start().await;
    let (key, _) = router.key("writer", &["mine/#"], &[], "").await;
    let mut writer = router.keyed(&key).await;
    let order = json!({"to": ["yours/a"], "how": "replace"});
    assert_eq!(writer.publish("mine/a", order.clone()).await["outcome"], "denied");
    assert_eq!(ungranted(&router, "reroute", "emit", "refused").await, 1.0);
    let listed = router.plugin("reroute").await;
    assert!(notes(&listed).contains("refused: emit = [\"yours/a\"] would grant"), "{listed}");

    router.folders.write("reroute.toml", "count-only = true\n");
    router.until_plugin("reroute", |plugin| plugin["grants"]["count_only"] == true).await;
    for times in [1.0, 2.0] {
        assert_eq!(writer.publish("mine/a", order.clone()).await["outcome"], "accepted");
        assert_eq!(ungranted(&router, "reroute", "emit", "passed").await, times);
    }
    let listed = router.plugin("reroute").await;
    assert!(notes(&listed).contains("2 times without a grant, let through"), "{listed}");
    assert_eq!(writer.publish("yours/a", json!(1)).await["outcome"], "denied", "the publisher gains nothing");

    router.folders.write("reroute.toml", "emit = [\"yours/#\"]\n");
    router.until_plugin("reroute", |plugin| plugin["grants"]["emit"] == json!(["yours/#"])).await;
    assert_eq!(writer.publish("mine/a", order).await["outcome"], "accepted");
    assert_eq!(ungranted(&router, "reroute", "emit", "passed").await, 2.0, "what is granted is not counted");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_without_a_grant_is_refused_or_counted() {
    let bindings = "[[binding]]\nname = \"refused\"\ntopics = [\"refused\"]\n\
        [[binding]]\nname = \"counted\"\ntopics = [\"counted\"]\ncount-only = true\n\
        [[binding]]\nname = \"granted\"\ntopics = [\"granted\"]\naccounts = [\"keys\"]\n";
    let router = Setup::open().guest("gossip").binding("gossip", bindings).start().await;
    let mut client = router.client("writer").await;
    for (topic, outcome) in [("refused", "filtered"), ("counted", "accepted"), ("granted", "accepted")] {
        assert_eq!(client.publish(topic, json!("lookup")).await["outcome"], outcome, "{topic}");
    }
    assert_eq!(ungranted(&router, "refused", "accounts", "refused").await, 1.0);
    assert_eq!(ungranted(&router, "counted", "accounts", "passed").await, 1.0);
    assert_eq!(ungranted(&router, "granted", "accounts", "passed").await, 0.0);
    assert_eq!(router.plugin("granted").await["grants"]["accounts"], json!(["keys"]));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_without_a_grant_is_refused_or_counted_and_never_reaches_a_private_address() {
    let receiver = Receiver::start(|_, _| (204, Vec::new())).await;
    for (binding, networks, sent) in [
        ("topics = [\"out\"]\n", true, false),
        ("topics = [\"out\"]\ncount-only = true\n", false, false),
        ("topics = [\"out\"]\ncount-only = true\n", true, true),
    ] {
        let setup = Setup::open().guest("poster").binding("poster", binding).config(quick);
        let networks = if networks { vec!["127.0.0.0/8".to_owned().try_into().unwrap()] } else { Vec::new() };
        let router = setup.config(|config| config.outbox.networks = networks).start().await;
        let mut writer = router.client("writer").await;
        let answer = writer.publish_at("logged", "out", json!({"n": 1, "url": receiver.url("/x")})).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        if sent {
            until_metric(&router, "weir_outbox_sent_total", 1.0).await;
            assert_eq!(ungranted(&router, "poster", "post", "passed").await, 1.0);
        } else {
            until_metric(&router, "weir_dead_letters_total", 1.0).await;
        }
        let listed = router.plugin("poster").await;
        assert!(notes(&listed).contains(&format!("post = [\"{}\"]", receiver.url("/"))), "{listed}");
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_grants_are_shown_when_a_plugin_is_loaded_and_in_the_list() {
    let binding = "emit = [\"a/+\"]\npost = [\"https://example.org/hooks/\"]\naccounts = [\"keys\"]\n\
        imports = [\"wasi:random/random\"]\n[secrets]\nlabel = { env = \"HOME\" }\n";
    let setup = Setup::open().guest("stamp-a").binding("stamp-a", binding);
    let child = setup.spawn().await;
    let listed = child.reach.plugin("stamp-a").await;
    let grants = json!({
        "emit": ["a/+"],
        "post": ["https://example.org/hooks/"],
        "accounts": ["keys"],
        "imports": ["wasi:random/random"],
        "secrets": ["label"],
        "count_only": false,
    });
    assert_eq!(listed["grants"], grants, "{listed}");
    let shown = async || {
        let log = child.log();
        let line = log.lines().find(|line| line.contains("plugin loaded") && line.contains("stamp-a"))?;
        Some(line.replace('\\', ""))
    };
    let line = eventually("the line in the log", shown).await;
    for part in
        ["emit = [\"a/+\"]", "https://example.org/hooks/", "accounts = [\"keys\"]", "secrets = [\"label\"]"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_routers_own_topics_are_granted_to_no_plugin() {
    let setup = Setup::open().guest("reroute").binding("reroute", "count-only = true\nemit = [\"#\"]\n");
    let router = setup.start().await;
    let mut client = router.client("writer").await;
    for topic in ["$sys/x", "$reply/x", "$presence/x"] {
        let answer = client.publish("r/a", json!({"to": [topic], "how": "replace"})).await;
        assert_eq!(answer["outcome"], "denied", "{answer}");
    }
    router.stop().await;
}

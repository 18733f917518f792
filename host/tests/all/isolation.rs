//! Whom an instance serves: what it remembers in its own memory is seen by these and by nobody else.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use weir::accounts::{Accounts, Records};
use weir::config::{Compile, LimitsTable, PluginLimits, Trust};
use weir::message::{Grant, Message, Principal};
use weir::metrics::Metrics;
use weir::pipeline::{Pass, Stages, Stop, TENANTS, process};
use weir::plugin::{Plugins, PluginsOptions};
use weir::session::{OutboundLimits, Session};
use weir::store::{Store, StoreOptions};
use weir_contract::packed::{put, put_text, tag};

use crate::harness::{Client, Setup, wasm};

/// What the diary says it has seen.
async fn seen(client: &mut Client, topic: &str) -> String {
    let answer = client.publish(topic, json!("x")).await;
    assert_eq!(answer["outcome"], "filtered", "{answer}");
    answer["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_a_message_has_seen_no_other() {
    let bindings = ["shared", "per-tenant", "per-message"]
        .map(|how| format!("[[binding]]\nname = \"{how}\"\ntopics = [\"{how}\"]\nisolation = \"{how}\"\n"));
    let router = Setup::open().guest("diary").binding("diary", &bindings.concat()).start().await;
    let mut client = router.client("writer").await;
    for round in ["1", "2", "3"] {
        assert_eq!(seen(&mut client, "shared").await, round);
        assert_eq!(seen(&mut client, "per-tenant").await, round, "all are of one tenant");
        assert_eq!(seen(&mut client, "per-message").await, "1");
    }
    for topic in ["per-message", "per-tenant"] {
        let answer = client.publish(topic, json!("panic")).await;
        assert_eq!(answer["outcome"], "plugin-failed", "{answer}");
        assert_eq!(seen(&mut client, topic).await, "1", "nothing survives a trap");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_pass_goes_from_instance_to_instance() {
    let setup = Setup::open()
        .guest("reroute")
        .binding("reroute", "order = 1\n")
        .guest("numbers")
        .binding("numbers", "order = 2\nisolation = \"per-message\"\n");
    let router = setup.start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let mut writer = router.client("writer").await;
    for first in [1, 4] {
        let answer = writer.publish("in", json!({"to": ["a", "b", "c"], "how": "replace"})).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        for (number, topic) in (first..).zip(["a", "b", "c"]) {
            let message = reader.message().await;
            let headers = json!({"number": format!("{number}"), "seen": "1"});
            assert_eq!((&message["topic"], &message["headers"]), (&json!(topic), &headers));
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_plugin_serves_all() {
    let router = Setup::open().guest("tally").binding("tally", "isolation = \"per-tenant\"\n").start().await;
    let listed = router.plugin("tally").await;
    let reason = listed["reason"].as_str().unwrap();
    assert!(listed["state"] == "failed" && reason.contains("only \"shared\" is accepted"), "{listed}");
    router.stop().await;
}

struct NoKeys;

impl Records for NoKeys {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Vec::new())
    }

    fn save(&self, _: &[u8], _: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    fn apply(
        &self,
        _: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

fn session() -> Session {
    let grant = Grant {
        tenant: "main".into(),
        name: "writer".into(),
        origin: "device".into(),
        claims: br##"{"publish":["#"],"subscribe":["#"]}"##.to_vec(),
        ..Grant::default()
    };
    let principal = Principal::new(grant, "open".into(), "http", "s").unwrap();
    Session::new("s".into(), principal, "http", String::new(), OutboundLimits { messages: 1, bytes: 1 }, None)
}

fn message(tenant: &str) -> Message {
    let mut meta = Vec::new();
    put(&mut meta, tag::ID, &[7; 16]);
    put_text(&mut meta, tag::TENANT, tenant);
    Message { topic: "t".into(), meta: meta.into(), payload: "x".into() }
}

/// The router has one tenant; the pipeline is asked as if there were more.
#[test]
fn an_instance_of_a_tenant_has_seen_no_message_of_another() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("plugins");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("open.toml"), "plugin = \"stock:open\"\n").unwrap();
    std::fs::write(folder.join("diary.toml"), "isolation = \"per-tenant\"\n").unwrap();
    std::fs::write(folder.join("diary.wasm"), wasm("diary")).unwrap();
    let store = Store::open(&home.path().join("data"), StoreOptions::default()).unwrap();
    let metrics = Arc::new(Metrics::new());
    let options = PluginsOptions {
        folder,
        cache: None,
        compiler: None,
        compile: Compile::default(),
        trust: Trust::default(),
        versions: home.path().join("versions"),
        limits: PluginLimits { deadline: Duration::from_secs(5), ..PluginLimits::default() },
        ceiling: LimitsTable::ceiling(),
        shards: 1,
        store: store.clone(),
        accounts: Arc::new(Accounts::open(Box::new(NoKeys)).unwrap()),
        metrics: Arc::clone(&metrics),
    };
    let plugins = Plugins::start(options).unwrap();
    let mut stages = Stages::default();
    stages.adopt(&plugins.chain().load(), &metrics);
    let _clock = plugins.engine().running();
    let session = session();
    let mut seen = |tenant: &str| {
        let now = Instant::now();
        let pass = Pass {
            session: &session,
            authority: (1, 0),
            most_messages: 10,
            deadline: now + Duration::from_secs(60),
            clock: Cell::new(now),
            recorder: None,
        };
        match process(&mut stages, &pass, &message(tenant)) {
            Err(Stop::Filtered(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(["a", "a", "b", "a", "b", "b"].map(&mut seen), ["1", "2", "1", "3", "2", "3"]);
    // One too many: the tenant that has been idle for longest is forgotten, and only it.
    let others: Vec<_> = (0..TENANTS - 1).map(|n| seen(&format!("other-{n}"))).collect();
    assert!(others.iter().all(|seen| seen == "1"));
    assert_eq!((seen("b"), seen("a")), ("4".into(), "1".into()));
    plugins.stop();
    store.close().unwrap();
}

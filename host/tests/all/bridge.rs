//! The router as a client of a real broker: messages both ways, and nothing of QoS 1 lost while either side is killed.

mod broker;

use std::collections::BTreeSet;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use serde_json::{Value, json};
use weir::config::{BrokerUrl, LogRule, MqttBridge};

use crate::harness::{Child, Reach, Router, Setup, eventually, secure};
use broker::{Broker, Peer, texted};

fn bridged(setup: Setup, broker: &Broker, change: impl FnOnce(&mut MqttBridge)) -> Setup {
    let mut bridge = MqttBridge {
        url: BrokerUrl { host: "127.0.0.1".into(), port: broker.port, tls: false },
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(100),
        ..MqttBridge::default()
    };
    change(&mut bridge);
    setup.config(|config| config.bridge.mqtt = Some(bridge))
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

async fn connected(reach: &Reach) {
    let stands = async || (reach.metric("weir_bridge_connected").await >= 1.0).then_some(());
    eventually("the bridge stands", stands).await;
}

async fn at_least(reach: &Reach, metric: &str, least: f64) {
    let reached = async || (reach.metric(metric).await >= least).then_some(());
    eventually(&format!("{metric} is {least}"), reached).await;
}

async fn refused(reach: &Reach, direction: &str, reason: &str) -> f64 {
    reach.sample("weir_bridge_refused_total", &[("direction", direction), ("reason", reason)]).await
}

async fn at_version(version: u8) {
    let broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.subscribe("plant/7/out/#", QoS::AtLeastOnce).await;
    peer.publish("plant/7/in/before", true, "1").await;
    let router = bridged(Setup::open(), &broker, |bridge| {
        bridge.version = version;
        bridge.base_topic = "plant/7".into();
        bridge.local_prefix = "far/".into();
        bridge.incoming = names(&["in/#"]);
        bridge.outgoing = names(&["out/+"]);
    });
    let router = router.start().await;
    let mut client = router.client("ada").await;
    client.subscribe("far/#").await;
    connected(&router).await;
    let message = client.message().await;
    assert_eq!((&message["topic"], &message["data"]), (&json!("far/in/before"), &json!(1)), "{message}");
    peer.publish("plant/7/elsewhere", false, "no").await;
    peer.publish("plant/8/in/x", false, "no").await;
    let kind = PublishProperties {
        content_type: Some("text/plain".into()),
        response_topic: Some("plant/7/answers".into()),
        user_properties: vec![("place".into(), "roof".into())],
        ..PublishProperties::default()
    };
    peer.publish_with("plant/7/in//x", "hi", kind).await;
    let message = client.message().await;
    assert_eq!(message["topic"], "far/in//x");
    assert_eq!(message["from"], "bridge:mqtt", "{message}");
    if version == 5 {
        assert_eq!(message["headers"], json!({"place": "roof"}), "{message}");
        assert_eq!(message["reply_to"], "far/answers", "{message}");
    }
    for (topic, retain) in
        [("far/out/a", true), ("far/out/b", false), ("far/out/b/c", false), ("near/out/a", false)]
    {
        let frame =
            json!({"action": "publish", "topic": topic, "data": 2, "retain": retain, "headers": {"k": "v"}});
        assert_eq!(client.ask(frame).await["outcome"], "accepted");
    }
    let publish = peer.next().await;
    assert_eq!((texted(&publish.topic), texted(&publish.payload)), ("plant/7/out/a".into(), "2".into()));
    if version == 5 {
        let properties = publish.properties.unwrap();
        assert_eq!(properties.user_properties, [("k".to_owned(), "v".to_owned())]);
    }
    assert_eq!(peer.text().await, ("plant/7/out/b".into(), "2".into()));
    at_least(&router, "weir_bridge_sent_total", 2.0).await;
    assert_eq!(router.metric("weir_bridge_received_total").await, 2.0);
    router.stop().await;
    let mut late = Peer::connect(&broker, "late").await;
    late.subscribe("#", QoS::AtLeastOnce).await;
    let mut retained = [late.next().await, late.next().await];
    retained.sort_by_key(|publish| texted(&publish.topic));
    assert_eq!(
        retained.map(|publish| (publish.retain, texted(&publish.topic))),
        [(true, "plant/7/in/before".into()), (true, "plant/7/out/a".into())]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_both_ways_with_all_that_they_carry() {
    at_version(5).await;
    at_version(4).await;
}

/// Publishes so many, each on the disk before the next, and says so of each.
async fn logged(reach: &Reach, from: u64, to: u64) {
    let mut client = reach.client("ada").await;
    for n in from..to {
        let answer = client.publish_at("logged", "out/n", json!(n)).await;
        assert_eq!(
            (&answer["outcome"], &answer["level"]),
            (&json!("accepted"), &json!("logged")),
            "{answer}"
        );
    }
}

/// What the peer gets, until it has all of these; the number that came more than once.
async fn all(peer: &mut Peer, most: u64) -> usize {
    let (mut missing, mut again): (BTreeSet<u64>, _) = ((0..most).collect(), 0);
    while !missing.is_empty() {
        let (_, payload) = peer.text().await;
        again += usize::from(!missing.remove(&payload.parse().unwrap()));
    }
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_logs_is_lost_while_the_broker_is_killed() {
    let mut broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.subscribe("out/#", QoS::AtMostOnce).await;
    let router = bridged(Setup::open(), &broker, |bridge| bridge.outgoing = names(&["out/#"])).start().await;
    connected(&router).await;
    // Now it knows both sessions for good.
    broker.save().await;
    for round in 0..3 {
        connected(&router).await;
        let (from, to) = (round * 200, round * 200 + 200);
        let reach = router.reach.clone();
        let publishing = tokio::spawn(async move { logged(&reach, from, to).await });
        at_least(&router, "weir_bridge_sent_total", from as f64 + 50.0).await;
        broker.kill();
        publishing.await.unwrap();
        broker.again().await;
    }
    let again = all(&mut peer, 600).await;
    assert!(again <= 3 * 64, "only what was in flight comes again: {again}");
    router.stop().await;
}

/// `weir serve` with a bridge.
async fn spawned(setup: &Setup, broker: &Broker, more: &str) -> Child {
    setup.write_config(&format!(
        "[bridge.mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\nfirst_pause = \"10ms\"\nlongest_pause = \"100ms\"\n{more}\n",
        broker.port
    ));
    setup.spawn().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_logs_is_lost_while_the_router_is_killed() {
    let broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.subscribe("out/#", QoS::AtLeastOnce).await;
    let setup = Setup::open();
    let mut child = spawned(&setup, &broker, "out = [\"out/#\"]").await;
    for round in 0..3 {
        // Whether the broker is reached or not.
        logged(&child.reach, round * 100, round * 100 + 100).await;
        child.kill();
        child = setup.spawn().await;
    }
    all(&mut peer, 300).await;
    drop(child);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_the_broker_has_is_lost_while_both_are_killed() {
    let mut broker = Broker::open().await;
    let setup = Setup::open();
    let child = spawned(&setup, &broker, "in = [\"in/#\"]\nreceive_maximum = 16").await;
    connected(&child.reach).await;
    // It is away when they come, and the broker keeps them for it.
    child.kill();
    let mut peer = Peer::connect(&broker, "peer").await;
    let most = 1_000;
    for n in 0..most {
        peer.publish("in/n", false, &n.to_string()).await;
    }
    broker.save().await;
    let mut child = setup.spawn().await;
    for round in 1..=2 {
        at_least(&child.reach, "weir_bridge_received_total", 50.0).await;
        child.kill();
        if round == 2 {
            broker.save().await;
            broker.kill();
            broker.again().await;
        }
        child = setup.spawn().await;
    }
    let all_there = async || {
        let there = child.reach.client("ada").await.history("in/#").await;
        let different: BTreeSet<_> = there.iter().map(|message| message["data"].as_u64()).collect();
        (different.len() == most).then_some(there)
    };
    let there = eventually("all that the broker had", all_there).await;
    // How often something comes again is the broker's affair: mosquitto 2.0 repeats what was acknowledged in the moment
    // before a connection broke.
    let first: Vec<_> = there.iter().filter_map(|message: &Value| message["data"].as_u64()).collect();
    let mut seen = BTreeSet::new();
    let order: Vec<_> = first.into_iter().filter(|n| seen.insert(*n)).collect();
    assert!(order.is_sorted(), "in the order in which they were published");
    drop(child);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_from_the_broker_does_not_go_back() {
    let broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.subscribe("#", QoS::AtLeastOnce).await;
    let router = bridged(Setup::open(), &broker, |bridge| {
        bridge.incoming = names(&["#"]);
        bridge.outgoing = names(&["#", "a/+"]);
    });
    let router = router.start().await;
    let mut client = router.client("ada").await;
    client.subscribe("#").await;
    connected(&router).await;
    for n in 0..10 {
        peer.publish("a/there", false, &n.to_string()).await;
        assert_eq!(client.message().await["data"], n);
        assert_eq!(peer.text().await, ("a/there".into(), n.to_string()));
        client.publish("a/here", json!(n)).await;
        assert_eq!(client.message().await["topic"], "a/here");
        assert_eq!(peer.text().await, ("a/here".into(), n.to_string()));
    }
    assert_eq!(router.metric("weir_bridge_received_total").await, 10.0);
    at_least(&router, "weir_bridge_sent_total", 10.0).await;
    assert_eq!(router.metric("weir_bridge_sent_total").await, 10.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passwords");
    let mut program = std::process::Command::new("mosquitto_passwd");
    let made = program.arg("-b").arg("-c").arg(&file).args(["weir", "right"]);
    assert!(made.status().expect("mosquitto_passwd, of the Debian package mosquitto").success());
    let broker = Broker::start(&format!("allow_anonymous false\npassword_file {}", file.display())).await;
    let setup = Setup::open();
    for version in [5, 4] {
        let more = format!("in = [\"in/#\"]\nusername = \"weir\"\npassword = \"wrong\"\nversion = {version}");
        let child = spawned(&setup, &broker, &more).await;
        at_least(&child.reach, "weir_bridge_attempts_total", 3.0).await;
        let log = child.log();
        assert!(
            log.contains("it refuses the connection") && log.contains("`username` and `password`"),
            "{log}"
        );
        assert!(!log.contains("wrong"), "{log}");
        assert_eq!(child.reach.metric("weir_bridge_connected").await, 0.0);
        child.kill();
        let child = spawned(&setup, &broker, &more.replace("wrong", "right")).await;
        connected(&child.reach).await;
        child.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_with_tls_must_be_of_a_trusted_authority() {
    let (cert, key) = (secure::fixture("server.pem"), secure::fixture("server.key"));
    let more = format!("allow_anonymous true\ncertfile {}\nkeyfile {}", cert.display(), key.display());
    let broker = Broker::start(&more).await;
    let over_tls = |ca: &str| {
        let ca = secure::fixture(ca);
        bridged(Setup::open(), &broker, |bridge| {
            bridge.url.tls = true;
            bridge.ca = Some(ca);
            bridge.incoming = names(&["#"]);
        })
    };
    let router = over_tls("ca.pem").start().await;
    connected(&router).await;
    router.stop().await;
    let router = over_tls("renewed.pem").start().await;
    at_least(&router, "weir_bridge_attempts_total", 3.0).await;
    assert_eq!(router.metric("weir_bridge_connected").await, 0.0);
    router.stop().await;
    assert!(broker.log().contains("Error"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_acknowledged_and_counted_and_what_is_too_early_waits() {
    let broker = Broker::open().await;
    let router = bridged(Setup::open(), &broker, |bridge| bridge.incoming = names(&["in/#"]));
    let router = router.config(|config| {
        config.limits.message_bytes = 1_024;
        config.limits.publishes_per_s = 50;
    });
    let router = router.start().await;
    let mut client = router.client("ada").await;
    client.subscribe("in/#").await;
    connected(&router).await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.publish("in/large", false, &"x".repeat(2_000)).await;
    for n in 0..150 {
        peer.publish("in/n", false, &n.to_string()).await;
    }
    for n in 0..150 {
        assert_eq!(client.message().await["data"], n);
    }
    assert_eq!(refused(&router, "in", "too-large").await, 1.0);
    assert_eq!(router.metric("weir_bridge_disconnects_total").await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_log_keeps_goes_out_once_or_is_counted() {
    let mut broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    peer.subscribe("out/#", QoS::AtMostOnce).await;
    let router = bridged(Setup::open(), &broker, |bridge| bridge.outgoing = names(&["out/#"]));
    let keeps = |topics: &[&str]| LogRule { topics: names(topics), ..LogRule::default() };
    let router = router.config(|config| config.logs = vec![keeps(&["out/kept"])]).start().await;
    let mut client = router.client("ada").await;
    connected(&router).await;
    broker.save().await;
    at_least(&router, "weir_bridge_disconnects_total", 1.0).await;
    connected(&router).await;
    client.publish("out/fleeting", json!(1)).await;
    assert_eq!(peer.text().await, ("out/fleeting".into(), "1".into()));
    at_least(&router, "weir_bridge_sent_total", 1.0).await;
    broker.kill();
    at_least(&router, "weir_bridge_disconnects_total", 2.0).await;
    client.publish("out/fleeting", json!(2)).await;
    client.publish("out/kept", json!(3)).await;
    let counted = async || (refused(&router, "out", "disconnected").await == 1.0).then_some(());
    eventually("the one that nobody keeps is counted", counted).await;
    broker.again().await;
    assert_eq!(peer.text().await, ("out/kept".into(), "3".into()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_wants_less_leaves_nothing_behind() {
    let broker = Broker::open().await;
    let mut peer = Peer::connect(&broker, "peer").await;
    let setup = bridged(Setup::open(), &broker, |bridge| {
        bridge.incoming = names(&["old/#", "in/#"]);
        bridge.outgoing = names(&["old/#", "out/#"]);
        bridge.version = 5;
    });
    let router = setup.start().await;
    connected(&router).await;
    assert_eq!(consumers(&router).await.len(), 2);
    let folders = router.stop().await;
    let router = bridged(Setup::over(&folders), &broker, |bridge| {
        bridge.incoming = names(&["in/#"]);
        bridge.outgoing = names(&["out/#"]);
    });
    let router = router.start().await;
    connected(&router).await;
    assert_eq!(consumers(&router).await, ["out/#"]);
    peer.publish("old/x", false, "1").await;
    peer.publish("in/x", false, "2").await;
    at_least(&router, "weir_bridge_received_total", 1.0).await;
    assert_eq!(refused(&router, "in", "unwanted").await, 0.0);
    router.stop().await;
}

/// What the consumers of the bridge read.
async fn consumers(router: &Router) -> Vec<String> {
    let answer = router.admin("GET", "/v1/consumers", "").await;
    let all = answer.json["consumers"].as_array().cloned().unwrap_or_default();
    let own = all.iter().filter(|one| one["name"].as_str().unwrap().starts_with("$bridge.mqtt."));
    own.map(|one| one["topics"][0].as_str().unwrap().to_owned()).collect()
}

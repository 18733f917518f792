//! Webhooks: each message of their topics, to a real receiver, at least once and in order.

use std::time::Duration;

use serde_json::{Value, json};
use weir::config::{Config, LogRule, Webhook};

use super::harness::{Reach, Router, Setup, eventually, weir};
use super::outbox::receiver::Receiver;
use super::outbox::{letters, quick, until_metric};

fn webhook(receiver: &Receiver) -> impl Fn(&mut Config) {
    let webhook = Webhook {
        name: "billing".into(),
        topics: vec!["orders/#".into()],
        url: receiver.url("/hook?token=1").parse().unwrap(),
        headers: [("Authorization".into(), "Bearer secret".into())].into(),
        max_attempts: Some(3),
    };
    move |config| {
        quick(config);
        config.webhooks = vec![webhook.clone()];
    }
}

async fn orders(router: &Router, numbers: impl IntoIterator<Item = u64>) {
    let mut client = router.client("shop").await;
    for n in numbers {
        let order = json!({"action": "publish", "topic": "orders/é 1", "data": {"n": n}, "message_id": "m",
            "headers": {"unit": "pieces"}, "level": "logged"});
        assert_eq!(client.ask(order).await["ok"], true);
        client.publish_at("logged", "other", json!({"n": 99})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_posts_each_message_of_its_topics_once_over_restarts() {
    let receiver = Receiver::always(200).await;
    let hooked = webhook(&receiver);
    let router = Setup::open().start().await;
    orders(&router, [0]).await;
    let folders = router.stop().await;
    let router = Setup::over(&folders).config(&hooked).start().await;
    orders(&router, 1..=3).await;
    let seen = receiver.until(3).await;
    assert_eq!(receiver.numbers(), [1, 2, 3], "it begins with the first message after it was set up");
    let first = &seen[0];
    assert_eq!((first.path.as_str(), &first.body[..]), ("/hook?token=1", &b"{\"n\":1}"[..]));
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("content-type", "application/json"),
        ("x-weir-topic", "orders/%C3%A9%201"),
        ("x-weir-log", "default"),
        ("x-weir-offset", "2"),
        ("x-weir-from", "shop"),
        ("x-weir-message-id", "m"),
        ("x-weir-header-unit", "pieces"),
    ] {
        assert_eq!(first.header(name), value, "{name}");
    }
    assert_eq!(first.header("idempotency-key"), format!("default:{}:2", first.header("x-weir-epoch")));
    until_metric(&router, "weir_outbox_sent_total", 3.0).await;
    receiver.set_open(false);
    orders(&router, [4, 5]).await;
    receiver.until(4).await;
    router.stop().await;
    receiver.set_open(true);
    let router = Setup::over(&folders).config(&hooked).start().await;
    until_metric(&router, "weir_outbox_sent_total", 2.0).await;
    assert_eq!(receiver.numbers(), [1, 2, 3, 4, 4, 5]);
    until_metric(&router, "weir_consumer_lag_messages", 0.0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_passes_over_what_has_expired() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let router = Setup::open().config(webhook(&receiver)).start().await;
    orders(&router, [1]).await;
    receiver.until(1).await;
    let mut client = router.client("shop").await;
    let brief = json!({"action": "publish", "topic": "orders/2", "data": {"n": 2}, "expires_in_ms": 1,
        "level": "logged"});
    assert_eq!(client.ask(brief).await["ok"], true);
    orders(&router, [3]).await;
    // Time is what this is about.
    tokio::time::sleep(Duration::from_millis(2)).await;
    receiver.set_open(true);
    until_metric(&router, "weir_outbox_sent_total", 2.0).await;
    until_metric(&router, "weir_consumer_lag_messages", 0.0).await;
    let mut seen = receiver.numbers();
    seen.dedup();
    assert_eq!(seen, [1, 3]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_refused_sets_the_message_aside_and_goes_on() {
    let receiver =
        Receiver::start(|_, received| (if received.n() == 1 { 500 } else { 200 }, Vec::new())).await;
    let router = Setup::open().config(webhook(&receiver)).start().await;
    orders(&router, [1, 2]).await;
    receiver.until(4).await;
    assert_eq!(receiver.numbers(), [1, 1, 1, 2]);
    let letters = letters(&*router.stop().await);
    let [(topic, payload, about)] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((topic.as_str(), payload.as_slice()), ("orders/é 1", &b"{\"n\":1}"[..]));
    assert_eq!((&about["stage"], &about["plugin"]), (&json!("webhook"), &json!("webhook:billing")));
}

fn log(name: &str, topic: &str) -> LogRule {
    LogRule { name: name.into(), topics: vec![topic.into()], ..LogRule::default() }
}

async fn consumer(reach: &Reach, id: &str) -> Value {
    let all = reach.admin("GET", "/v1/consumers", "").await.json;
    all["consumers"].as_array().unwrap().iter().find(|it| it["id"] == id).cloned().unwrap_or_default()
}

/// Who holds each log, and where each of its own stands, when it has passed what is not for it.
async fn stands_still(router: &Router, id: &str, kind: &str, own: &str) {
    let standing = eventually("it has passed over the other log's messages", async || {
        let standing = consumer(router, id).await;
        let logs = standing["logs"].as_array()?;
        let rest = logs.iter().find(|log| log["log"] == "rest")?;
        (rest["cursor"] == 3 && rest["lag"] == 0).then_some(standing)
    })
    .await;
    assert_eq!((&standing["kind"], &standing["missed"]), (&json!(kind), &json!(0)), "{standing}");
    let logs: Vec<_> = standing["logs"].as_array().unwrap().iter().map(|log| &log["log"]).collect();
    assert_eq!(logs, [own, "rest"], "{standing}");
    assert_eq!((&standing["logs"][0]["cursor"], &standing["logs"][0]["lag"]), (&json!(0), &json!(2)));
    until_metric(router, "weir_consumer_lag_messages", 2.0).await;
    let all = router.admin("GET", "/v1/logs", "").await.json;
    for (log, held_from) in [(own, Some(0)), ("aside", None), ("rest", Some(3))] {
        let found = all["logs"].as_array().unwrap().iter().find(|it| it["name"] == log).unwrap();
        let hold = found["consumers"].as_array().unwrap().iter().find(|it| it["name"] == id);
        assert_eq!(hold.map(|hold| hold["next"].as_u64().unwrap()), held_from, "{found}");
    }
}

async fn elsewhere(router: &Router) {
    let mut client = router.client("writer").await;
    for topic in ["aside/1", "rest/1", "rest/2", "rest/3"] {
        client.publish_at("logged", topic, json!({"n": 1})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_stands_still_holds_only_logs_with_messages_for_it() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let logs = vec![log("own", "orders/#"), log("aside", "aside/#"), log("rest", "#")];
    let hooked = webhook(&receiver);
    let router = Setup::open().config(&hooked).config(|config| config.logs = logs).start().await;
    let mut client = router.client("shop").await;
    for n in [1, 2] {
        client.publish_at("logged", "orders/x", json!({"n": n})).await;
    }
    receiver.until(1).await;
    elsewhere(&router).await;
    stands_still(&router, "webhook:billing", "webhook", "own").await;
    receiver.set_open(true);
    until_metric(&router, "weir_consumer_lag_messages", 0.0).await;
    assert_eq!(receiver.numbers(), [1, 2]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_stands_still_holds_only_logs_with_messages_for_it() {
    let logs = vec![log("own", "t/#"), log("aside", "aside/#"), log("rest", "#")];
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"t/#\"]\n");
    let router = setup.config(|config| config.logs = logs).start().await;
    let mut client = router.client("writer").await;
    client.publish_at("logged", "t/1", json!("stuck")).await;
    client.publish_at("logged", "t/1", json!({"n": 1})).await;
    elsewhere(&router).await;
    stands_still(&router, "tally", "storage", "own").await;
    // With other topics it lets go of the one log, and begins with the first message of the other.
    router.folders.write("tally.toml", "topics = [\"aside/#\"]\n");
    let standing = eventually("it follows its topics", async || {
        let standing = consumer(&router, "tally").await;
        (standing["logs"][0]["log"] == "aside" && standing["logs"][0]["cursor"] == 1).then_some(standing)
    })
    .await;
    assert_eq!(standing["logs"].as_array().unwrap().len(), 2, "{standing}");
    let counted = client.ask(json!({"action": "query", "plugin": "tally", "topic": "aside/1"})).await;
    assert_eq!(counted["items"][0]["count"], 1, "{counted}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_whose_topics_meet_no_log_is_told_of() {
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"t/#\"]\n");
    let router = setup.config(|config| config.logs = vec![log("aside", "aside/#")]).start().await;
    let listed = router.plugin("tally").await;
    assert!(listed["state"] == "active" && listed["reason"].as_str().unwrap().contains("no log"), "{listed}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_posts_everything_over_kill_9() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let setup = Setup::open();
    setup.write_config(&format!(
        "[outbox]\nfirst_pause = \"5ms\"\nlongest_pause = \"50ms\"\n\
         [[webhook]]\nname = \"billing\"\ntopics = [\"orders/#\"]\nurl = {:?}\n",
        receiver.url("/hook")
    ));
    let mut child = setup.spawn().await;
    for round in 0..3 {
        let mut client = child.reach.client("shop").await;
        for n in 1..=5 {
            let answer = client.publish_at("logged", "orders/x", json!({"n": 5 * round + n})).await;
            assert_eq!(answer["level"], "logged", "{answer}");
        }
        // In the first round before an answer, then while answers come.
        receiver.set_open(round > 0);
        let before = receiver.seen().len();
        receiver.until(if round > 0 { before } else { 1 }).await;
        child.kill();
        receiver.set_open(true);
        child = setup.spawn().await;
    }
    let all = |seen: &[u64]| (1..=15).all(|n| seen.contains(&n));
    eventually("all posts", async || Some(receiver.numbers()).filter(|seen| all(seen))).await;
    let mut keys = std::collections::BTreeMap::new();
    let mut first = Vec::new();
    for received in receiver.seen() {
        let (n, key) = (received.n(), received.header("idempotency-key").to_owned());
        let known = keys.entry(n).or_insert_with(|| {
            first.push(n);
            key.clone()
        });
        assert_eq!(*known, key, "one key for each message");
    }
    assert_eq!(first, (1..=15).collect::<Vec<_>>());
    until_metric(&child.reach, "weir_consumer_lag_messages", 0.0).await;
    child.kill();
}

#[test]
fn what_a_webhook_lacks_is_said_by_check_and_by_serve_before_it_listens() {
    let setup = Setup::open();
    let config = setup.write_config(
        "[[webhook]]\nname = \"billing\"\ntopics = [\"a\"]\nurl = \"https://billing.example/\"\n\
         headers = { Authorization = \"env:WEIR_TEST_TOKEN\" }\n",
    );
    let ask = |verb: &str, token: Option<&str>| {
        let mut command = weir();
        command.arg(verb).arg("--config").arg(&config);
        command.arg("--data").arg(setup.folders.data()).arg("--plugins").arg(setup.folders.plugins());
        match token {
            Some(token) => command.env("WEIR_TEST_TOKEN", token),
            None => command.env_remove("WEIR_TEST_TOKEN"),
        };
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    };
    for (token, part) in [(None, "no WEIR_TEST_TOKEN"), (Some("secret\nline"), "visible ASCII")] {
        for verb in ["check", "serve"] {
            let (ok, said) = ask(verb, token);
            assert!(
                !ok && said.contains("weir.toml:")
                    && said.contains("webhook.0.headers.Authorization: ")
                    && said.contains(part),
                "{verb}: {said}"
            );
            assert!(!said.contains("secret") && !said.contains("listening"), "{verb}: {said}");
        }
    }
    let (ok, said) = ask("check", Some("secret"));
    assert!(ok, "{said}");
}

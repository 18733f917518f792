//! Logs with `record_input`: messages as they came in, for the operator alone.

use base64::Engine as _;
use serde_json::{Value, json};
use weir::config::LogRule;
use weir::recorded::{Recorded, Recording};
use weir::store::{LogOptions, Store, StoreOptions};

use crate::harness::{Folders, Reach, Setup, eventually};
use crate::outbox::until_metric;

fn input(topics: &str) -> LogRule {
    LogRule { name: "input".into(), topics: vec![topics.into()], record_input: true, ..LogRule::default() }
}

fn recording(setup: Setup) -> Setup {
    // In front, where an ordinary log would take everything.
    setup.config(|config| config.logs = vec![input("#"), LogRule::default()])
}

/// What `weir log export` writes of the log of input.
async fn exported(reach: &Reach, count: usize) -> Vec<Value> {
    eventually(&format!("{count} messages are recorded"), async || {
        let answer = reach.admin("GET", "/v1/logs/input/export", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut lines: Vec<Value> =
            answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.pop();
        (lines.len() == count).then_some(lines)
    })
    .await
}

fn texts(lines: &[Value]) -> Vec<String> {
    let text = |line: &Value| {
        let payload = base64::engine::general_purpose::STANDARD.decode(line["payload"].as_str().unwrap());
        String::from_utf8(payload.unwrap()).unwrap()
    };
    lines.iter().map(text).collect()
}

/// What a program in the router reads.
fn read(folders: &Folders, since_us: u64) -> Vec<Recorded> {
    let input = LogOptions { is_input: true, ..LogOptions::new("input.input") };
    let options = StoreOptions { logs: vec![input, LogOptions::new("default")], ..StoreOptions::default() };
    let store = Store::open(&folders.data(), options).unwrap();
    let mut recording = Recording::since(&store, since_us).unwrap();
    let mut all = Vec::new();
    while let Some(page) = recording.next_page(&|topic| topic != "not/this", 2, 1 << 20).unwrap() {
        assert!(page.messages.len() <= 2 && page.lost == 0);
        all.extend(page.messages);
    }
    store.close().unwrap();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_recorded_as_they_came_in_whatever_became_of_them() {
    let router = recording(Setup::open())
        .guest("stamp-a")
        .guest_as("goodbye", "never")
        .binding("never", "topics = [\"refused\"]\n")
        .guest("misbehave")
        .binding("misbehave", "topics = [\"broken\"]\n")
        .start()
        .await;
    let mut ada = router.client("ada").await;
    ada.subscribe("#").await;
    for (topic, outcome) in [("a", "accepted"), ("broken", "plugin-failed"), ("not/this", "accepted")] {
        assert_eq!(ada.publish(topic, json!("panic")).await["outcome"], outcome);
    }
    assert_eq!(ada.publish("refused", json!(4)).await["outcome"], "invalid");
    let lines = exported(&router, 4).await;
    assert_eq!(texts(&lines), ["\"panic\"", "\"panic\"", "\"panic\"", "4"]);
    assert_eq!(
        (&lines[1]["topic"], &lines[1]["name"], &lines[1]["log"]),
        (&json!("broken"), &json!("ada"), &json!("input.input"))
    );
    // The log of outputs is chosen as if it were not there.
    let mut bob = router.client("bob").await;
    let history = bob.history("#").await;
    let topics: Vec<_> = history.iter().map(|message| (&message["topic"], &message["log"])).collect();
    assert_eq!(topics, [(&json!("a"), &json!("default")), (&json!("not/this"), &json!("default"))]);
    until_metric(&router, "weir_log_input_dropped_total", 0.0).await;

    let folders = router.stop().await;
    let all = read(&folders, 0);
    let first = &all[0].message;
    assert_eq!((all.len(), &*first.topic, &first.payload[..]), (3, "a", &b"\"panic\""[..]));
    let principal = all[0].sender.principal(first).unwrap();
    assert_eq!((&*principal.name, &*principal.binding, principal.account), ("ada", "open", None));
    let fields = |message: &weir::message::Message| String::from_utf8_lossy(&message.meta).into_owned();
    assert!(!fields(first).contains("stamp") && !fields(first).contains("open"), "as plugins got it");
    // From a time on.
    let since = read(&folders, all[1].message.received_us());
    assert_eq!(since.iter().map(|it| &*it.message.topic).collect::<Vec<_>>(), ["broken", "refused"]);
    assert!(read(&folders, u64::MAX).is_empty());
    // Over a restart, going on.
    let router = recording(Setup::over(&folders)).start().await;
    router.client("ada").await.publish("b", json!(5)).await;
    assert_eq!(texts(&exported(&router, 5).await)[4], "5");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_survives_kill_9() {
    let setup = Setup::open();
    setup.write_config("[[log]]\nname = \"input\"\ntopics = [\"a/#\"]\nrecord_input = true\n[[log]]\nname = \"kept\"\ntopics = [\"#\"]\n");
    let child = setup.spawn().await;
    let mut ada = child.reach.client("ada").await;
    for n in 1..=20 {
        assert_eq!(ada.publish_at("logged", "a/1", json!(n)).await["level"], "logged");
    }
    ada.publish_at("logged", "b", json!(0)).await;
    let age = child.reach.admin("GET", "/v1/logs/input", "").await.json;
    assert_eq!((&age["max_age_s"], &age["record_input"]), (&json!(3600), &json!(true)), "{age}");
    child.kill();
    let child = setup.spawn().await;
    let texts = texts(&exported(&child.reach, 20).await);
    assert_eq!(texts, (1..=20).map(|n: u64| n.to_string()).collect::<Vec<_>>());
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_operator_reads_what_was_recorded() {
    let router = recording(Setup::open()).guest("tally").start().await;
    let mut ada = router.client("ada").await;
    ada.publish_at("stored", "t", json!({"n": 1})).await;
    let lines = exported(&router, 1).await;
    let (epoch, offset) = (&lines[0]["epoch"], &lines[0]["offset"]);
    for name in ["input", "input.input"] {
        let since = json!({name: {"epoch": epoch, "offset": offset}});
        for asked in [
            json!({"action": "history", "topic": "#", "log": name}),
            json!({"action": "history", "topic": "#", "since": since}),
            json!({"action": "subscribe", "topic": "#", "since": since}),
            json!({"action": "subscribe", "topic": "#", "consumer": "c", "since": since}),
        ] {
            let answer = ada.ask(asked).await;
            assert_eq!(answer["outcome"], "invalid", "{answer}");
            let reason = answer["reason"].as_str().unwrap();
            assert!(
                reason.contains("there are default") && !reason.contains("there are default,"),
                "{reason}"
            );
        }
    }
    let answer = ada.ask(json!({"action": "subscribe", "topic": "#", "since": "start"})).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let message = ada.message().await;
    assert_eq!((&message["log"], &message["data"]["n"]), (&json!("default"), &json!(1)));
    assert_eq!(ada.event("caught-up").await["topic"], "#");
    // Neither does a storage plugin, nor does one hold it.
    let answer = ada.ask(json!({"action": "query", "plugin": "tally", "topic": "t"})).await;
    assert_eq!(answer["items"][0]["count"], 1, "{answer}");
    let logs = router.admin("GET", "/v1/logs", "").await.json;
    assert_eq!((&logs["logs"][0]["name"], &logs["logs"][0]["consumers"]), (&json!("input"), &json!([])));
    let consumers = router.admin("GET", "/v1/consumers", "").await.text;
    assert!(consumers.contains("\"default\"") && !consumers.contains("input"), "{consumers}");
    // An import would forge what came in; and what came in is not what was accepted.
    let answer = router.admin("POST", "/v1/logs/input/import", "").await;
    assert!(answer.status == 409 && answer.text.contains("records input"), "{answer:?}");
    let answer = router.admin("POST", "/v1/logs/default/import", &lines[0].to_string()).await;
    assert!(answer.status == 400 && answer.text.contains("never stands in a log"), "{answer:?}");

    // Without `record_input`, a log of that name is another one.
    let folders = router.stop().await;
    let plain = LogRule { record_input: false, ..input("#") };
    let router = Setup::over(&folders).config(|config| config.logs = vec![plain, LogRule::default()]);
    let router = router.start().await;
    let mut ada = router.client("ada").await;
    let answer = ada.ask(json!({"action": "history", "topic": "#", "log": "input"})).await;
    assert_eq!((&answer["ok"], &answer["messages"]), (&json!(true), &json!([])), "{answer}");
    let logs = router.admin("GET", "/v1/logs", "").await.json;
    assert_eq!(logs["others"][0]["name"], "input.input", "{logs}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_not_repaired_from_what_was_recorded() {
    let router = recording(Setup::open())
        .guest_as("goodbye", "never")
        .binding("never", "topics = [\"refused\"]\n")
        .start()
        .await;
    let mut ada = router.client("ada").await;
    let asked = json!({"action": "publish", "topic": "refused", "data": 1, "retain": true});
    assert_eq!(ada.ask(asked).await["outcome"], "invalid");
    exported(&router, 1).await;
    let folders = router.stop().await;
    let router = recording(Setup::over(&folders)).start().await;
    assert_eq!(router.admin("GET", "/v1/retained", "").await.json["retained"], json!([]));
    router.stop().await;
}

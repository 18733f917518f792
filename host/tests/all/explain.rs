//! `POST /v1/publish?explain=1`: what would become of a message, and nothing comes of it.

use serde_json::{Value, json};

use crate::harness::{Answer, Reach, Router, Setup, version};

const EXPLAIN: &str = "/v1/publish?explain=1";

async fn explain(router: &Reach, topic: &str, data: Value) -> Value {
    let body = json!({"topic": topic, "data": data}).to_string();
    let answer = router.http("POST", EXPLAIN, &[], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json
}

/// Of every step its stage, plugin, verdict, the topic that came and the topics that went on.
fn way(answer: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let line = |step: &Value| {
        let out = step["out"].as_array().cloned().unwrap_or_default();
        let out: Vec<_> = out.iter().map(|seen| word(&seen["topic"])).collect();
        let (stage, plugin, verdict) = (word(&step["stage"]), word(&step["plugin"]), word(&step["verdict"]));
        format!("{stage} {plugin} {verdict} {} > {}", word(&step["in"]["topic"]), out.join(" "))
    };
    answer["steps"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stage_says_what_it_makes_of_the_message() {
    let router = Setup::open()
        .guest("counter")
        .binding("counter", "[config]\nlimit = 500\n")
        .guest("reroute")
        .binding("reroute", "order = 10\nemit = [\"c\"]\n")
        .guest("stamp-a")
        .binding("stamp-a", "order = 20\ntopics = [\"b\", \"c\"]\n[config]\nlabel = \"!\"\n")
        .start()
        .await;
    let order = json!({"to": ["b", "c"], "how": "replace"});
    let answer = explain(&router, "a", order.clone()).await;
    assert_eq!((&answer["ok"], &answer["outcome"]), (&json!(true), &json!("accepted")), "{answer}");
    let expected = [
        "auth open allow a > ",
        "filter counter keep a > a",
        "transform reroute changed a > b c",
        "re-authorize open allow b > ",
        "re-authorize reroute allow c > ",
        "transform stamp-a changed b > b",
        "transform stamp-a changed c > c",
    ];
    assert_eq!(way(&answer), expected, "{answer}");
    let counter = &answer["steps"][1];
    assert_eq!(counter["version"], version("counter"));
    let bytes = order.to_string().len();
    assert_eq!((&counter["in"]["bytes"], &counter["out"][0]["bytes"]), (&json!(bytes), &json!(bytes)));
    assert!(counter["us"].as_f64().unwrap() > 0.0, "{counter}");
    assert!(counter["in"].get("payload").is_none(), "payloads are for those who ask: {counter}");
    assert_eq!(answer["steps"][4]["reason"], "granted by `emit`");
    for (at, topic) in ["b", "c"].into_iter().enumerate() {
        let message = &answer["messages"][at];
        assert_eq!((&message["topic"], &message["log"]), (&json!(topic), &json!("default")), "{message}");
        assert_eq!((&message["data"], &message["bytes"]), (&order, &json!(bytes)), "{message}");
        assert_eq!(message["headers"]["stamp"], "a!", "{message}");
        assert!(message.get("offset").is_none(), "it has no place in a log: {message}");
    }
    router.stop().await;
}

async fn letters(router: &Router) -> Value {
    router.admin("GET", "/v1/dead", "").await.json["letters"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_of_it() {
    let router = Setup::open()
        .guest("counter")
        .binding("counter", "topics = [\"hot\"]\n[config]\nlimit = 2\n")
        .guest("misbehave")
        .binding("misbehave", "topics = [\"bad\"]\non-error = \"dead-letter\"\n")
        .start()
        .await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    for _ in 0..5 {
        let body = json!({"topic": "hot", "data": 1, "retain": true, "level": "stored"}).to_string();
        let answer = router.http("POST", EXPLAIN, &[], &body).await.json;
        assert_eq!(answer["outcome"], "accepted", "each is the first that counts: {answer}");
    }
    let answer = explain(&router, "bad", json!("panic")).await;
    assert_eq!((&answer["ok"], &answer["outcome"]), (&json!(false), &json!("dead-lettered")), "{answer}");
    let step = &answer["steps"][1];
    assert_eq!((&step["verdict"], &step["policy"]), (&json!("trap"), &json!("dead-letter")), "{step}");
    assert!(step["reason"].as_str().unwrap().contains("misbehave panics on bad"), "{step}");
    assert_eq!(step["tries"], 2, "once more on a fresh instance: {step}");
    assert_eq!(letters(&router).await, 0);
    // Nor does it count against the plugin: its breaker stays closed.
    for _ in 0..3 {
        assert_eq!(explain(&router, "bad", json!("loop")).await["outcome"], "dead-lettered");
    }
    assert_eq!(explain(&router, "bad", json!("fine")).await["outcome"], "accepted");
    let asked = reader.publish("hot", json!("?")).await;
    assert_eq!((&asked["outcome"], &asked["reason"]), (&json!("filtered"), &json!("0")), "its count");
    assert!(reader.drain().await.is_empty(), "nothing is delivered");
    assert_eq!(reader.publish_at("logged", "hot", json!(2)).await["messages"][0]["offset"], 0);
    let history = reader.history("#").await;
    assert_eq!(history.len(), 1, "nothing is logged: {history:?}");
    let retained = router.admin("GET", "/v1/retained", "").await.json;
    assert_eq!(retained["retained"], json!([]), "nothing is retained");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_plugin_answers_is_in_its_step() {
    const POLICIES: &str = "\
[[binding]]\nname = \"deny\"\ntopics = [\"deny\"]\non-error = \"deny\"\n
[[binding]]\nname = \"pass\"\ntopics = [\"pass\"]\non-error = \"pass\"\n
[[binding]]\nname = \"drop\"\ntopics = [\"drop\"]\non-error = \"drop\"\n
[[binding]]\nname = \"disconnect\"\ntopics = [\"disconnect\"]\non-error = \"disconnect\"\n";
    let router = Setup::open()
        .guest("misbehave")
        .binding("misbehave", POLICIES)
        .binding("check", "plugin = \"stock:json-check\"\ntopics = [\"n\"]\n[[config.fields]]\npath = \"/n\"\ntype = \"number\"\n")
        .guest("reroute")
        .start()
        .await;
    for (topic, data, outcome, last) in [
        ("deny", json!("internal"), "plugin-failed", "filter deny error deny > "),
        ("drop", json!("panic"), "filtered", "filter drop trap drop > "),
        ("disconnect", json!("loop"), "plugin-failed", "filter disconnect timeout disconnect > "),
        ("pass", json!("panic"), "accepted", "transform reroute unchanged pass > pass"),
        ("n", json!({"n": "x"}), "invalid", "filter check refuse n > "),
        ("a", json!({"to": [], "how": "replace"}), "filtered", "transform reroute consumed a > "),
    ] {
        let answer = explain(&router, topic, data).await;
        assert_eq!(answer["outcome"], outcome, "{topic}: {answer}");
        assert_eq!(way(&answer).last().unwrap(), last, "{topic}: {answer}");
        let passed = way(&answer).contains(&"filter pass trap pass > pass".to_owned());
        assert_eq!(passed, topic == "pass", "{answer}");
        if topic == "n" {
            let reason = answer["steps"][1]["reason"].as_str().unwrap();
            assert!(reason.ends_with("(at /n)"), "{answer}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_should_be_there_is_named() {
    let several = "[[binding]]\nname = \"a\"\non-error = \"pass\"\n[[binding]]\nname = \"b\"\n";
    let router = Setup::open().guest("keep").binding("keep", several).start().await;
    let folders = router.stop().await;
    folders.replace("keep.wasm", b"no longer a component");
    let router = Setup::over(&folders).start().await;
    let answer = explain(&router, "t", json!(1)).await;
    assert_eq!(answer["outcome"], "plugin-failed", "one that lets pass opens nothing for the next: {answer}");
    let expected = ["auth open allow t > ", "filter a missing t > t", "filter b missing t > "];
    assert_eq!(way(&answer), expected, "{answer}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_learns_what_plugins_do() {
    let router = Setup::keyed().guest("reroute").start().await;
    let (service, _) = router.key("ops", &["mine/#"], &[], "").await;
    let asked = json!({"name": "dev", "origin": "device", "publish": ["#"], "subscribe": ["#"]});
    let device = router.admin("POST", "/v1/keys", &asked.to_string()).await.json;
    let device = device["key"].as_str().unwrap().to_owned();
    let ask = async |key: &str, topic: &str, data: Value| -> Answer {
        let body = json!({"topic": topic, "data": data}).to_string();
        router.http("POST", EXPLAIN, &[("x-api-key", key)], &body).await
    };
    for (key, topic) in [(&device, "mine/a"), (&service, "yours/a")] {
        let denied = ask(key, topic, json!(1)).await;
        assert_eq!(denied.status, 403, "{denied:?}");
        let expected = json!({"ok": false, "outcome": "denied",
            "reason": format!("not allowed to explain {topic:?}: the auth plugin decides who learns what plugins do")});
        assert_eq!(denied.json, expected);
    }
    assert_eq!(ask("wrong", "mine/a", json!(1)).await.status, 401);
    assert_eq!(ask(&service, "mine/a", json!(1)).await.json["outcome"], "accepted");
    let rerouted = ask(&service, "mine/a", json!({"to": ["yours/b"], "how": "add"})).await.json;
    assert_eq!(rerouted["outcome"], "denied", "{rerouted}");
    let expected = [
        "auth api-key allow mine/a > ",
        "transform reroute changed mine/a > mine/a yours/b",
        "re-authorize api-key deny yours/b > ",
    ];
    assert_eq!(way(&rerouted), expected);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_are_shown_when_asked_for_and_cut_when_long() {
    let router = Setup::open().guest("same").start().await;
    let post = async |path: &str, body: &str| {
        let answer = router.http("POST", path, &[("content-type", "text/plain")], body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    };
    let path = "/v1/publish?topic=a&explain=true&payload=true";
    let short = post(path, "hello").await;
    let step = &short["steps"][1];
    let shown = json!({"topic": "a", "bytes": 5, "payload": {"text": "hello"}});
    assert_eq!((&step["in"], &step["out"][0], &step["verdict"]), (&shown, &shown, &json!("unchanged")));
    assert_eq!(
        (&short["messages"][0]["text"], &short["messages"][0]["cut"]),
        (&json!("hello"), &Value::Null)
    );
    let long = post(path, &"ä".repeat(40_000)).await;
    for seen in [&long["steps"][1]["in"], &long["messages"][0]] {
        let text = seen["payload"]["text"].as_str().or(seen["text"].as_str()).unwrap();
        assert_eq!((&seen["bytes"], &seen["cut"], text.len()), (&json!(80_000), &json!(true), 65_536));
    }
    let bytes = router.http("POST", EXPLAIN, &[], r#"{"topic":"a","base64":"AP8="}"#).await;
    assert_eq!(bytes.json["messages"][0]["base64"], "AP8=", "{bytes:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_explained_is_refused_and_not_published() {
    let setup = Setup::open().config(|config| config.limits.message_bytes = 100);
    let router = setup.start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    let one = r#"{"topic":"a","data":1}"#;
    let large = json!({"topic": "a", "data": "x".repeat(100)}).to_string();
    for (path, body, status, reason) in [
        (EXPLAIN, "[{\"topic\":\"a\",\"data\":1}]", 400, "for a single message"),
        ("/v1/publish?explain=yes", one, 400, "accepted are 1, true, 0, false"),
        ("/v1/publish?explian=1", one, 400, "\"explian\" is not known here"),
        ("/v1/publish?payload=1", one, 400, "`payload` is for `explain`"),
        ("/v1/publish?explain=1&explain=0", one, 400, "given twice"),
        (EXPLAIN, r#"{"topic":"a/+","data":1}"#, 400, "topic"),
        (EXPLAIN, r#"{"topic":"$reply/x","data":1}"#, 422, "a reply meets no plugin"),
        (EXPLAIN, r#"{"topic":"$SYS/x","data":1}"#, 403, "the router's own"),
        (EXPLAIN, &large, 413, "at most 100"),
    ] {
        let refused = router.http("POST", path, &[], body).await;
        assert_eq!(refused.status, status, "{path} {body}: {refused:?}");
        assert!(refused.json["reason"].as_str().unwrap().contains(reason), "{path}: {refused:?}");
        assert!(refused.json.get("steps").is_none(), "{refused:?}");
    }
    assert_eq!(router.http("POST", "/v1/publish?explain=0", &[], one).await.status, 201);
    assert_eq!(reader.drain().await.len(), 1, "only the last was published");
    router.stop().await;
}

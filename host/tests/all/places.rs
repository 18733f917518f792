//! Places that never were, are gone, or are still to come: whoever names one is told.

use serde_json::{Value, json};
use weir::config::{Config, LogRule};

use crate::harness::{Client, Router, Setup, eventually, weir};

fn two_logs(config: &mut Config) {
    let rule = |name: &str, topics: &str| LogRule {
        name: name.to_owned(),
        topics: vec![topics.to_owned()],
        ..LogRule::default()
    };
    config.logs = vec![rule("a", "a/#"), rule("b", "b/#")];
}

fn numbers(page: &Value) -> Vec<u64> {
    page["messages"].as_array().unwrap().iter().map(|message| message["data"].as_u64().unwrap()).collect()
}

/// Fills both logs with 0 to 9, by turns. Returns the epoch of `a`.
async fn fill(client: &mut Client) -> u64 {
    let mut epoch = 0;
    for n in 0..20 {
        let answer = client.publish_at("logged", ["a/x", "b/x"][n % 2], json!(n / 2)).await;
        if n % 2 == 0 {
            epoch = answer["messages"][0]["epoch"].as_u64().unwrap();
        }
    }
    epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_backwards_tells_places_that_never_were() {
    let router = Setup::open().config(two_logs).start().await;
    let mut client = router.client("c").await;
    let epoch = fill(&mut client).await;
    let frame = json!({"action": "history", "topic": "a/#", "reverse": true, "limit": 3});
    let at = |epoch: u64, offset: u64| json!({"a": {"epoch": epoch, "offset": offset}});
    for (since, expected, recovered) in [
        (Value::Null, vec![9, 8, 7], true),
        (json!("now"), vec![9, 8, 7], true),
        (at(epoch, 5), vec![4, 3, 2], true),
        (at(epoch, 0), vec![], true),
        (at(epoch, 10), vec![9, 8, 7], true),
        (at(epoch, 11), vec![9, 8, 7], false),
        (at(epoch, u64::MAX), vec![9, 8, 7], false),
        (at(epoch + 1, 5), vec![9, 8, 7], false),
        (at(1, 5), vec![9, 8, 7], false),
        // What is said of a log that the pattern cannot meet does not matter.
        (json!({"b": {"epoch": 1, "offset": 5}}), vec![9, 8, 7], true),
    ] {
        let mut frame = frame.clone();
        frame["since"] = since;
        let page = client.ask(frame.clone()).await;
        let oldest = if recovered { Value::Null } else { at(epoch, 0) };
        assert_eq!(
            (numbers(&page), &page["recovered"], &page["oldest"]),
            (expected, &json!(recovered), &oldest),
            "{frame}: {page}"
        );
    }
    let mut from_start = frame.clone();
    from_start["since"] = json!("start");
    let answer = client.ask(from_start).await;
    assert!(answer["reason"].as_str().unwrap().contains("nothing is older"), "{answer}");
    let answer = router.http("GET", "/v1/history?topic=a/x&reverse=true&since=start", &[], "").await;
    assert!(answer.status == 400 && answer.text.contains("nothing is older"), "{answer:?}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_backwards_from_what_retention_took_or_a_crash_lost() {
    let setup = Setup::open();
    setup.write_config("[[log]]\nname = \"a\"\ntopics = [\"#\"]\nmax_bytes = \"8MiB\"\n");
    let child = setup.spawn().await;
    let mut client = child.reach.client("c").await;
    let filler = "x".repeat(60_000);
    let first = client.publish_at("logged", "t", json!(filler)).await["messages"][0].clone();
    let place = json!({"a": {"epoch": first["epoch"], "offset": 0}});
    let frame = json!({"action": "history", "topic": "t", "reverse": true, "limit": 1});
    // Retention takes whole segments; until then, more comes.
    let mut oldest = 0;
    while oldest == 0 {
        for _ in 0..40 {
            client.publish_at("logged", "t", json!(filler)).await;
        }
        let page = client.ask(json!({"action": "history", "topic": "t", "limit": 1})).await;
        oldest = page["messages"][0]["offset"].as_u64().unwrap();
    }
    let mut gone = frame.clone();
    gone["since"] = place;
    let page = client.ask(gone).await;
    assert_eq!(
        (&page["messages"], &page["recovered"], &page["more"]),
        (&json!([]), &json!(false), &json!(false))
    );
    assert!(page["oldest"]["a"]["offset"].as_u64().unwrap() >= oldest, "{page}");
    // A life that a crash ended: places that it never got to were lost, or never were.
    let last = client.publish_at("logged", "t", json!("last")).await["messages"][0].clone();
    child.kill();
    let child = setup.spawn().await;
    let mut client = child.reach.client("c").await;
    let after = client.publish_at("logged", "t", json!("after")).await["messages"][0].clone();
    client.publish_at("logged", "t", json!("later")).await;
    assert!(after["epoch"].as_u64() > last["epoch"].as_u64());
    let mut lost = frame;
    lost["since"] = json!({"a": {"epoch": last["epoch"], "offset": after["offset"].as_u64().unwrap() + 1}});
    lost["limit"] = json!(2);
    let page = client.ask(lost).await;
    assert_eq!((&page["recovered"], &page["messages"][0]["data"]), (&json!(false), &json!("last")));
}

async fn consume(client: &mut Client, name: &str, since: Value) -> Value {
    client.ask(json!({"action": "subscribe", "topic": "#", name: "c", "since": since})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_is_refused_and_told_as_a_subscription_is() {
    let router = Setup::open().config(two_logs).start().await;
    let mut client = router.client("c").await;
    let epoch = fill(&mut client).await;
    for kind in ["consumer", "group"] {
        let refused = consume(&mut client, kind, json!({"nope": {"epoch": 1, "offset": 1}})).await;
        assert_eq!(refused["reason"], "no log is named \"nope\": there are a, b", "{refused}");
        let good = json!({"a": {"epoch": epoch, "offset": 8}, "b": {"epoch": 1, "offset": 3}});
        let made = consume(&mut client, kind, good).await;
        let oldest = &made["oldest"];
        assert_eq!((&made["new"], &made["recovered"]), (&json!(true), &json!(false)), "{made}");
        assert!(oldest["b"]["offset"] == 0 && oldest.get("a").is_none(), "{made}");
        let mut counts = [0, 0];
        for _ in 0..11 {
            let message = client.message().await;
            counts[usize::from(message["log"] == "b")] += 1;
        }
        assert_eq!(counts, [1, 10]);
        // Who comes to one that there is, is not told where it began.
        let again = consume(&mut client, kind, json!({"a": {"epoch": 1, "offset": 8}})).await;
        assert!(again["new"] == false && again.get("recovered").is_none(), "{again}");
        let deleted = client.ask(json!({"action": "unsubscribe", kind: "c", "delete": true})).await;
        assert_eq!(deleted["removed"], true, "{deleted}");
        let at = json!({"a": {"epoch": epoch, "offset": 9}, "b": {"epoch": epoch, "offset": 9}});
        let made = consume(&mut client, kind, at).await;
        let b = client.history("b/x").await[0]["epoch"].as_u64().unwrap();
        assert_eq!(made["recovered"], json!(b == epoch), "{made}");
        let gone = client.ask(json!({"action": "unsubscribe", kind: "c", "delete": true})).await;
        assert_eq!(gone["removed"], true, "{gone}");
        client.drain().await;
        let made = consume(&mut client, kind, json!("start")).await;
        assert!(made["new"] == true && made.get("recovered").is_none(), "{made}");
        client.ask(json!({"action": "unsubscribe", kind: "c", "delete": true})).await;
        client.drain().await;
    }
    router.stop().await;
}

/// Where the consumer stands in both logs.
async fn cursors(router: &Router) -> (String, [u64; 2]) {
    let answer = router.admin("GET", "/v1/consumers", "").await;
    let one = &answer.json["consumers"][0];
    let at = |log: usize| one["logs"][log]["cursor"].as_u64().unwrap();
    (one["id"].as_str().unwrap().to_owned(), [at(0), at(1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_goes_where_it_says_and_moves_nothing_else() {
    let router = Setup::open().config(two_logs).start().await;
    let mut client = router.client("c").await;
    let epoch = fill(&mut client).await;
    assert_eq!(consume(&mut client, "consumer", json!("now")).await["ok"], true);
    let (id, at) = cursors(&router).await;
    assert_eq!(at, [10, 10]);
    let reset = async |to: String| {
        let mut command = weir();
        command.args(["consumer", "reset", &id, "--to", &to, "--admin", &router.reach.admin.to_string()]);
        command.arg("--data").arg(router.folders.data());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let accepted = format!("accepted are {epoch}:0 to {epoch}:9");
    for wrong in [format!("a:{}:5", epoch + 1), format!("a:{epoch}:10"), "a:1:5".into()] {
        let (ok, said) = reset(wrong.clone()).await;
        assert!(!ok && said.contains(&accepted), "{wrong}: {said}");
        assert_eq!(cursors(&router).await.1, [10, 10], "nothing moves");
    }
    let (ok, said) = reset(format!("a:{epoch}:5,a:{epoch}:6")).await;
    assert!(!ok && said.contains("each log once"), "{said}");
    let (ok, said) = reset(format!("a:{epoch}:5")).await;
    assert!(ok, "{said}");
    for n in 6..10 {
        let message = client.message().await;
        assert_eq!((&message["topic"], &message["data"]), (&json!("a/x"), &json!(n)));
    }
    eventually("only that log was rewound", async || (cursors(&router).await.1 == [6, 10]).then_some(()))
        .await;
    assert!(client.drain().await.is_empty());
    router.stop().await;
}

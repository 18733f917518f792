//! Dead letters are requeued: each goes where it was stopped, and goes away when it has arrived.

use serde_json::{Value, json};
use weir::config::Webhook;
use weir::store::{StateValue, Store, StoreOptions};

use crate::harness::{API_KEY, Client, Folders, Reach, Router, Setup, eventually, version, wasm, weir};
use crate::outbox::receiver::Receiver;
use crate::outbox::{quick, until_metric};

const SET_ASIDE: &str = "on-error = \"dead-letter\"\n";

async fn letters(reach: &Reach) -> Vec<Value> {
    reach.admin("GET", "/v1/dead", "").await.json["dead"].as_array().unwrap().clone()
}

async fn until_letters(reach: &Reach, count: usize) -> Vec<Value> {
    let found = async || Some(letters(reach).await).filter(|all| all.len() == count);
    eventually(&format!("there are {count} dead letters"), found).await
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().unwrap()
}

/// What became of the letters asked for.
async fn requeue(reach: &Reach, asked: Value) -> Vec<Value> {
    let answer = reach.admin("POST", "/v1/dead/requeue", &asked.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json["next"], Value::Null, "{answer:?}");
    answer.json["requeued"].as_array().unwrap().clone()
}

async fn requeue_one(reach: &Reach, letter: &Value) -> Value {
    let mut done = requeue(reach, json!({"ids": [id(letter)]})).await;
    assert_eq!((done.len(), &done[0]["id"]), (1, &letter["id"]));
    done.remove(0)
}

/// Outcome, and whether the letter is gone.
fn fate(done: &Value) -> (&str, bool) {
    (done["outcome"].as_str().unwrap(), done["gone"].as_bool().unwrap())
}

async fn command(reach: &Reach, folders: &Folders, arguments: &[&str]) -> (bool, String) {
    let mut command = weir();
    let admin = reach.admin.to_string();
    command.arg("dead").args(arguments).args(["--admin", &admin]).arg("--data").arg(folders.data());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requeued_message_runs_through_the_chain_as_it_was_admitted() {
    let router = Setup::open()
        .guest("stamp-a")
        .binding("stamp-a", "order = 1\n")
        .guest_as("stumble", "late")
        .binding("late", "order = 2\n")
        .start()
        .await;
    let mut ada = router.client("ada").await;
    let asked = json!({"action": "publish", "topic": "a/1", "data": {"n": 1}, "message_id": "m-1",
        "headers": {"unit": "K"}});
    assert_eq!(ada.ask(asked).await["outcome"], "dead-lettered");
    assert_eq!(ada.publish("a/2", json!({"n": 2})).await["outcome"], "dead-lettered");
    let kept = until_letters(&router, 2).await;
    let (second, first) = (&kept[0], &kept[1]);
    let digest = weir::plugin::component::hex(&weir::plugin::component::digest(&wasm("stumble")));
    assert_eq!(
        (&first["stage"], &first["plugin"], &first["digest"]),
        (&json!("transform"), &json!("late"), &json!(digest))
    );
    assert_eq!(first["version"], version("stumble"));
    let whole = router.admin("GET", &format!("/v1/dead/{}", id(first)), "").await.json;
    assert_eq!((&whole["text"], &whole["from"]), (&json!("{\"n\":1}"), &json!("ada")), "{whole}");

    // It fails again: the letter stays, and there is no second one.
    let done = requeue_one(&router, first).await;
    assert_eq!(fate(&done), ("dead-lettered", false), "{done}");
    assert_eq!(letters(&router).await, kept);

    // Repaired, after a restart.
    let folders = router.stop().await;
    let router = Setup::over(&folders).guest_as("same", "late").start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("a/#").await;
    let (well, said) = command(&router, &folders, &["requeue", id(first)]).await;
    assert!(well && said.contains(&format!("{} accepted", id(first))), "{said}");
    let message = reader.message().await;
    assert_eq!(
        (&message["topic"], &message["data"]["n"], &message["from"]),
        (&json!("a/1"), &json!(1), &json!("ada"))
    );
    assert_eq!(
        (&message["headers"]["unit"], &message["headers"]["stamp"]),
        (&json!("K"), &json!("a")),
        "stamped once"
    );
    assert_eq!(message["message_id"], "m-1", "{message}");
    assert_eq!(letters(&router).await, std::slice::from_ref(second));
    assert_eq!(reader.history("a/#").await.len(), 1, "it is in the log");
    // By plugin, and it is not there twice.
    let (well, said) = command(&router, &folders, &["requeue", "--plugin", "late"]).await;
    assert!(well && said.contains("1 dead letters are requeued"), "{said}");
    assert_eq!(reader.message().await["topic"], "a/2");
    let (well, said) = command(&router, &folders, &["requeue", id(first)]).await;
    assert!(!well && said.contains("not-found"), "{said}");
    assert_eq!(reader.history("a/#").await.len(), 2);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_survive_kill_9_and_are_requeued_by_the_next_router() {
    let setup = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE);
    let child = setup.spawn().await;
    let mut ada = child.reach.client("ada").await;
    // The answer comes when it is on the disk.
    assert_eq!(ada.publish("a/1", json!("panic")).await["outcome"], "dead-lettered");
    child.kill();
    setup.folders.replace("judge.wasm", &wasm("keep"));
    let child = setup.spawn().await;
    let kept = letters(&child.reach).await;
    assert_eq!((kept.len(), &kept[0]["stage"]), (1, &json!("filter")), "{kept:?}");
    let done = requeue(&child.reach, json!({"all": true})).await;
    assert_eq!(fate(&done[0]), ("accepted", true), "{done:?}");
    child.kill();
    // Accepted means logged, and gone means gone.
    let child = setup.spawn().await;
    assert!(letters(&child.reach).await.is_empty());
    assert_eq!(child.reach.client("reader").await.history("a/#").await.len(), 1);
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_decides_ends_a_letter_and_what_a_policy_does_keeps_it() {
    let router = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE).start().await;
    let mut ada = router.client("ada").await;
    assert_eq!(ada.publish("a/1", json!("panic")).await["outcome"], "dead-lettered");
    let letter = until_letters(&router, 1).await.remove(0);
    for (policy, outcome) in
        [("drop", "filtered"), ("deny", "plugin-failed"), ("disconnect", "plugin-failed")]
    {
        router.folders.write("judge.toml", &format!("on-error = \"{policy}\"\n"));
        let done = eventually("the policy holds", async || {
            let done = requeue_one(&router, &letter).await;
            (done["outcome"] == outcome).then_some(done)
        });
        assert_eq!(fate(&done.await), (outcome, false));
    }
    assert_eq!(letters(&router).await, std::slice::from_ref(&letter));
    router.folders.replace("judge.wasm", &wasm("goodbye"));
    router.until_live("judge", "goodbye").await;
    let done = requeue_one(&router, &letter).await;
    assert_eq!((fate(&done), &done["reason"]), (("invalid", true), &json!("nobody talks about a/1")));
    assert!(letters(&router).await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_publishers_right_is_asked_for_anew() {
    let router = Setup::keyed()
        .guest_as("misbehave", "judge")
        .binding("judge", "order = 0\non-error = \"dead-letter\"\n")
        .guest("reroute")
        .binding("reroute", "order = 1\n")
        .start()
        .await;
    let (key, key_id) = router.key("ada", &["a/#"], &["a/#"], "").await;
    let mut ada = router.keyed(&key).await;
    let away = json!({"to": ["b/1"], "how": "replace"});
    assert_eq!(ada.publish("a/1", json!("panic")).await["outcome"], "dead-lettered");
    // While the filter fails on everything, also what would be sent elsewhere is set aside.
    router.folders.replace("judge.wasm", &wasm("stumble"));
    router.until_live("judge", "stumble").await;
    assert_eq!(ada.publish("a/2", away).await["outcome"], "dead-lettered");
    let kept = until_letters(&router, 2).await;
    router.folders.replace("judge.wasm", &wasm("keep"));
    router.until_live("judge", "keep").await;
    let done = requeue_one(&router, &kept[0]).await;
    assert_eq!(fate(&done), ("denied", false), "a transform sends it where ada may not publish: {done}");
    // The way in is gone, then there again.
    router.folders.remove("api-key.toml");
    router.until_plugin("api-key", |plugin| plugin["state"] != "active").await;
    let done = requeue_one(&router, &kept[1]).await;
    assert_eq!(fate(&done), ("denied", false));
    assert!(done["reason"].as_str().unwrap().contains("the auth plugin api-key"), "{done}");
    router.folders.write("api-key.toml", API_KEY);
    router.until_plugin("api-key", |plugin| plugin["state"] == "active").await;
    // The key is gone, for ever.
    assert_eq!(router.admin("DELETE", &format!("/v1/keys/{key_id}"), "").await.status, 200);
    let done = requeue_one(&router, &kept[1]).await;
    assert_eq!(fate(&done), ("denied", false));
    assert!(done["reason"].as_str().unwrap().contains(&key_id), "{done}");
    assert_eq!(letters(&router).await, kept);
    router.stop().await;
}

async fn seen(client: &mut Client, plugin: &str) -> Value {
    client.ask(json!({"action": "query", "plugin": plugin, "topic": "t"})).await["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_stored_goes_to_that_plugin_alone() {
    let router = Setup::open().guest_as("tally", "books").guest("tally").start().await;
    let mut client = router.client("ada").await;
    client.subscribe("t").await;
    client.publish_at("stored", "t", json!("no number")).await;
    client.publish_at("stored", "t", json!({"n": 1})).await;
    let kept = until_letters(&router, 2).await;
    let letter = kept.iter().find(|letter| letter["plugin"] == "books").unwrap();
    assert_eq!((&letter["stage"], letter["digest"].as_str().unwrap().len()), (&json!("storage"), 64));
    let done = requeue_one(&router, letter).await;
    assert_eq!(
        (fate(&done), &done["reason"]),
        (("plugin-failed", false), &json!("tally wants {\"n\":NUMBER}"))
    );
    assert_eq!(letters(&router).await, kept, "no further letter");
    // A version that takes it. It counts from where it begins: what has passed is not its own any more.
    router.folders.replace("books.wasm", &wasm("poster"));
    router.until_live("books", "poster").await;
    let done = requeue(&router, json!({"plugin": "books"})).await;
    assert_eq!(fate(&done[0]), ("stored", true), "{done:?}");
    assert_eq!(seen(&mut client, "books").await, 1);
    client.publish_at("stored", "t", json!({"n": 2})).await;
    assert_eq!(seen(&mut client, "books").await, 2, "its cursor has not moved");
    assert_eq!(seen(&mut client, "tally").await["count"], 2);
    let heard = client.drain().await;
    assert_eq!(heard.len(), 3, "it was not published again: {heard:?}");
    assert_eq!(client.history("t").await.len(), 3);
    let left = until_letters(&router, 1).await;
    assert_eq!(left[0]["plugin"], "tally");
    // While a plugin stands still, a requeue is answered all the same.
    client.publish_at("logged", "t", json!("stuck")).await;
    assert_eq!(fate(&requeue_one(&router, &left[0]).await), ("plugin-failed", false));
    router.folders.remove("tally.wasm");
    router.until_plugin("tally", Value::is_null).await;
    let done = requeue_one(&router, &left[0]).await;
    assert_eq!(
        (fate(&done), &done["reason"]),
        (("invalid", false), &json!("no storage plugin is named \"tally\""))
    );
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_goes_into_its_outbox_again_with_its_key_and_headers() {
    let receiver = Receiver::start(|before, _| (if before < 2 { 410 } else { 200 }, Vec::new())).await;
    let binding = format!("topics = [\"out/#\"]\npost = [{:?}]\n", receiver.url("/"));
    let router = Setup::open().guest("poster").binding("poster", &binding).config(quick).start().await;
    let mut ada = router.client("ada").await;
    let post =
        json!({"n": 1, "url": receiver.url("/a"), "headers": {"authorization": "Bearer hidden", "x-a": "1"}});
    ada.publish_at("stored", "out/x", post).await;
    let letter = until_letters(&router, 1).await.remove(0);
    assert_eq!((&letter["stage"], &letter["topic"]), (&json!("outbox"), &json!("$outbox/poster")));
    let shown = router.admin("GET", &format!("/v1/dead/{}", id(&letter)), "").await.text;
    // The payload is shown, and has them here; the letter adds nothing of its own.
    assert_eq!(shown.matches("hidden").count(), 1, "{shown}");

    // It is given up once more: one letter, a new one.
    let done = requeue_one(&router, &letter).await;
    assert_eq!(fate(&done), ("queued", true), "{done}");
    receiver.until(2).await;
    let again = eventually("its new letter", async || {
        let all = letters(&router).await;
        (all.len() == 1 && all[0]["id"] != letter["id"]).then(|| all[0].clone())
    })
    .await;
    // Over a restart.
    let folders = router.stop().await;
    let router = Setup::over(&folders).config(quick).start().await;
    assert_eq!(fate(&requeue_one(&router, &again).await), ("queued", true));
    let posts = receiver.until(3).await;
    for post in &posts {
        assert_eq!((post.header("authorization"), post.header("x-a")), ("Bearer hidden", "1"));
        assert_eq!(
            (&post.body, post.header("idempotency-key")),
            (&posts[0].body, posts[0].header("idempotency-key"))
        );
    }
    assert!(!posts[0].header("idempotency-key").is_empty());
    until_metric(&router, "weir_outbox_waiting_posts", 0.0).await;
    assert!(letters(&router).await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_not_queued_where_it_may_not_go_any_more() {
    let receiver = Receiver::always(410).await;
    let binding = format!("post = [{:?}]\n", receiver.url("/"));
    let router = Setup::open().guest("poster").binding("poster", &binding).config(quick).start().await;
    router.client("ada").await.publish_at("stored", "out/x", json!({"url": receiver.url("/a")})).await;
    let letter = until_letters(&router, 1).await.remove(0);
    router.folders.write("poster.toml", "");
    let done = eventually("the grant is gone", async || {
        let kept = letters(&router).await;
        let done = requeue_one(&router, &kept[0]).await;
        (done["outcome"] == "plugin-failed").then_some(done)
    })
    .await;
    assert!(done["reason"].as_str().unwrap().contains("does not let it post to"), "{done} {letter}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhooks_letter_goes_when_the_receiver_has_answered() {
    let receiver = Receiver::start(|before, _| (if before < 2 { 410 } else { 200 }, Vec::new())).await;
    let webhook = Webhook {
        name: "billing".into(),
        topics: vec!["orders/#".into()],
        url: receiver.url("/hook").parse().unwrap(),
        headers: [("Authorization".into(), "Bearer secret".into())].into(),
        max_attempts: Some(3),
    };
    let router = Setup::open()
        .config(|config| {
            quick(config);
            config.webhooks = vec![webhook];
        })
        .start()
        .await;
    router.client("shop").await.publish_at("logged", "orders/1", json!({"n": 1})).await;
    let letter = until_letters(&router, 1).await.remove(0);
    assert_eq!((&letter["stage"], &letter["plugin"]), (&json!("webhook"), &json!("webhook:billing")));
    let done = requeue_one(&router, &letter).await;
    assert_eq!(fate(&done), ("queued", false), "{done}");
    receiver.until(2).await;
    assert_eq!(letters(&router).await, std::slice::from_ref(&letter), "refused again: the same letter stays");
    eventually("it may be requeued again", async || {
        (requeue_one(&router, &letter).await["outcome"] == "queued").then_some(())
    })
    .await;
    let posts = receiver.until(3).await;
    assert!(until_letters(&router, 0).await.is_empty());
    assert_eq!(posts[2].header("idempotency-key"), posts[0].header("idempotency-key"));
    assert_eq!(posts[2].header("authorization"), "Bearer secret");
    router.stop().await;
}

/// A letter as a version wrote it that kept less.
fn old_letter(topic: &str, about: &Value) -> Vec<u8> {
    let about = about.to_string();
    let parts = [topic.as_bytes(), &[1], b"payload", about.as_bytes()];
    parts.iter().flat_map(|part| [&(part.len() as u32).to_le_bytes()[..], part].concat()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_requeued_is_refused_with_the_reason() {
    let setup = Setup::open();
    let store = Store::open(&setup.folders.data(), StoreOptions::default()).unwrap();
    let old = [
        old_letter("a/1", &json!({"plugin": "judge", "version": "0", "reason": "it was so"})),
        old_letter("$gap", &json!({"stage": "gap", "plugin": "books", "version": "", "reason": "gone"})),
        old_letter(
            "$outbox/p",
            &json!({"stage": "outbox", "plugin": "p", "version": "", "reason": "no", "url": "http://a/", "key": "k"}),
        ),
        old_letter(
            "o/1",
            &json!({"stage": "webhook", "plugin": "webhook:x", "version": "", "reason": "no", "key": "default:1:1"}),
        ),
    ];
    store
        .writer()
        .submit(|queue| {
            for (n, letter) in (1_u64..).zip(old) {
                let key = [n.to_be_bytes().as_slice(), &u128::from(n).to_be_bytes()].concat();
                queue.state(
                    &"$dead-letters".into(),
                    key,
                    Some(StateValue { bytes: letter.into(), expires_us: None }),
                );
            }
        })
        .unwrap();
    store.close().unwrap();
    drop(store);
    let router = setup.start().await;
    let kept = letters(&router).await;
    assert_eq!((kept.len(), &kept[3]["reason"]), (4, &json!("it was so")), "what was kept before is read");
    let done = requeue(&router, json!({"all": true})).await;
    for (done, part) in
        done.iter().zip(["does not say who", "a gap has no message", "all of the post", "no webhook:x"])
    {
        assert_eq!(fate(done), ("invalid", false));
        assert!(done["reason"].as_str().unwrap().contains(part), "{done}");
    }
    assert_eq!((done.len(), letters(&router).await), (4, kept.clone()));
    let (well, said) = command(&router, &router.folders, &["requeue", "--all"]).await;
    assert!(!well && said.contains("4 dead letters could not be requeued"), "{said}");
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    assert_eq!(requeue(&router, json!({"ids": [unknown]})).await[0]["outcome"], "not-found");
    let many = vec![unknown; 101];
    for (body, part) in [
        (json!({"ids": []}), "1 to 100"),
        (json!({"ids": many}), "1 to 100"),
        (json!({"ids": ["x"]}), "is no id"),
        (json!({}), "accepted is one of"),
        (json!({"all": true, "plugin": "p"}), "accepted is one of"),
        (json!({"all": true, "after": "x"}), "accepted is `next`"),
        (json!({"everything": true}), "unknown field"),
    ] {
        let answer = router.admin("POST", "/v1/dead/requeue", &body.to_string()).await;
        assert!(answer.status == 400 && answer.text.contains(part), "{answer:?}");
    }
    let answer =
        crate::harness::request(router.admin, "POST", "/v1/dead/requeue", &[], "{\"all\":true}").await;
    assert_eq!(answer.status, 401);
    router.stop().await;
}

async fn fill(router: &Router, topics: impl IntoIterator<Item = String>) {
    let mut ada = router.client("ada").await;
    for topic in topics {
        assert_eq!(ada.publish(&topic, json!("panic")).await["outcome"], "dead-lettered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_letters_are_requeued_request_by_request() {
    let router = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE).start().await;
    fill(&router, (0..120).map(|n| format!("a/{n}"))).await;
    until_letters(&router, 120).await;
    let folders = std::sync::Arc::clone(&router.folders);
    let (well, said) = command(&router, &folders, &["requeue", "--all", "--json"]).await;
    let stay = said.lines().filter(|line| line.contains("\"dead-lettered\"")).count();
    assert!(
        !well && stay == 120 && said.contains("120 dead letters could not"),
        "each is tried once: {said}"
    );
    router.folders.replace("judge.wasm", &wasm("keep"));
    router.until_live("judge", "keep").await;
    let (well, said) = command(&router, &folders, &["requeue", "--all"]).await;
    assert!(well && said.contains("120 dead letters are requeued"), "{said}");
    let history =
        router.client("reader").await.ask(json!({"action": "history", "topic": "a/#", "limit": 1000})).await;
    let topics: Vec<_> =
        history["messages"].as_array().unwrap().iter().map(|m| m["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, (0..120).map(|n| format!("a/{n}")).collect::<Vec<_>>(), "oldest first");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requeue_ends_though_what_it_does_makes_new_letters() {
    let receiver = Receiver::always(410).await;
    let binding = format!("post = [{:?}]\n", receiver.url("/"));
    let router = Setup::open().guest("poster").binding("poster", &binding).config(quick).start().await;
    let mut ada = router.client("ada").await;
    for n in 0..150 {
        ada.publish("out/x", json!({"n": n, "url": receiver.url("/")})).await;
    }
    until_letters(&router, 150).await;
    let folders = std::sync::Arc::clone(&router.folders);
    let (well, said) = command(&router, &folders, &["requeue", "--plugin", "poster"]).await;
    assert!(well && said.contains("\n150 dead letters are requeued"), "{said}");
    receiver.until(300).await;
    until_letters(&router, 150).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_either_limit_the_oldest_letter_goes() {
    let setup = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE);
    let router = setup.config(|config| config.dead_letters.max_letters = 3).start().await;
    fill(&router, (1..=5).map(|n| format!("a/{n}"))).await;
    let topics = async |router: &Router| -> Vec<String> {
        letters(router).await.iter().map(|letter| letter["topic"].as_str().unwrap().into()).collect()
    };
    let newest = async || Some(topics(&router).await).filter(|topics| topics[..] == ["a/5", "a/4", "a/3"]);
    eventually("the newest three", newest).await;
    until_metric(&router, "weir_dead_letters_evicted_total", 2.0).await;
    let bytes = router.admin("GET", "/v1/dead", "").await.json["bytes"].as_u64().unwrap() as usize;
    let folders = router.stop().await;
    let router =
        Setup::over(&folders).config(|config| config.dead_letters.max_bytes = bytes * 2 / 3).start().await;
    fill(&router, ["a/6".to_owned()]).await;
    eventually("the newest two", async || {
        Some(topics(&router).await).filter(|topics| topics[..] == ["a/6", "a/5"])
    })
    .await;
    until_metric(&router, "weir_dead_letters_evicted_total", 2.0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requeued_by_several_operators_at_once_a_letter_is_published_once() {
    let router = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE).start().await;
    fill(&router, (0..30).map(|n| format!("a/{n}"))).await;
    until_letters(&router, 30).await;
    router.folders.replace("judge.wasm", &wasm("keep"));
    router.until_live("judge", "keep").await;
    let all = || requeue(&router, json!({"all": true}));
    let (a, b, c) = tokio::join!(all(), all(), all());
    let accepted = [a, b, c].concat().iter().filter(|done| fate(done) == ("accepted", true)).count();
    assert_eq!(accepted, 30);
    assert_eq!(router.client("reader").await.history("a/#").await.len(), 30);
    assert!(letters(&router).await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_is_not_requeued() {
    let router = Setup::open().guest_as("misbehave", "judge").binding("judge", SET_ASIDE).start().await;
    let asked = json!({"action": "publish", "topic": "a", "data": "panic", "expires_in_ms": 1});
    assert_eq!(router.client("ada").await.ask(asked).await["outcome"], "dead-lettered");
    let letter = until_letters(&router, 1).await.remove(0);
    let done = eventually("it has expired", async || {
        let done = requeue_one(&router, &letter).await;
        (done["outcome"] == "invalid").then_some(done)
    })
    .await;
    assert!(done["reason"].as_str().unwrap().contains("has expired: purge it"), "{done}");
    assert_eq!(letters(&router).await, [letter]);
    router.stop().await;
}

//! Webhooks of rooms: a copy of each message, to whoever may have it, and nobody waits for it.

use serde_json::{Value, json};
use weir::config::{Config, Rooms};

use super::{endpoint, open, said, user, word};
use crate::harness::{Reach, Setup, eventually};
use crate::outbox::quick;
use crate::outbox::receiver::{Received, Receiver};

/// Posts may go to this machine.
fn hooked(config: &mut Config) {
    quick(config);
    config.outbox.networks = vec!["127.0.0.0/8".parse().unwrap()];
    config.rooms = Some(Rooms::default());
}

async fn room(router: &Reach, url: &str) -> String {
    room_of(router, "alice", url).await
}

async fn room_of(router: &Reach, owner: &str, url: &str) -> String {
    let key = user(router, owner).await;
    let made = said(router, "POST", "/create_room/", &key, json!({"room_name": "r1", "webhook": url})).await;
    assert_eq!(made.0, 200, "{made:?}");
    key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_posted_with_all_that_it_has() {
    let receiver = Receiver::always(500).await;
    let again = Receiver::always(200).await;
    let router = Setup::new().config(hooked).start().await;
    let key = room(&router, &again.url("/hook?a=b")).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e1").await;
    let reader = endpoint(&router, &key, "r1", "read", "e2").await;
    let (mut socket, mut reader) = (open(&router, &code).await, open(&router, &reader).await);
    reader.say(word("not heard")).await;
    for n in 0..3 {
        socket.say(word(json!({"n": n}))).await;
    }
    let seen = again.until(3).await;
    let heard = socket.json().await;
    for (n, post) in seen.iter().enumerate() {
        let body: Value = serde_json::from_slice(&post.body).unwrap();
        assert_eq!(
            (&body["message"], &body["identity"], &body["room_name"]),
            (&json!({"n": n}), &json!("e1"), &json!("r1"))
        );
        assert_eq!((&body["endpoint_code"], &body["code"]), (&json!(code), &json!(code)));
        assert_eq!(body["timestamp"].as_str().unwrap().len(), heard["timestamp"].as_str().unwrap().len());
        assert_eq!((post.path.as_str(), post.header("content-type")), ("/hook?a=b", "application/json"));
        assert!(!post.header("idempotency-key").is_empty());
    }
    // A new webhook is that of new connections.
    let body = json!({"room_name": "r1", "webhook": receiver.url("/")});
    said(&router, "POST", "/create_room/", &key, body).await;
    socket.say(word("as before")).await;
    again.until(4).await;
    let mut new = open(&router, &code).await;
    new.say(word("elsewhere")).await;
    // Tried as often as is set, then set aside.
    receiver.until(3).await;
    eventually("the dead letter", async || {
        let dead = router.admin("GET", "/v1/dead", "").await.json;
        (dead["letters"] == 1).then_some(())
    })
    .await;
    assert!(new.settle().await.len() <= 2 && again.seen().len() == 4);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_dead_or_forbidden_harms_nobody() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let private = Receiver::always(200).await;
    for url in [format!("http://{dead}/"), private.url("/"), "no URL".into(), "http://[::1]:1/".into()] {
        let setup = Setup::new().config(|config| config.rooms = Some(Rooms::default()));
        let router = setup.start().await;
        let key = room(&router, &url).await;
        let code = endpoint(&router, &key, "r1", "readwrite", "e1").await;
        let mut socket = open(&router, &code).await;
        for n in 0..50 {
            socket.say(word(n)).await;
            assert_eq!(socket.json().await["message"], n, "{url}");
        }
        if url.starts_with("http:") {
            let labels = [("outbox", "gateway:rooms"), ("reason", "private")];
            let all =
                async || (router.sample("weir_outbox_refused_total", &labels).await == 50.0).then_some(());
            eventually("every post is counted", all).await;
        }
        router.stop().await;
    }
    assert!(private.seen().is_empty(), "addresses that are not public need the operator's leave");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_to_be_posted_survives_a_restart_and_is_bounded() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let small = |config: &mut Config| {
        hooked(config);
        config.outbox.max_posts = 40;
    };
    let router = Setup::new().config(small).start().await;
    let key = room(&router, &receiver.url("/")).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e1").await;
    let mut socket = open(&router, &code).await;
    for n in 0..30 {
        socket.say(word(json!({"n": n}))).await;
        socket.json().await;
    }
    let labels = [("outbox", "gateway:rooms")];
    let lost = async || {
        let full = router.sample("weir_outbox_refused_total", &labels).await;
        (full >= 20.0).then_some(full)
    };
    let lost = eventually("posts beyond the share of one receiver are counted", lost).await;
    assert_eq!(router.sample("weir_outbox_waiting_posts", &labels).await, 10.0);
    assert_eq!(lost, 20.0);
    let folders = router.stop().await;
    receiver.set_open(true);
    let router = Setup::over(&folders).config(small).start().await;
    let numbers = async || {
        let of =
            |post: &Received| serde_json::from_slice::<Value>(&post.body).unwrap()["message"]["n"].clone();
        let mut all: Vec<_> = receiver.seen().iter().map(of).collect();
        // What was not answered in time is posted again.
        all.dedup();
        all.contains(&json!(9)).then_some(all)
    };
    let numbers = eventually("the last post", numbers).await;
    assert_eq!(json!(numbers), json!((0..10).collect::<Vec<_>>()), "in order, the first that came");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_dead_receivers_loses_posts_of_its_own_only() {
    let small = |config: &mut Config| {
        hooked(config);
        config.outbox.max_posts = 16;
    };
    let router = Setup::new().config(small).start().await;
    let mut held = Vec::new();
    let mallory = room_of(&router, "mallory", "").await;
    for n in 0..4 {
        let dead = Receiver::always(200).await;
        dead.set_open(false);
        let room = format!("dead{n}");
        let body = json!({"room_name": room, "webhook": dead.url("/")});
        said(&router, "POST", "/create_room/", &mallory, body).await;
        let code = endpoint(&router, &mallory, &room, "readwrite", "m").await;
        let mut socket = open(&router, &code).await;
        for n in 0..8 {
            socket.say(word(n)).await;
            socket.json().await;
        }
        held.push(dead);
    }
    let labels = [("outbox", "gateway:rooms")];
    eventually("what is beyond the share of its owner is counted", async || {
        (router.sample("weir_outbox_refused_total", &labels).await == 28.0).then_some(())
    })
    .await;
    assert_eq!(router.sample("weir_outbox_waiting_posts", &labels).await, 4.0);
    let receiver = Receiver::always(200).await;
    let alice = room(&router, &receiver.url("/")).await;
    let code = endpoint(&router, &alice, "r1", "readwrite", "a").await;
    open(&router, &code).await.say(word("mine")).await;
    let post = receiver.until(1).await.remove(0);
    assert_eq!(serde_json::from_slice::<Value>(&post.body).unwrap()["message"], "mine");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_owners_flood_together_a_quiet_ones_post_is_sent() {
    let small = |config: &mut Config| {
        hooked(config);
        config.outbox.max_posts = 16;
    };
    let router = Setup::new().config(small).start().await;
    let dead = Receiver::always(200).await;
    dead.set_open(false);
    for n in 0..5 {
        let flood = room_of(&router, &format!("flood{n}"), &dead.url("/")).await;
        let code = endpoint(&router, &flood, "r1", "readwrite", "m").await;
        let mut socket = open(&router, &code).await;
        for n in 0..16 {
            socket.say(word(n)).await;
            socket.json().await;
        }
    }
    let labels = [("outbox", "gateway:rooms")];
    eventually("all of the floods' posts wait or are counted", async || {
        let waiting = router.sample("weir_outbox_waiting_posts", &labels).await;
        (router.sample("weir_outbox_refused_total", &labels).await + waiting == 80.0).then_some(())
    })
    .await;
    // Of two, one has the same receiver: it waits its turn there.
    let receiver = Receiver::always(200).await;
    for (owner, url) in [("alice", receiver.url("/")), ("bob", dead.url("/bob"))] {
        let key = room_of(&router, owner, &url).await;
        let code = endpoint(&router, &key, "r1", "readwrite", "a").await;
        open(&router, &code).await.say(word("mine")).await;
    }
    let post = receiver.until(1).await.remove(0);
    assert_eq!(serde_json::from_slice::<Value>(&post.body).unwrap()["message"], "mine");
    dead.set_open(true);
    eventually("the other quiet owner's post", async || {
        dead.seen().iter().any(|post| post.path == "/bob").then_some(())
    })
    .await;
    router.stop().await;
}

/// How many posts were not sent because what they were made for is deleted.
async fn deleted(router: &Reach, wanted: f64) {
    let labels = [("outbox", "gateway:rooms"), ("reason", "deleted")];
    eventually(&format!("{wanted} posts are let go"), async || {
        (router.sample("weir_outbox_refused_total", &labels).await == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_deleted_endpoint_or_user_is_not_posted_also_after_a_restart() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let router = Setup::new().config(hooked).start().await;
    let key = room(&router, &receiver.url("/")).await;
    let codes = [
        endpoint(&router, &key, "r1", "readwrite", "e1").await,
        endpoint(&router, &key, "r1", "readwrite", "e2").await,
    ];
    let mut sockets = [open(&router, &codes[0]).await, open(&router, &codes[1]).await];
    for (n, by) in [0, 0, 1, 0].into_iter().enumerate() {
        sockets[by].say(word(json!({"n": n}))).await;
        sockets[by].json().await;
        sockets[1 - by].json().await;
    }
    let waiting = async |router: &Reach| {
        router.sample("weir_outbox_waiting_posts", &[("outbox", "gateway:rooms")]).await
    };
    eventually("all wait", async || (waiting(&router).await == 4.0).then_some(())).await;
    receiver.until(1).await;
    said(&router, "GET", &format!("/delete_endpoint/r1/{}/", codes[0]), &key, Value::Null).await;
    let folders = router.stop().await;
    receiver.set_open(true);
    let router = Setup::over(&folders).config(hooked).start().await;
    deleted(&router, 3.0).await;
    // The first one was under way already, and is not tried again.
    receiver.until(2).await;
    let numbers = || -> Vec<Value> {
        let n = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["message"]["n"].clone();
        receiver.seen().iter().map(|post| n(&post.body)).collect()
    };
    assert_eq!(numbers(), [0, 2]);
    // The one that is under way holds the next up.
    receiver.set_open(false);
    let mut socket = open(&router, &codes[1]).await;
    socket.say(word(json!({"n": 4}))).await;
    receiver.until(3).await;
    socket.say(word(json!({"n": 5}))).await;
    eventually("both wait", async || (waiting(&router).await == 2.0).then_some(())).await;
    router.admin("DELETE", "/v1/users/main/alice", "").await;
    receiver.set_open(true);
    deleted(&router, 4.0).await;
    eventually("none waits", async || (waiting(&router).await == 0.0).then_some(())).await;
    assert_eq!(numbers(), [0, 2, 4]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_what_the_plugins_left_in_the_room_and_when() {
    let receiver = Receiver::always(200).await;
    let map = "plugin = \"stock:json-map\"\n[config]\non_not_json = \"pass\"\nremove = [\"/secret\"]\n";
    let setup = Setup::new().binding("map", map).guest("reroute");
    let setup = setup.binding("reroute", "emit = [\"elsewhere\"]\n").config(hooked);
    let router = setup.start().await;
    let key = room(&router, &receiver.url("/")).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e1").await;
    let mut socket = open(&router, &code).await;
    socket.say(word(json!({"to": ["elsewhere"], "how": "replace"}))).await;
    socket.say(word(json!({"a": 1, "secret": "pw"}))).await;
    let heard = socket.json().await;
    assert_eq!(heard["message"], json!({"a": 1}));
    let post: Value = serde_json::from_slice(&receiver.until(1).await[0].body).unwrap();
    assert_eq!((&post["message"], &post["timestamp"]), (&heard["message"], &heard["timestamp"]));
    router.stop().await;
}

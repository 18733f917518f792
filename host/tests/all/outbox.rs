//! Posts to the world outside, to a real receiver: at least once, in order, and only where they may go.

pub mod receiver;

use std::time::Duration;

use serde_json::{Value, json};
use weir::config::{Config, LogRule, Outbox};
use weir::store::{Store, StoreOptions};

use super::harness::{Folders, Reach, Setup, eventually};
use receiver::Receiver;

/// Fails fast.
pub fn quick(config: &mut Config) {
    let (first_pause, longest_pause) = (Duration::from_millis(5), Duration::from_millis(50));
    config.outbox = Outbox { first_pause, longest_pause, max_attempts: 3, ..Outbox::default() };
}

/// Everybody gets in, and what is published below `out` is posted to the `url` in it, if that is granted.
fn posting(grants: &[String]) -> Setup {
    let binding = format!("topics = [\"out/#\"]\npost = {}\n", json!(grants));
    Setup::open().guest("poster").binding("poster", &binding).config(quick)
}

async fn ask_for(reach: &Reach, posts: impl IntoIterator<Item = (u64, String)>) {
    let mut client = reach.client("writer").await;
    for (n, url) in posts {
        let answer = client.publish_at("logged", "out/x", json!({"n": n, "url": url})).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
    }
}

pub async fn until_metric(reach: &Reach, name: &str, wanted: f64) {
    eventually(&format!("{name} is {wanted}"), async || (reach.metric(name).await == wanted).then_some(()))
        .await;
}

/// Topic, payload, and what is said about each dead letter.
pub fn letters(folders: &Folders) -> Vec<(String, Vec<u8>, Value)> {
    let store = Store::open(&folders.data(), StoreOptions::default()).unwrap();
    let part = |rest: &mut &[u8]| {
        let (length, after) = rest.split_first_chunk::<4>().unwrap();
        let (part, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        *rest = after;
        part.to_vec()
    };
    let decode = |blob: Vec<u8>| {
        let mut rest = blob.as_slice();
        let [topic, _, payload, about] = std::array::from_fn(|_| part(&mut rest));
        (String::from_utf8(topic).unwrap(), payload, serde_json::from_slice(&about).unwrap())
    };
    store.load_space("$dead-letters").unwrap().into_iter().map(|pair| decode(pair.value)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_fails_is_tried_again_and_keeps_its_place() {
    let receiver = Receiver::start(|before, _| (if before < 2 { 503 } else { 204 }, Vec::new())).await;
    let router = posting(&[receiver.url("/hooks/")]).start().await;
    let url = receiver.url("/hooks/a?b=c");
    let mut client = router.client("writer").await;
    for n in 1..=4 {
        let data = json!({"n": n, "url": url, "headers": {"Content-Type": "text/x-test", "X-More": "m"}});
        client.publish_at("stored", "out/x", data).await;
    }
    let seen = receiver.until(6).await;
    assert_eq!(receiver.numbers(), [1, 1, 1, 2, 3, 4]);
    let keys: Vec<_> = seen.iter().map(|received| received.header("idempotency-key")).collect();
    assert!(
        !keys[0].is_empty() && keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3],
        "{keys:?}"
    );
    assert_eq!(
        (seen[0].path.as_str(), seen[0].header("host")),
        ("/hooks/a?b=c", &*receiver.address.to_string())
    );
    assert_eq!((seen[0].header("content-type"), seen[0].header("x-more")), ("text/x-test", "m"));
    until_metric(&router, "weir_outbox_sent_total", 4.0).await;
    until_metric(&router, "weir_outbox_waiting_posts", 0.0).await;
    assert_eq!(router.metric("weir_outbox_failed_attempts_total").await, 2.0);
    assert_eq!(router.metric("weir_dead_letters_total").await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_survive_kill_9() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let setup = posting(&[receiver.url("/")]);
    setup.write_config("[outbox]\nfirst_pause = \"5ms\"\nlongest_pause = \"50ms\"\n");
    let child = setup.spawn().await;
    let mut client = child.reach.client("writer").await;
    for n in 1..=5 {
        let answer = client.publish_at("stored", "out/x", json!({"n": n, "url": receiver.url("/")})).await;
        assert_eq!(answer["level"], "stored", "{answer}");
    }
    receiver.until(1).await;
    child.kill();
    receiver.set_open(true);
    let child = setup.spawn().await;
    let all = |seen: &[u64]| (1..=5).all(|n| seen.contains(&n));
    eventually("all posts", async || Some(receiver.numbers()).filter(|seen| all(seen))).await;
    let mut first = receiver.numbers();
    let mut known = Vec::new();
    first.retain(|n| {
        !known.contains(n) && {
            known.push(*n);
            true
        }
    });
    assert_eq!(first, [1, 2, 3, 4, 5]);
    let mut keys = std::collections::BTreeMap::new();
    for received in receiver.seen() {
        let key = received.header("idempotency-key").to_owned();
        assert_eq!(*keys.entry(received.n()).or_insert(key.clone()), key, "one key for each post");
    }
    until_metric(&child.reach, "weir_outbox_waiting_posts", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_known_authorities_are_trusted() {
    let receiver = Receiver::start_tls(|_, _| (200, Vec::new())).await;
    let url = format!("https://{}/", receiver.address);
    let setup = posting(std::slice::from_ref(&url));
    setup.write_config("[outbox]\nfirst_pause = \"5ms\"\nlongest_pause = \"50ms\"\nmax_attempts = 2\n");
    let child = setup.spawn().await;
    ask_for(&child.reach, [(1, url.clone())]).await;
    until_metric(&child.reach, "weir_outbox_dead_total", 1.0).await;
    assert!(
        receiver.seen().is_empty() && child.log().contains("invalid peer certificate"),
        "{}",
        child.log()
    );
    child.kill();
    let child = setup.spawn_with("SSL_CERT_FILE", receiver::tls("ca.pem").as_os_str()).await;
    ask_for(&child.reach, [(2, url)]).await;
    eventually("the second post", async || Some(receiver.numbers()).filter(|seen| seen.contains(&2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_destination_delays_no_other() {
    let (dead, alive) = (Receiver::always(200).await, Receiver::always(200).await);
    dead.set_open(false);
    let router = posting(&[dead.url("/"), alive.url("/")]).start().await;
    ask_for(&router, [(1, dead.url("/")), (2, alive.url("/")), (3, dead.url("/")), (4, alive.url("/"))])
        .await;
    alive.until(2).await;
    assert_eq!((alive.numbers(), dead.until(1).await.len()), (vec![2, 4], 1));
    dead.set_open(true);
    dead.until(2).await;
    assert_eq!(dead.numbers(), [1, 3]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_becomes_a_dead_letter_and_the_next_goes_on() {
    let other = Receiver::always(200).await;
    let target = other.url("/stolen");
    let receiver = Receiver::start(move |_, received| match received.path.as_str() {
        "/broken" => (500, Vec::new()),
        "/gone" => (410, Vec::new()),
        "/moved" => (307, vec![("location", target.clone())]),
        _ => (200, Vec::new()),
    })
    .await;
    let router = posting(&[receiver.url("/"), other.url("/")]).start().await;
    let paths = ["/broken", "/gone", "/moved", "/good"];
    ask_for(&router, paths.iter().enumerate().map(|(n, path)| (n as u64, receiver.url(path)))).await;
    receiver.until(6).await;
    until_metric(&router, "weir_outbox_dead_total", 3.0).await;
    assert_eq!(receiver.numbers(), [0, 0, 0, 1, 2, 3]);
    assert!(other.seen().is_empty(), "a redirect was followed");
    until_metric(&router, "weir_outbox_waiting_posts", 0.0).await;
    let letters = letters(&*router.stop().await);
    for ((topic, payload, about), (n, part)) in letters.iter().zip([
        (0, "500 Internal Server Error; 3 attempts"),
        (1, "410 Gone"),
        (2, "redirects are not followed"),
    ]) {
        assert_eq!(topic, "$outbox/poster");
        assert_eq!(serde_json::from_slice::<Value>(payload).unwrap()["n"], n);
        assert!(about["reason"].as_str().unwrap().contains(part), "{about}");
        assert_eq!((&about["stage"], &about["plugin"]), (&json!("outbox"), &json!("poster")));
        assert_eq!(about["url"], receiver.url(paths[n]));
    }
    assert_eq!(letters.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_outside_the_grants_takes_its_message_to_the_dead_letters() {
    let receiver = Receiver::always(200).await;
    let router = posting(&[receiver.url("/hooks")]).start().await;
    let urls = ["/hooks/1", "/hooksx", "/hooks/../x", "/hooks/2"].map(|path| receiver.url(path));
    ask_for(&router, urls.into_iter().enumerate().map(|(n, url)| (n as u64, url))).await;
    receiver.until(2).await;
    assert_eq!(receiver.numbers(), [0, 3]);
    let letters = letters(&*router.stop().await);
    let reasons: Vec<_> = letters.iter().map(|(_, _, about)| about["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].contains(&format!("add post = [\"http://{}/\"]", receiver.address)), "{reasons:?}");
    assert!(reasons[1].contains("`..`") && letters[1].0 == "out/x", "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_private_addresses_need_the_operators_leave() {
    let receiver = Receiver::always(200).await;
    let url = format!("http://localhost:{}/", receiver.address.port());
    let router = posting(std::slice::from_ref(&url)).start().await;
    ask_for(&router, [(1, url.clone())]).await;
    until_metric(&router, "weir_outbox_dead_total", 1.0).await;
    assert!(receiver.seen().is_empty());
    until_metric(&router, "weir_outbox_waiting_posts", 0.0).await;
    let folders = router.stop().await;
    let about = letters(&folders).pop().unwrap().2;
    assert!(about["reason"].as_str().unwrap().contains("no public address"), "{about}");
    let loopback = ["127.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
    let router =
        Setup::over(&folders).config(quick).config(|config| config.outbox.networks = loopback.to_vec());
    let router = router.start().await;
    ask_for(&router, [(2, url)]).await;
    receiver.until(1).await;
    assert_eq!(receiver.numbers(), [2]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_stops_its_plugin_and_loses_nothing() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let setup = posting(&[receiver.url("/")]).config(|config| config.outbox.max_posts = 2);
    let router = setup.start().await;
    let mut client = router.client("writer").await;
    client.publish_at("stored", "out/x", json!({"n": 1, "url": receiver.url("/")})).await;
    ask_for(&router, (2..=6).map(|n| (n, receiver.url("/")))).await;
    eventually("the outbox is full", async || {
        (router.metric("weir_outbox_full_total").await >= 1.0).then_some(())
    })
    .await;
    assert!(router.metric("weir_outbox_waiting_posts").await <= 2.0);
    let lagging = router.until_plugin("poster", |plugin| plugin["lag"].as_u64() > Some(0)).await;
    assert_eq!(lagging["state"], "active", "{lagging}");
    receiver.set_open(true);
    receiver.until(6).await;
    assert_eq!(receiver.numbers(), [1, 2, 3, 4, 5, 6]);
    router.until_plugin("poster", |plugin| plugin["lag"] == 0 && plugin["missed"] == 0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_takes_no_post_away_and_sends_none_again() {
    let receiver = Receiver::always(200).await;
    receiver.set_open(false);
    let setup = posting(&[receiver.url("/")]).config(|config| config.outbox.max_posts = 2);
    let router = setup.start().await;
    ask_for(&router, (1..=6).map(|n| (n, receiver.url("/")))).await;
    router.until_plugin("poster", |plugin| plugin["lag"].as_u64() > Some(0)).await;
    assert_eq!(router.admin("POST", "/v1/plugins/poster/rebuild", "").await.status, 202);
    receiver.set_open(true);
    router.until_plugin("poster", |plugin| plugin["rebuild"]["state"] == "done" && plugin["lag"] == 0).await;
    receiver.until(6).await;
    until_metric(&router, "weir_outbox_waiting_posts", 0.0).await;
    assert_eq!(receiver.numbers(), [1, 2, 3, 4, 5, 6]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_that_loses_a_grant_sends_nothing_there_any_more() {
    let receiver = Receiver::start(|_, _| (503, Vec::new())).await;
    let patient = |config: &mut Config| {
        quick(config);
        config.outbox.max_attempts = 1_000_000;
    };
    let router = posting(&[receiver.url("/")]).config(patient).start().await;
    ask_for(&router, [(1, receiver.url("/")), (2, receiver.url("/"))]).await;
    receiver.until(2).await;
    let folders = router.stop().await;
    folders.write("poster.toml", "topics = [\"out/#\"]\n");
    let before = receiver.seen().len();
    let router = Setup::over(&folders).config(patient).start().await;
    until_metric(&router, "weir_outbox_dead_total", 2.0).await;
    assert_eq!(receiver.seen().len(), before);
    router.stop().await;
}

/// What does not compress, so that the log really grows.
pub fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).unwrap())
    };
    (0..bytes).map(step).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_takes_from_a_plugin_is_counted_and_told() {
    let small = |config: &mut Config| {
        config.logs = vec![LogRule { max_bytes: Some(1), hold_max_bytes: Some(1), ..LogRule::default() }];
    };
    let setup = Setup::open().guest("tally").binding("tally", "topics = [\"t/#\"]\n").config(small);
    let router = setup.start().await;
    let mut client = router.client("writer").await;
    client.publish_at("logged", "t/x", json!("stuck")).await;
    for n in 0..20 {
        client.publish_at("logged", "filler", json!(noise(900_000, n))).await;
    }
    let stored = client.publish_at("logged", "t/x", json!({"n": 7})).await;
    let offset = stored["messages"][0]["offset"].as_u64().unwrap();
    let seen = router
        .until_plugin("tally", |plugin| plugin["missed"].as_u64() > Some(0) && plugin["lag"] == 0)
        .await;
    let missed = seen["missed"].as_u64().unwrap();
    assert!(missed >= 1 && missed <= offset, "{seen}");
    assert_eq!(router.metric("weir_consumer_missed_messages_total").await, missed as f64);
    let letters = letters(&*router.stop().await);
    let gaps: Vec<_> = letters.iter().filter(|(_, _, about)| about["stage"] == "gap").collect();
    // One, or more if it got on with what was left in between.
    let mut told = 0;
    for (topic, payload, about) in gaps {
        assert!(topic == "$gap" && payload.is_empty() && about["plugin"] == "tally", "{about}");
        let reason = about["reason"].as_str().unwrap();
        let words: Vec<_> = reason.split(' ').collect();
        let ["retention", "took", "offsets", from, "to", to, "of", "log", "default", ..] = words[..] else {
            panic!("{reason}")
        };
        assert!(told > 0 || from == "0", "{reason}");
        told += 1 + to.parse::<u64>().unwrap() - from.parse::<u64>().unwrap();
    }
    assert_eq!(told, missed);
}

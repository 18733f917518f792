//! All gateways at once, in one process, while every plugin is swapped each second: no socket is dropped, nothing is
//! lost, doubled or reordered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weir::config::{Ganomics, Paikea, Picloud, Rooms};

use crate::harness::{Client, Router, Setup, Socket, request, version, wasm};

/// How long it goes on.
const DURATION: Duration = Duration::from_secs(60);
/// Between two swaps of everything.
const BETWEEN: Duration = Duration::from_secs(1);
/// Between two messages of one publisher.
const PACE: Duration = Duration::from_millis(5);

/// What the game's binding has beside its order.
const GAME: &str = "topics = [\"ganomics/ask\"]\nemit = [\"ganomics/#\"]\non_error = \"deny\"\n";

/// Whoever sends: until it is told to stop. How many it has sent is known only afterwards.
#[derive(Clone, Default)]
struct Run {
    stop: Arc<AtomicBool>,
}

/// What one publisher has sent in all; unknown while it sends.
#[derive(Clone)]
struct Total(Arc<AtomicU64>);

impl Total {
    fn unknown() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    fn is(&self, count: u64) -> bool {
        self.0.load(Ordering::Acquire) == count
    }
}

impl Run {
    /// Sends a number at a time, then the last one, by which its readers know the end.
    async fn send(&self, total: Total, mut send: impl AsyncFnMut(u64)) {
        let mut number = 0;
        loop {
            // Said before the last one is on its way, so that its reader knows it for the last.
            let last = self.stop.load(Ordering::Relaxed);
            if last {
                total.0.store(number + 1, Ordering::Release);
            }
            send(number).await;
            number += 1;
            if last {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Reads until the end: each number once, in its order.
async fn read(who: &str, total: Total, mut next: impl AsyncFnMut() -> u64) -> u64 {
    let mut wanted = 0;
    while !total.is(wanted) {
        let came = next().await;
        assert_eq!(came, wanted, "{who}");
        wanted += 1;
    }
    wanted
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).parse().unwrap()
}

/// picloud: one publishes, two read.
async fn picloud(router: &Router, run: &Run) {
    let address = router.gateways["picloud"];
    let open = async |path: &str| Socket::open(address, path, &[]).await;
    let mut publisher = open("/publish?clientName=p").await;
    let mut readers = Vec::new();
    for name in ["one", "other"] {
        let mut reader = open(&format!("/subscribe?clientName={name}")).await;
        reader.say(json!({"action": "subscribe", "event": "e"}).to_string()).await;
        reader.settle().await;
        readers.push(reader);
    }
    let total = Total::unknown();
    let send = run.send(total.clone(), async |number| {
        publisher.say(json!({"event": "e", "data": number.to_string()}).to_string()).await;
    });
    let [mut one, mut other] = <[Socket; 2]>::try_from(readers).ok().unwrap();
    tokio::join!(
        send,
        read("picloud, one", total.clone(), async || number(&one.json().await["data"])),
        read("picloud, other", total.clone(), async || number(&other.json().await["data"])),
    );
    for socket in [&mut publisher, &mut one, &mut other] {
        assert!(socket.settle().await.is_empty(), "nothing comes twice at the end");
    }
}

/// picloud by HTTP: each publish is answered before the next.
async fn posts(router: &Router, run: &Run) {
    let address = router.gateways["picloud"];
    let mut reader = Socket::open(address, "/subscribe?clientName=r", &[]).await;
    reader.say(json!({"action": "subscribe", "event": "posted"}).to_string()).await;
    reader.settle().await;
    let total = Total::unknown();
    let send = run.send(total.clone(), async |number| {
        let body = json!({"event": "posted", "data": number.to_string()}).to_string();
        assert_eq!(request(address, "POST", "/publish?clientName=h", &[], body).await.status, 201);
    });
    tokio::join!(send, read("posts", total.clone(), async || number(&reader.json().await["data"])));
    assert!(reader.settle().await.is_empty());
}

/// Paikea: a device to two pages.
async fn paikea(router: &Router, run: &Run) {
    let mut device = Socket::open(router.gateways["paikea-device"], "/iam", &[]).await;
    let page = async || Socket::open(router.gateways["paikea-page"], "/iam", &[]).await;
    let (mut one, mut other) = (page().await, page().await);
    let total = Total::unknown();
    tokio::join!(
        run.send(total.clone(), async |number| device.say(number.to_string()).await),
        read("paikea, one page", total.clone(), async || one.text().await.parse().unwrap()),
        read("paikea, other page", total.clone(), async || other.text().await.parse().unwrap()),
    );
    for socket in [&mut device, &mut one, &mut other] {
        assert!(socket.settle().await.is_empty());
    }
}

/// Paikea the other way: a page to a device.
async fn commands(router: &Router, run: &Run) {
    let mut device = Socket::open(router.gateways["paikea-device"], "/other", &[]).await;
    let mut page = Socket::open(router.gateways["paikea-page"], "/other", &[]).await;
    let total = Total::unknown();
    let send = run.send(total.clone(), async |number| page.say(number.to_string()).await);
    tokio::join!(send, read("commands", total.clone(), async || device.text().await.parse().unwrap()));
    for socket in [&mut device, &mut page] {
        assert!(socket.settle().await.is_empty());
    }
}

/// A room: one writes and hears itself, one only reads.
async fn rooms(router: &Router, run: &Run) {
    let made = router.admin("POST", "/v1/users", &json!({"name": "alice"}).to_string()).await;
    let key = made.json["key"].as_str().unwrap().to_owned();
    let address = router.gateways["rooms"];
    let ask = async |path: &str, body: Value| {
        let answer = request(address, "POST", path, &[("API-KEY", &key)], body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    };
    ask("/create_room/", json!({"room_name": "r"})).await;
    let mut sockets = Vec::new();
    for permissions in ["readwrite", "read"] {
        let made = ask("/add_endpoint/", json!({"room_name": "r", "permissions": permissions})).await;
        let path = format!("/ws/endpoint/{}/", made["code"].as_str().unwrap());
        sockets.push(Socket::open(address, &path, &[]).await);
    }
    let [mut writer, mut reader] = <[Socket; 2]>::try_from(sockets).ok().unwrap();
    let total = Total::unknown();
    let send = run.send(total.clone(), async |number| {
        writer.say(json!({"message": number.to_string()}).to_string()).await;
        assert_eq!(writer.json().await["message"], number.to_string(), "the writer hears itself");
    });
    tokio::join!(send, read("room", total.clone(), async || number(&reader.json().await["message"])));
    for socket in [&mut writer, &mut reader] {
        assert!(socket.settle().await.is_empty());
    }
}

/// A player that asks again and again: each answer has the next number.
async fn ganomics(router: &Router, run: &Run) {
    let mut player = Socket::open(router.gateways["ganomics"], "/ws/", &[]).await;
    let demand = json!({"demand": "init", "deviceId": "tablet"}).to_string();
    let (mut before, mut pseudo) = (None, None);
    while !run.stop.load(Ordering::Relaxed) {
        player.say(demand.clone()).await;
        // A repeated request gets the broadcast, too.
        let reply = loop {
            let came = player.json().await;
            if came["demand"] == "init" {
                break came;
            }
        };
        let id = reply["messageId"].as_u64().unwrap();
        assert!(before.is_none_or(|before| id == before + 1), "{before:?}, then {id}");
        assert_eq!(pseudo.get_or_insert(reply["pseudo"].clone()), &reply["pseudo"], "the same player");
        before = Some(id);
        tokio::time::sleep(PACE).await;
    }
    player.settle().await;
}

/// The native protocol beside them.
async fn native(router: &Router, run: &Run) {
    let (mut publisher, mut reader): (Client, Client) = (router.client("p").await, router.client("r").await);
    reader.subscribe("native/t").await;
    let total = Total::unknown();
    let send = run.send(total.clone(), async |number| {
        let answer = publisher.publish("native/t", json!(number)).await;
        assert_eq!(answer["outcome"], "accepted", "{answer}");
    });
    let read = read("native", total.clone(), async || reader.message().await["data"].as_u64().unwrap());
    tokio::join!(send, read);
    assert!(reader.drain().await.is_empty());
}

/// Swaps every plugin, each second, and waits until the new ones are live.
async fn swaps(router: &Router, run: &Run) -> u64 {
    let began = tokio::time::Instant::now();
    let mut swaps = 0;
    while began.elapsed() < DURATION {
        tokio::time::sleep(BETWEEN).await;
        swaps += 1;
        let folders = &router.folders;
        let stamp = if swaps % 2 == 0 { "stamp-a" } else { "stamp-b" };
        folders.replace("stamp.wasm", &wasm(stamp));
        for (name, text) in bindings(swaps) {
            folders.replace(&format!("{name}.toml"), text.as_bytes());
        }
        router.until_plugin("stamp", |plugin| plugin["version"] == *version(stamp)).await;
    }
    run.stop.store(true, Ordering::Relaxed);
    swaps
}

/// Bindings of every kind, each time others.
fn bindings(swap: u64) -> [(&'static str, String); 5] {
    let order = 10 + swap % 2;
    [
        ("open", format!("plugin = \"stock:open\"\norder = {order}\n")),
        ("same", format!("order = {order}\ntopics = [\"#\"]\n")),
        ("stamp", format!("order = {order}\ntopics = [\"#\"]\n")),
        (
            "latest",
            format!("plugin = \"stock:latest\"\norder = {order}\n[config]\nmax_age_s = {}\n", 1_000 + swap),
        ),
        ("ganomics", format!("plugin = \"stock:ganomics\"\norder = {order}\n{GAME}")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_gateways_go_on_while_every_plugin_is_swapped_each_second() {
    let mut setup = Setup::new().guest("same").guest_as("stamp-a", "stamp");
    for (name, text) in bindings(0) {
        setup = setup.binding(name, &text);
    }
    let router = setup.config(|config| {
        config.picloud = Some(Picloud::default());
        config.paikea = Some(Paikea::default());
        config.rooms = Some(Rooms::default());
        config.ganomics = Some(Ganomics::default());
    });
    let router = router.start().await;
    let run = Run::default();
    let (swaps, ..) = tokio::join!(
        swaps(&router, &run),
        picloud(&router, &run),
        posts(&router, &run),
        paikea(&router, &run),
        commands(&router, &run),
        rooms(&router, &run),
        ganomics(&router, &run),
        native(&router, &run),
    );
    assert!(swaps >= 10, "{swaps}");
    let listed = router.admin("GET", "/v1/plugins", "").await;
    let all = listed.json["plugins"].as_array().unwrap().clone();
    assert!(all.iter().all(|plugin| plugin["state"] == "active"), "{all:?}");
    router.stop().await;
}

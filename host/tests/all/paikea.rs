//! Paikea's protocol over raw sockets: each sentence of its contract.

mod firmware;
mod sealed;

use std::net::SocketAddr;
use std::time::Duration;

use firmware::{Firmware, Frame};
use serde_json::json;
use weir::config::Paikea;

use crate::harness::{Client, Heard, PATIENCE, Router, Setup, Socket, payload, request};

/// A router that serves Paikea's devices and pages, and native clients who see what they say.
async fn router() -> Router {
    serving(Setup::open()).await
}

async fn serving(setup: Setup) -> Router {
    setup.config(|config| config.paikea = Some(Paikea::default())).start().await
}

fn devices(router: &Router) -> SocketAddr {
    router.gateways["paikea-device"]
}

fn pages(router: &Router) -> SocketAddr {
    router.gateways["paikea-page"]
}

async fn device(router: &Router, key: &str) -> Socket {
    Socket::open(devices(router), key, &[]).await
}

async fn page(router: &Router, key: &str) -> Socket {
    Socket::open(pages(router), key, &[]).await
}

/// A native client that is told of all that is said.
async fn witness(router: &Router) -> Client {
    let mut client = router.client("witness").await;
    client.subscribe("paikea/#").await;
    client
}

fn closed(code: u16) -> Heard {
    Heard::Closed(code, String::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_the_whole_target_as_it_stands() {
    let router = router().await;
    let keys =
        ["/iam1", "/iam1?x=1", "/iam1?", "/", "//", "/a/b", "/%69am1", "/iam+1", "/?", "/$x", "/%2Fiam1"];
    let mut open = Vec::new();
    for key in keys {
        open.push((key, device(&router, key).await, page(&router, key).await));
    }
    for (key, device, page) in &mut open {
        page.say(format!("to {key}")).await;
        assert_eq!(device.text().await, format!("to {key}"));
        device.say(format!("from {key}")).await;
        assert_eq!(page.text().await, format!("from {key}"));
    }
    for (key, device, page) in &mut open {
        assert!(
            device.settle().await.is_empty() && page.settle().await.is_empty(),
            "{key} hears of its own only"
        );
    }
    // No client sends a fragment; the key of one that does ends before it.
    let mut fragment = Firmware::connect(pages(&router), "/iam1#part").await;
    fragment.say("to /iam1").await;
    assert_eq!(open[0].1.text().await, "to /iam1");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_says_comes_to_all_its_pages_in_its_order() {
    let router = router().await;
    let mut device = device(&router, "/iam1").await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(page(&router, "/iam1").await);
    }
    let mut other = page(&router, "/iam2").await;
    // Not a word is looked at: neither empty ones nor what is no JSON.
    let said = ["", "{\"a\":1}", "ä\u{0}\n\"", "[[", " ", ""];
    for text in said {
        device.say(text).await;
    }
    for page in &mut all {
        for text in said {
            assert_eq!(page.text().await, text);
        }
    }
    // A dead page holds nobody up.
    drop(all.remove(0));
    device.say("still there").await;
    for page in &mut all {
        assert_eq!(page.text().await, "still there");
    }
    assert!(other.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_says_comes_to_the_device_and_to_no_page() {
    let router = router().await;
    let mut device = device(&router, "/iam1").await;
    let mut one = page(&router, "/iam1").await;
    let mut other = page(&router, "/iam1").await;
    one.say(r#"["GET","wifi",[]]"#).await;
    assert_eq!(device.text().await, r#"["GET","wifi",[]]"#);
    other.say("").await;
    assert_eq!(device.text().await, "");
    // They would have heard of it before this.
    device.say("end").await;
    for page in [&mut one, &mut other] {
        assert_eq!(page.text().await, "end");
    }
    assert!(device.settle().await.is_empty(), "nor does the device hear itself");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_nobody_is_dropped_and_never_comes_again() {
    let router = router().await;
    let mut witness = witness(&router).await;
    let mut early = page(&router, "/iam1").await;
    early.say("to no device").await;
    assert_eq!(witness.message().await["text"], "to no device");
    assert!(early.settle().await.is_empty(), "the page is told nothing");
    let mut first = device(&router, "/iam1").await;
    early.say("hello").await;
    assert_eq!(first.text().await, "hello", "nothing from before");
    assert!(early.settle().await.is_empty(), "nobody says that a device came");
    first.stream.close(None).await.unwrap();
    assert_eq!(
        first.hear().await,
        Heard::Closed(1005, String::new()),
        "a close without a code is answered so"
    );
    assert!(early.settle().await.is_empty(), "nor that it went, and the page stays open");
    let mut alone = device(&router, "/iam2").await;
    alone.say("to no page").await;
    for text in ["hello", "to no page"] {
        assert_eq!(witness.message().await["text"], text);
    }
    assert!(page(&router, "/iam2").await.settle().await.is_empty());
    let mut next = device(&router, "/iam1").await;
    early.say("again").await;
    assert_eq!(next.text().await, "again", "the page reaches the next device");
    next.say("here").await;
    assert_eq!(early.text().await, "here");
    // Whatever others keep on these topics is not for them.
    let kept = json!({"action": "publish", "topic": "paikea/%2Fiam1/down", "text": "kept", "retain": true});
    assert_eq!(witness.ask(kept).await["ok"], true);
    assert_eq!(next.text().await, "kept");
    assert!(device(&router, "/iam1").await.settle().await.is_empty(), "nothing retained");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_takes_the_key_over_at_once() {
    let router = router().await;
    let mut page = page(&router, "/iam1").await;
    let mut old = device(&router, "/iam1").await;
    for round in 0..21 {
        let mut new = device(&router, "/iam1").await;
        page.say(format!("{round}")).await;
        assert_eq!(new.text().await, format!("{round}"));
        assert_eq!(old.hear().await, closed(1000), "and heard nothing of it");
        new.say(format!("of {round}")).await;
        assert_eq!(page.text().await, format!("of {round}"));
        old = new;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_key_changes_hands_every_message_reaches_just_one_device() {
    const MESSAGES: usize = 5_000;
    const DEVICES: usize = 40;
    let router = router().await;
    let mut page = page(&router, "/iam1").await;
    let first = device(&router, "/iam1").await;
    let talking = tokio::spawn(async move {
        for number in 0..MESSAGES {
            page.say(number.to_string()).await;
        }
        page
    });
    let mut heard = Vec::new();
    let listen = |mut socket: Socket| async move {
        let mut all = Vec::<usize>::new();
        loop {
            match socket.hear().await {
                Heard::Text(text) => all.push(text.parse().unwrap()),
                end => {
                    assert_eq!(end, closed(1000));
                    return all;
                }
            }
        }
    };
    let mut current = tokio::spawn(listen(first));
    for _ in 0..DEVICES {
        let next = device(&router, "/iam1").await;
        heard.extend(current.await.unwrap());
        current = tokio::spawn(listen(next));
    }
    // What is left comes to the last one, before the one that ends it takes over.
    let mut page = talking.await.unwrap();
    let mut last = device(&router, "/iam1").await;
    heard.extend(current.await.unwrap());
    page.say(MESSAGES.to_string()).await;
    loop {
        let number = last.text().await.parse::<usize>().unwrap();
        if number == MESSAGES {
            break;
        }
        heard.push(number);
    }
    assert_eq!(heard, (0..MESSAGES).collect::<Vec<_>>(), "none lost, none twice, all in order");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_come_all_at_once_leave_one_in_possession() {
    let router = router().await;
    let mut page = page(&router, "/iam1").await;
    let coming = (0..20).map(|_| device(&router, "/iam1"));
    let mut all = futures_util::future::join_all(coming).await;
    // Only the last is left open; the others have been told.
    let mut open = Vec::new();
    page.say("who").await;
    for socket in &mut all {
        match socket.hear().await {
            Heard::Text(text) => open.push(text),
            other => assert_eq!(other, closed(1000)),
        }
    }
    assert_eq!(open, ["who"]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_device_keeps_its_key_no_longer_than_another() {
    // However slow this machine is, the old one is not cut off before it has read what it got.
    let router = serving(Setup::open().config(|config| config.limits.write = PATIENCE)).await;
    let mut witness = witness(&router).await;
    let mut page = page(&router, "/iam1").await;
    // It reads nothing and answers nothing, with a full socket besides.
    let mut old = Firmware::connect(devices(&router), "/iam1").await;
    let long = "x".repeat(900 * 1024);
    for _ in 0..4 {
        page.say(long.clone()).await;
        witness.message().await;
    }
    let mut new = device(&router, "/iam1").await;
    page.say("to the new one").await;
    assert_eq!(new.text().await, "to the new one");
    new.say("from the new one").await;
    assert_eq!(page.text().await, "from the new one");
    for _ in 0..4 {
        assert_eq!(old.hear().await, long, "what was said to the old one before");
    }
    assert_eq!(old.frame().await, Some(Frame(0x88, vec![0x03, 0xe8])), "then the close");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_firmwares_own_client_is_content() {
    let router = router().await;
    let mut page = page(&router, "/iam1").await;
    let mut device = Firmware::connect(devices(&router), "/iam1").await;
    let state = r#"{"iam":"iam1","dev":"tracker","batt/main_v":3.9,"rb/enabled":true}"#;
    device.say(state).await;
    assert_eq!(page.text().await, state);
    for length in [0, 125, 126, 65_535, 65_536] {
        let command = "c".repeat(length);
        page.say(command.clone()).await;
        assert_eq!(device.hear().await, command, "one frame, whole, not masked and not compressed");
    }
    device.send(0x89, b"?").await;
    assert_eq!(device.frame().await, Some(Frame(0x8a, b"?".to_vec())), "a ping gets its pong");
    // Parts of a message come as one.
    device.send(0x01, b"in ").await;
    device.send(0x00, b"three ").await;
    device.send(0x80, b"parts").await;
    assert_eq!(page.text().await, "in three parts");
    let mut raw_page = Firmware::connect(pages(&router), "/iam1").await;
    device.say("whole").await;
    assert_eq!(raw_page.hear().await, "whole");
    // It does not answer a close, it just stops; the server does not wait for it.
    let _next = Firmware::connect(devices(&router), "/iam1").await;
    assert_eq!(device.frame().await, Some(Frame(0x88, vec![0x03, 0xe8])));
    assert_eq!(device.frame().await, None);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_said_after_the_handshake_is_missed() {
    let router = router().await;
    for round in 0..50 {
        let key = format!("/iam{round}");
        let mut device = Firmware::connect(devices(&router), &key).await;
        let mut page = page(&router, &key).await;
        device.say("first").await;
        assert_eq!(page.text().await, "first");
        let mut other = Firmware::connect(devices(&router), &key).await;
        page.say("second").await;
        assert_eq!(other.hear().await, "second");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_page_may_come_and_nothing_is_negotiated() {
    let router = router().await;
    for address in [devices(&router), pages(&router)] {
        let offered = [
            ("origin", "https://anywhere.example"),
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ];
        let more: String = offered.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = Firmware::ask(address, "/iam1", &more).await.head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(
            !head.contains("sec-websocket-protocol") && !head.contains("sec-websocket-extensions"),
            "{head}"
        );
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_speak_websocket_is_told_so_in_plain_text() {
    let router = router().await;
    for address in [devices(&router), pages(&router)] {
        let plain = request(address, "GET", "/iam1", &[], "").await;
        assert_eq!((plain.status, plain.header("upgrade")), (426, "websocket"), "{plain:?}");
        let posted = request(address, "POST", "/iam1", &[], "{}").await;
        assert_eq!((posted.status, posted.header("upgrade")), (400, ""), "{posted:?}");
        let [bare, absolute] = ["iam1", "http://host/iam1"];
        let bare = request(address, "GET", bare, &[], "").await;
        let absolute = request(address, "GET", absolute, &[], "").await;
        assert_eq!((bare.status, absolute.status), (400, 400), "only a part of them would be the key");
        for answer in [plain, posted, bare, absolute] {
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        }
        // `paikea/`, `%2F`, `/down` and so many letters are 512 bytes.
        let longest = format!("/{}", "k".repeat(512 - 7 - 3 - 5));
        let open = Socket::open(address, &longest, &[]).await;
        assert_eq!(Socket::try_open(address, &format!("{longest}k"), &[]).await.err(), Some(414));
        let refused = Firmware::ask(address, &format!("{longest}k"), "").await;
        assert!(refused.head.starts_with("HTTP/1.1 414 "), "{}", refused.head);
        drop(open);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mebibyte_passes_and_more_closes_with_1009() {
    let router = router().await;
    let mut device = device(&router, "/iam1").await;
    let mut one = page(&router, "/iam1").await;
    let mut other = page(&router, "/iam1").await;
    let most = "m".repeat(1 << 20);
    one.say(most.clone()).await;
    assert!(device.text().await == most);
    one.say(format!("{most}m")).await;
    assert!(matches!(one.hear().await, Heard::Closed(1009, _)));
    device.say(most.clone()).await;
    assert!(other.text().await == most, "nobody else is closed");
    device.say(format!("{most}m")).await;
    assert!(matches!(device.hear().await, Heard::Closed(1009, _)));
    assert!(other.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_ends_a_page_with_1011_and_a_device_with_1000() {
    let router = router().await;
    let mut witness = witness(&router).await;
    let mut device = device(&router, "/iam1").await;
    let mut one = page(&router, "/iam1").await;
    let mut other = page(&router, "/iam1").await;
    one.say(b"\x01\x02".to_vec()).await;
    assert_eq!(one.hear().await, closed(1011));
    other.say("before").await;
    assert_eq!(device.text().await, "before");
    device.say(b"\x01".to_vec()).await;
    assert_eq!(device.hear().await, closed(1000));
    other.say("to nobody").await;
    for text in ["before", "to nobody"] {
        assert_eq!(witness.message().await["text"], text, "what is binary was never said");
    }
    assert!(other.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_is_never_pinged() {
    let setup = Setup::open().config(|config| {
        config.limits.silence = Duration::from_millis(50);
        config.http.origins = vec!["*".into()];
    });
    let router = serving(setup).await;
    let mut device = Firmware::connect(devices(&router), "/iam1").await;
    let mut page = Firmware::connect(pages(&router), "/iam1").await;
    // A native client that answers no ping is closed in the end; these two were silent for longer.
    let mut native = Firmware::connect(router.http, "/v1/ws?client_id=silent").await;
    while native.frame().await.is_some_and(|Frame(first, _)| first != 0x88) {}
    page.say("awake?").await;
    assert_eq!(device.hear().await, "awake?", "the first frame of all");
    device.say("yes").await;
    assert_eq!(page.hear().await, "yes");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_messages_are_messages_like_all_others() {
    let setup = Setup::open()
        .binding("filter", "plugin = \"stock:json-check\"\ntopics = [\"paikea/%2Fchecked/up\"]\n");
    let router = serving(setup).await;
    let mut native = witness(&router).await;
    let mut device = device(&router, "/iam1").await;
    let mut page = page(&router, "/iam1").await;
    device.say("{\"a\":1}").await;
    page.text().await;
    page.say("do").await;
    device.text().await;
    for (topic, text) in [("paikea/%2Fiam1/up", "{\"a\":1}"), ("paikea/%2Fiam1/down", "do")] {
        let came = native.message().await;
        assert_eq!((&came["topic"], &came["from"]), (&json!(topic), &json!("%2Fiam1")), "{came}");
        assert_eq!(payload(&came), ("text", json!(text)));
    }
    native.publish("paikea/%2Fiam1/up", json!({"info": "Done"})).await;
    assert_eq!(page.text().await, r#"{"info":"Done"}"#);
    let binary = json!({"action": "publish", "topic": "paikea/%2Fiam1/down", "base64": "/w=="});
    native.ask(binary).await;
    assert_eq!(device.text().await, "/w==", "what is no text comes in base64");
    let mut checked = self::device(&router, "/checked").await;
    let mut watching = self::page(&router, "/checked").await;
    checked.say("no json").await;
    checked.say("{}").await;
    assert_eq!(watching.text().await, "{}", "a plugin may drop what it does not like");
    let listed = router.admin("GET", "/v1/connections", "").await;
    let listed = listed.json["connections"].as_array().unwrap().clone();
    let mine = listed.iter().filter(|connection| connection["gateway"] == "paikea");
    let mut mine: Vec<_> =
        mine.map(|connection| format!("{} {}", connection["origin"], connection["subscriptions"])).collect();
    mine.sort();
    let wanted = [
        r#""device" ["paikea/%2Fchecked/down"]"#,
        r#""device" ["paikea/%2Fiam1/down"]"#,
        r#""page" ["paikea/%2Fchecked/up"]"#,
        r#""page" ["paikea/%2Fiam1/up"]"#,
    ];
    assert_eq!(mine, wanted);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_keys_share_a_name_and_nothing_else() {
    let router = router().await;
    let [one, two] = ["1", "2"].map(|end| format!("/{}{end}", "k".repeat(200)));
    let mut device = device(&router, &one).await;
    let mut page_of_two = page(&router, &two).await;
    let mut page_of_one = page(&router, &one).await;
    device.say("x").await;
    assert_eq!(page_of_one.text().await, "x");
    assert!(page_of_two.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_below_which_pages_come_in_is_no_part_of_the_key() {
    let paikea = Paikea { page_base_path: "/pages".parse().unwrap(), ..Paikea::default() };
    let router = Setup::new().config(|config| config.paikea = Some(paikea)).start().await;
    for key in ["/iam1", "/iam1?x=1", "/"] {
        let mut device = device(&router, key).await;
        let mut page = page(&router, &format!("/pages{key}")).await;
        page.say(key).await;
        assert_eq!(device.text().await, key);
    }
    assert_eq!(Socket::try_open(pages(&router), "/iam1", &[]).await.err(), Some(404));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_said_is_in_the_text_log_when_the_router_has_stopped() {
    let setup = Setup::new();
    let folder = setup.folders.root().join("log");
    let paikea = Paikea { log: folder.clone(), ..Paikea::default() };
    let router = setup.config(|config| config.paikea = Some(paikea)).start().await;
    let mut page = page(&router, "/iam1?x=1").await;
    page.say("dropped, and logged").await;
    page.settle().await;
    let mut device = device(&router, "/").await;
    device.say("{}").await;
    device.say("").await;
    device.say(vec![1_u8]).await;
    assert_eq!(device.hear().await, closed(1000));
    let _folders = router.stop().await;
    let text = std::fs::read_to_string(folder.join("device_server.log")).unwrap();
    let mut said = Vec::new();
    for line in text.lines() {
        let (time, rest) = line.split_at("Nov 21 07:55:53".len());
        assert_eq!(time.split(' ').map(str::len).collect::<Vec<_>>(), [3, 2, 8], "{line}");
        said.push(rest.strip_prefix(&format!(" device_server [{}]: ", std::process::id())).unwrap());
    }
    assert_eq!(said, ["Device Server restarted", "< /iam1?x=1/ dropped, and logged", "> // {}", "> // "]);
}

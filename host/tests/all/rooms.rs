//! Rooms over raw sockets: each sentence of their contract.

mod page;
mod posts;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir::config::{Config, Flavour, Rooms};

use crate::clients::program::{foreign, packaged};
use crate::harness::{Answer, Heard, Reach, Router, Setup, Socket, request, within};

/// A router that serves rooms, and has no auth plugin.
async fn router(rooms: Rooms) -> Router {
    Setup::new().config(|config| config.rooms = Some(rooms)).start().await
}

fn seed() -> Rooms {
    Rooms { flavour: Flavour::Seed, ..Rooms::default() }
}

/// A user; returns its key.
async fn user(router: &Reach, name: &str) -> String {
    let made = router.admin("POST", "/v1/users", &json!({"name": name}).to_string()).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.json["key"].as_str().unwrap().to_owned()
}

async fn ask(router: &Reach, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let headers: &[(&str, &str)] = if key.is_empty() { &[] } else { &[("API-KEY", key)] };
    request(router.gateways["rooms"], method, path, headers, body.to_owned()).await
}

/// The status and text of an answer.
async fn said(router: &Reach, method: &str, path: &str, key: &str, body: Value) -> (u16, String) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = ask(router, method, path, key, &body).await;
    (answer.status, answer.text)
}

fn text(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// An endpoint's code, as a client of the newest version makes one.
async fn endpoint(router: &Reach, key: &str, room: &str, permissions: &str, identity: &str) -> String {
    let body = json!({"room_name": room, "permissions": permissions, "identity": identity});
    let made = ask(router, "POST", "/add_endpoint/", key, &body.to_string()).await;
    assert_eq!(made.status, 200, "{made:?}");
    made.json["code"].as_str().unwrap().to_owned()
}

async fn open(router: &Reach, code: &str) -> Socket {
    Socket::open(router.gateways["rooms"], &format!("/ws/endpoint/{code}/"), &[]).await
}

fn word(message: impl Into<Value>) -> String {
    json!({"message": message.into()}).to_string()
}

/// The same, of what may be no JSON.
fn word_of(message: &str) -> String {
    format!("{{\"message\":{message}}}")
}

/// A user with a room.
async fn room(router: &Reach) -> String {
    let key = user(router, "alice").await;
    let made = said(router, "POST", "/create_room/", &key, json!({"room_name": "r1"})).await;
    assert_eq!(made, text(200, "Room created successfully"));
    key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_version_makes_rooms_and_endpoints_with_json() {
    let router = router(Rooms::default()).await;
    let (alice, bob) = (user(&router, "alice").await, user(&router, "bob").await);
    let no_key = text(403, "No/Invalid API KEY");
    let wrong_method = text(404, "Invalid request method");
    let room = json!({"room_name": "r1"});
    for path in ["/create_room/", "/add_endpoint/", "/main/create_room/"] {
        assert_eq!(said(&router, "GET", path, "", Value::Null).await, wrong_method, "before the key: {path}");
        assert_eq!(said(&router, "POST", path, "", Value::Null).await, no_key, "before the body: {path}");
        assert_eq!(said(&router, "POST", path, "nobody", room.clone()).await, no_key);
        for broken in ["", "{", "[]", "1"] {
            let answer = ask(&router, "POST", path, &alice, broken).await;
            assert!(
                answer.status == 500 && answer.text.contains("<h1>Server Error (500)</h1>"),
                "{answer:?}"
            );
        }
        let nameless = said(&router, "POST", path, &alice, json!({"webhook": ""})).await;
        assert_eq!(nameless, text(400, "Invalid room name"));
    }
    assert_eq!(
        said(&router, "POST", "/create_room/", &alice, room.clone()).await,
        text(200, "Room created successfully")
    );
    let again = json!({"room_name": "r1", "webhook": "http://127.0.0.1:1/x"});
    let updated = text(200, "Room already exists. Webhook updated successfully.");
    assert_eq!(said(&router, "POST", "/main/create_room/", &alice, again).await, updated);
    assert_eq!(
        said(&router, "POST", "/create_room/", &bob, room).await.0,
        200,
        "each owner has names of its own"
    );
    let list = ask(&router, "GET", "/list_rooms/", &alice, "").await;
    assert_eq!(
        list.text,
        r#"{"r1": {"webhook": "http://127.0.0.1:1/x", "room_name": "r1", "owner": "alice"}}"#
    );
    assert_eq!(list.header("content-type"), "application/json");

    let without = said(&router, "POST", "/add_endpoint/", &alice, json!({"room_name": "r1"})).await;
    assert_eq!((without.0, &without.1[..21]), (400, "Invalid permissions: "));
    let asked = json!({"room_name": "r1", "permissions": "read_and_write"});
    let made = ask(&router, "POST", "/add_endpoint/", &alice, &asked.to_string()).await;
    let code = made.json["code"].as_str().unwrap();
    assert!(code.len() == 100 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{code}");
    let wanted = json!({"code": code, "permissions": "readwrite", "room": "r1", "room_name": "r1", "identity": "Anonymous"});
    assert_eq!(made.json, wanted);
    let odd = endpoint(&router, &alice, "r1", "may read", "e1").await;
    let list = ask(&router, "GET", "/list_endpoints/r1/", &alice, "").await;
    let shown = json!([{"code": code, "permissions": "readwrite", "identity": "Anonymous"},
        {"code": odd, "permissions": "may read", "identity": "e1"}]);
    assert_eq!(list.json["endpoints"], shown, "the newest stores any permissions");

    for (path, key) in [
        ("/list_endpoints/r2/", &alice),
        ("/delete_room/r2/", &alice),
        ("/delete_endpoint/r1/nothing/", &alice),
        (&format!("/delete_endpoint/r1/{code}/"), &bob),
        (&format!("/delete_endpoint/r2/{code}/"), &alice),
    ] {
        let (status, text) = said(&router, "GET", path, key, Value::Null).await;
        assert!(status == 404 && text.contains("<h1>Not Found</h1>"), "{path}: {text}");
        assert_eq!(said(&router, "GET", path, "", Value::Null).await, no_key, "{path}");
    }
    let gone = said(&router, "GET", &format!("/delete_endpoint/r1/{code}/"), &alice, Value::Null).await;
    assert_eq!(gone, text(200, "Endpoint deleted successfully"));
    assert_eq!(
        said(&router, "GET", "/delete_room/r1/", &alice, Value::Null).await,
        text(200, "Room deleted successfully")
    );
    assert_eq!(said(&router, "GET", "/list_rooms/", &alice, Value::Null).await, text(200, "{}"));
    assert_eq!(
        Socket::try_open(router.gateways["rooms"], &format!("/ws/endpoint/{odd}/"), &[]).await.err(),
        Some(404)
    );
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_version_makes_rooms_and_endpoints_with_paths() {
    let router = router(seed()).await;
    let (alice, bob) = (user(&router, "alice").await, user(&router, "bob").await);
    let get = async |path: &str, key: &str| said(&router, "GET", path, key, Value::Null).await;
    for path in ["/create_room/r1/", "/list_rooms/", "/add_endpoint/r1/read/", "/main/delete_room/r1/"] {
        assert_eq!(get(path, "").await, text(403, "No/Invalid API KEY"), "{path}");
        let (status, forged) = said(&router, "POST", path, &alice, json!({})).await;
        assert!(status == 403 && forged.contains("CSRF verification failed"), "{path}: {forged}");
    }
    assert_eq!(get("/main/create_room/r%201/", &alice).await, text(200, "Room created successfully"));
    assert_eq!(get("/create_room/r%201/", &alice).await, text(404, "Room already exists"));
    assert_eq!(get("/create_room/r%201/", &bob).await, text(404, "Room already exists"));
    assert_eq!(get("/list_rooms/", &alice).await, text(200, r#"{"rooms": ["r 1"]}"#));
    assert_eq!(get("/list_rooms/", &bob).await, text(200, r#"{"rooms": []}"#));
    assert_eq!(get("/add_endpoint/r%201/all/", &alice).await.0, 404);
    assert_eq!(get("/add_endpoint/r2/read/", &alice).await.0, 404);
    let made = ask(&router, "GET", "/add_endpoint/r%201/read_and_write/", &alice, "").await;
    let code = made.json["code"].as_str().unwrap().to_owned();
    assert_eq!(
        made.json,
        json!({"code": code, "permissions": "readwrite", "room": "r 1", "room_name": "r 1"})
    );
    let named = ask(&router, "GET", "/add_endpoint/r%201/read/?identity=e1", &alice, "").await;
    assert_eq!(named.json["identity"], "e1");
    let list = ask(&router, "GET", "/list_endpoints/r%201/", &alice, "").await;
    let shown = json!([{"code": code, "permissions": "readwrite"}, {"code": named.json["code"], "permissions": "read"}]);
    assert_eq!(list.json["endpoints"], shown);
    let mut socket = open(&router, &code).await;
    socket.say(word("hi")).await;
    assert_eq!(socket.text().await, r#"{"message": "hi", "identity": ""}"#, "no time");
    assert_eq!(
        get(&format!("/delete_endpoint/r%201/{code}/"), &alice).await,
        text(200, "Endpoint deleted successfully")
    );
    assert_eq!(get("/delete_room/r%201/", &alice).await, text(200, "Room deleted successfully"));
    // The newest version's routes are there as well.
    assert_eq!(said(&router, "POST", "/create_room/", &alice, json!({"room_name": "r1"})).await.0, 200);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_without_a_slash_move_and_pages_of_any_origin_may_ask() {
    let router = router(Rooms::default()).await;
    for (path, location) in [
        ("/list_rooms", "/list_rooms/"),
        ("/main/create_room?x=1", "/main/create_room/?x=1"),
        ("/room/abc", "/room/abc/"),
        ("/add_endpoint/r%201/read", "/add_endpoint/r%201/read/"),
    ] {
        let answer = ask(&router, "GET", path, "", "").await;
        assert_eq!((answer.status, answer.header("location")), (301, location), "{path}");
    }
    for path in
        ["/nothing", "/nothing/", "/admin/", "/create_room//", "/main", "/ws/endpoint/x/", "/ws/endpoint/x"]
    {
        let answer = ask(&router, "GET", path, "", "").await;
        assert!(answer.status == 404 && answer.text.contains("<h1>Not Found</h1>"), "{path}: {answer:?}");
    }
    assert_eq!(said(&router, "POST", "/webhook/", "", json!({})).await, text(200, "Webhook received"));
    assert_eq!(said(&router, "GET", "/webhook/", "", Value::Null).await, text(404, "Invalid request method"));
    for (method, path, status) in
        [("OPTIONS", "/create_room/", 204), ("GET", "/list_rooms/", 403), ("GET", "/", 200)]
    {
        let answer = ask(&router, method, path, "", "").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-credentials"), "true");
        assert_eq!(answer.header("access-control-allow-methods"), "GET, POST, OPTIONS");
        assert!(answer.header("access-control-allow-headers").contains("API-KEY"));
    }
    let page = ask(&router, "GET", "/room/abc/", "", "").await;
    assert!(page.header("content-security-policy").contains("script-src 'self'"), "{page:?}");
    assert!(!page.text.contains("abc"), "nothing of the request stands in the page");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_a_base_path_all_stays_below_it_also_where_it_ends_like_the_alias() {
    for base in ["/r", "/x/main", "/main"] {
        let rooms = Rooms { base_path: base.parse().unwrap(), ..Rooms::default() };
        let router = router(rooms).await;
        let moved = ask(&router, "GET", &format!("{base}/list_rooms?x=1"), "", "").await;
        assert_eq!((moved.status, moved.header("location")), (301, &*format!("{base}/list_rooms/?x=1")));
        let key = user(&router, "alice").await;
        let address = router.gateways["rooms"];
        let headers = [("API-KEY", &*key)];
        for (path, body) in [
            ("/create_room/", json!({"room_name": "r1"})),
            ("/add_endpoint/", json!({"room_name": "r1", "permissions": "readwrite"})),
        ] {
            let answer = request(address, "POST", &format!("{base}{path}"), &headers, body.to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let Some(code) = answer.json["code"].as_str() else { continue };
            // Where the pages look for it: two steps above their own address.
            for alias in ["", "/main"] {
                let path = format!("{base}{alias}/ws/endpoint/{code}/");
                let mut socket = Socket::open(address, &path, &[]).await;
                socket.say(word("hi")).await;
                assert_eq!(socket.json().await["message"], "hi", "{path}");
            }
        }
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_presents_no_key_is_the_user_that_needs_none() {
    let router = router(Rooms::default()).await;
    assert_eq!(said(&router, "GET", "/list_rooms/", "", Value::Null).await.0, 403);
    let made = router.admin("POST", "/v1/users", r#"{"name":"default","absent":true}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(said(&router, "GET", "/list_rooms/", "", Value::Null).await, text(200, "{}"));
    assert_eq!(said(&router, "GET", "/list_rooms/", "wrong", Value::Null).await.0, 403);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_host_needs_a_key_or_a_name_in_the_configuration() {
    let (app, other) = ("https://app.example", "https://other.example");
    for (origins, no_key, with_key, read) in [
        (&["*"][..], [403, 403, 200], [200, 200, 200], ["*", "*", "*"]),
        (&["*", app], [200, 403, 200], [200, 200, 200], ["*", "*", "*"]),
        (&[app], [200, 403, 200], [200, 403, 200], [app, "", "http://HOST"]),
        (&[], [403, 403, 200], [403, 403, 200], ["", "", "http://HOST"]),
    ] {
        let origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        let router = router(Rooms { origins, ..Rooms::default() }).await;
        let key = room(&router).await;
        let code = endpoint(&router, &key, "r1", "readwrite", "e").await;
        router.admin("POST", "/v1/users", r#"{"name":"default","absent":true}"#).await;
        let address = router.gateways["rooms"];
        let own = format!("http://{address}");
        for (at, origin) in [app, other, &own].into_iter().enumerate() {
            let page = [("origin", origin)];
            let asked = async |method, path, headers: &[(&str, &str)]| {
                request(address, method, path, headers, String::new()).await
            };
            let answer = asked("GET", "/list_rooms/", &page).await;
            assert_eq!(answer.status, no_key[at], "{origin}: {answer:?}");
            let wanted = read[at].replace("http://HOST", &own);
            let allowed = |answer: &Answer| answer.header("access-control-allow-origin").to_owned();
            assert_eq!(allowed(&answer), wanted, "{origin}");
            assert_eq!(allowed(&asked("OPTIONS", "/list_rooms/", &page).await), wanted, "{origin}");
            let answer = asked("GET", "/list_rooms/", &[page[0], ("API-KEY", &key)]).await;
            assert_eq!(answer.status, with_key[at], "{origin}: {answer:?}");
            let path = format!("/ws/endpoint/{code}/");
            let socket = Socket::try_open(address, &path, &page).await.err();
            assert_eq!(socket, (with_key[at] != 200).then_some(403), "{origin}");
        }
        for (site, status) in [("cross-site", 403), ("none", 200)] {
            let headers = [("sec-fetch-site", site)];
            let answer = request(address, "GET", "/list_rooms/", &headers, String::new()).await;
            assert_eq!(answer.status, status, "{site}");
        }
        assert_eq!(said(&router, "GET", "/list_rooms/", "", Value::Null).await.0, 200, "a program");
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_may_read_hears_everybody_who_may_write_the_sender_included() {
    let router = router(Rooms::default()).await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e 1/ä").await;
    let reader = endpoint(&router, &key, "r1", "read", "reader").await;
    let writer = endpoint(&router, &key, "r1", "write", "writer").await;
    said(&router, "POST", "/create_room/", &key, json!({"room_name": "r2"})).await;
    let elsewhere = endpoint(&router, &key, "r2", "readwrite", "elsewhere").await;
    let path = format!("/ws/endpoint/{code}/");
    let page = Socket::open(router.gateways["rooms"], &path, &[("origin", "https://anywhere.example")]);
    let (mut page, mut twin) = (page.await, open(&router, &code).await);
    let (mut reader, mut writer) = (open(&router, &reader).await, open(&router, &writer).await);
    let mut elsewhere = open(&router, &elsewhere).await;
    page.say(r#"{"x":1,"message":{"b":[1.50,"ü"],"a":null}}"#).await;
    reader.json().await;
    writer.say(word("second")).await;
    reader.json().await;
    reader.say(word("is not heard")).await;
    assert!(reader.settle().await.is_empty(), "and is not closed");
    twin.say(word("third")).await;
    for socket in [&mut page, &mut twin] {
        let first = socket.text().await;
        let before =
            r#"{"message": {"b": [1.50, "\u00fc"], "a": null}, "identity": "e 1/\u00e4", "timestamp": "2"#;
        assert!(first.starts_with(before) && first.ends_with("+00:00\"}"), "{first}");
        let (second, third) = (socket.json().await, socket.json().await);
        assert_eq!((&second["message"], &second["identity"]), (&json!("second"), &json!("writer")));
        assert_eq!((&third["message"], &third["identity"]), (&json!("third"), &json!("e 1/ä")));
    }
    assert!(writer.settle().await.is_empty(), "who may only write hears nothing");
    assert!(elsewhere.settle().await.is_empty(), "another room is another room");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_closes_its_sender_only() {
    let router = router(Rooms::default()).await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e").await;
    let mut stays = open(&router, &code).await;
    // What Python's parser takes beyond JSON, and browsers do not; and what no parser of a page need take.
    let deep = word_of(&format!("{}{}", "[".repeat(121), "]".repeat(121)));
    let python = [word_of("NaN"), word_of("[-Infinity]"), deep];
    let wrong = ["", "hi", "{", "[]", "{}", r#"{"Message":1}"#, r#"{"message":1"#];
    for wrong in wrong.into_iter().chain(python.iter().map(String::as_str)) {
        let mut socket = open(&router, &code).await;
        socket.say(wrong).await;
        assert!(matches!(socket.hear().await, Heard::Closed(1011, _)), "{wrong}");
    }
    let mut socket = open(&router, &code).await;
    socket.say(word("binary").into_bytes()).await;
    assert!(matches!(socket.hear().await, Heard::Closed(1011, _)));
    let mut chat = Socket::open(router.gateways["rooms"], "/ws/chat/lobby/", &[]).await;
    chat.say("{}").await;
    assert!(matches!(chat.hear().await, Heard::Closed(1011, _)));
    stays.say(word("still here")).await;
    assert_eq!(stays.json().await["message"], "still here");
    for path in
        ["/ws/endpoint/unknown/", &format!("/ws/endpoint/{code}"), "/ws/", "/ws/chat/a-b/", "/ws/other/x/"]
    {
        assert_eq!(Socket::try_open(router.gateways["rooms"], path, &[]).await.err(), Some(404), "{path}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_closes_its_sender_with_1009_wherever_it_is_noticed() {
    const MOST: usize = 100_000;
    let setup = Setup::new().config(|config: &mut Config| {
        config.rooms = Some(Rooms::default());
        config.limits.message_bytes = MOST;
    });
    let router = setup.start().await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e").await;
    for path in [format!("/ws/endpoint/{code}/"), "/ws/chat/lobby/".to_owned()] {
        let mut socket = Socket::open(router.gateways["rooms"], &path, &[]).await;
        // The value counts, with its quotes; and it grows on its way out.
        let deep = word_of(&format!("{}{}", "[".repeat(120), "]".repeat(120)));
        for message in [word("x".repeat(MOST - 2)), word("ä".repeat(MOST / 2 - 1)), deep] {
            socket.say(message.clone()).await;
            let wanted: Value = serde_json::from_str(&message).unwrap();
            assert_eq!(socket.json().await["message"], wanted["message"]);
        }
        for (bytes, what) in [(MOST - 1, "the message"), (2 * MOST, "the frame")] {
            let mut socket = Socket::open(router.gateways["rooms"], &path, &[]).await;
            socket.say(word("x".repeat(bytes))).await;
            let heard = socket.hear().await;
            assert!(matches!(heard, Heard::Closed(1009, _)), "{path}, {what}: {heard:?}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_older_chat_everybody_talks_without_a_name() {
    for rooms in [Rooms::default(), seed()] {
        let router = router(rooms).await;
        let address = router.gateways["rooms"];
        let mut one = Socket::open(address, "/ws/chat/lobby/", &[]).await;
        let mut two = Socket::open(address, "/ws/chat/lobby/", &[]).await;
        let mut other = Socket::open(address, "/ws/chat/attic/", &[]).await;
        one.say(r#"{"message":"hello","identity":"me"}"#).await;
        for socket in [&mut one, &mut two] {
            assert_eq!(socket.text().await, r#"{"message": "hello"}"#);
        }
        assert!(other.settle().await.is_empty());
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_rests_on_what_is_deleted_goes_with_it() {
    let router = router(Rooms::default()).await;
    let key = room(&router).await;
    let (one, two) = (
        endpoint(&router, &key, "r1", "readwrite", "1").await,
        endpoint(&router, &key, "r1", "write", "2").await,
    );
    let (mut first, mut twin, mut second) =
        (open(&router, &one).await, open(&router, &one).await, open(&router, &two).await);
    said(&router, "GET", &format!("/delete_endpoint/r1/{one}/"), &key, Value::Null).await;
    for gone in [&mut first, &mut twin] {
        assert_eq!(gone.hear().await, Heard::Closed(1008, "endpoint deleted".into()));
    }
    assert!(second.settle().await.is_empty());
    router.admin("DELETE", "/v1/users/main/alice", "").await;
    assert_eq!(second.hear().await, Heard::Closed(1008, "endpoint deleted".into()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keep_open_connections_stay_as_with_the_original() {
    let router = router(Rooms { keep_open: true, ..Rooms::default() }).await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e").await;
    let (mut one, mut two) = (open(&router, &code).await, open(&router, &code).await);
    said(&router, "GET", "/delete_room/r1/", &key, Value::Null).await;
    // Whoever else would be closed is closed by now.
    let made = router.admin("POST", "/v1/tenants", r#"{"name":"lab"}"#).await;
    assert_eq!(made.status, 201);
    one.say(word("still")).await;
    assert_eq!(
        (one.json().await["message"].clone(), two.json().await["message"].clone()),
        (json!("still"), json!("still"))
    );
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_a_message_like_all_others() {
    let setup = Setup::open().config(|config: &mut Config| config.rooms = Some(Rooms::default()));
    let router = setup.start().await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e1").await;
    let mut native = router.client("native").await;
    native.subscribe("rooms/alice/r1").await;
    let mut socket = open(&router, &code).await;
    socket.say(word(json!({"a": 1}))).await;
    let came = native.message().await;
    assert_eq!((&came["data"], &came["from"]), (&json!({"a": 1}), &json!("e1")), "{came}");
    socket.json().await;
    native.publish("rooms/alice/r1", json!([1, "x"])).await;
    native.ask(json!({"action": "publish", "topic": "rooms/alice/r1", "text": "21.5"})).await;
    native.ask(json!({"action": "publish", "topic": "rooms/alice/r1", "base64": "/w=="})).await;
    for wanted in [json!([1, "x"]), json!("21.5"), json!("/w==")] {
        let came = socket.json().await;
        assert_eq!((&came["message"], &came["identity"]), (&wanted, &json!("native")));
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_of_a_tenant_are_its_own() {
    let setup = Setup::open().config(|config: &mut Config| config.rooms = Some(Rooms::default()));
    let router = setup.start().await;
    router.admin("POST", "/v1/tenants", r#"{"name":"lab"}"#).await;
    let made = router.admin("POST", "/v1/users", r#"{"name":"alice","tenant":"lab"}"#).await;
    let theirs = made.json["key"].as_str().unwrap().to_owned();
    said(&router, "POST", "/create_room/", &theirs, json!({"room_name": "r1"})).await;
    let ours = room(&router).await;
    let (theirs, ours) = (
        endpoint(&router, &theirs, "r1", "readwrite", "t").await,
        endpoint(&router, &ours, "r1", "readwrite", "o").await,
    );
    let (mut theirs, mut ours) = (open(&router, &theirs).await, open(&router, &ours).await);
    let mut native = router.client("native").await;
    native.subscribe("lab/rooms/alice/r1").await;
    theirs.say(word("among us")).await;
    assert_eq!(theirs.json().await["message"], "among us");
    assert_eq!(native.message().await["data"], "among us");
    assert!(ours.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_others_made_are_content() {
    let router = router(Rooms::default()).await;
    let environment = [("HOST", router.gateways["rooms"].to_string()), ("KEY", user(&router, "alice").await)];
    let said = packaged(&foreign().join("rooms.py")).run(&environment).await;
    assert!(said.contains("the clients of rooms are content"), "{said}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_rooms_and_codes_survive_kill_9() {
    let setup = Setup::new();
    setup.write_config("[rooms]\nlisten = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let key = room(&child.reach).await;
    let code = endpoint(&child.reach, &key, "r1", "readwrite", "e").await;
    child.kill();
    let child = setup.spawn().await;
    let mut socket = open(&child.reach, &code).await;
    socket.say(word("after")).await;
    assert_eq!(socket.json().await["message"], "after");
    let list = ask(&child.reach, "GET", "/list_endpoints/r1/", &key, "").await;
    assert_eq!(list.json["endpoints"][0]["code"], *code);
    child.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_silent_is_pinged_and_closed_if_it_does_not_answer() {
    let setup = Setup::new().config(|config| {
        config.rooms = Some(Rooms::default());
        config.limits.silence = Duration::from_secs(1);
    });
    let router = setup.start().await;
    let key = room(&router).await;
    let code = endpoint(&router, &key, "r1", "readwrite", "e").await;
    for target in [format!("/ws/endpoint/{code}/"), "/ws/chat/lobby/".to_owned()] {
        let mut stream = Socket::open(router.gateways["rooms"], &target, &[]).await.stream.into_inner();
        let mut frame = [0; 2];
        within("a ping", stream.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame, [0x89, 0]);
        // An answer keeps the connection.
        stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap();
        within("another ping", stream.read_exact(&mut frame)).await.unwrap();
        assert_eq!(frame, [0x89, 0]);
        let mut close = [0; 4];
        within("a close", stream.read_exact(&mut close)).await.unwrap();
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1011));
    }
    router.stop().await;
}

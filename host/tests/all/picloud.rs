//! picloud's protocol over raw sockets: each sentence of its contract.

mod slow;

use serde_json::{Value, json};
use weir::config::Picloud;

use crate::harness::{Answer, Heard, Router, Setup, Socket, request};

const KEYED: &[(&str, &str)] = &[("x-api-key", "k"), ("x-api-client-name", "ada")];

/// Path, headers, and the status and text of the answer.
type Case = (&'static str, &'static [(&'static str, &'static str)], (u16, &'static str));

/// A router that serves picloud's clients who have the key `k`, and has no auth plugin.
async fn router() -> Router {
    let picloud = Picloud { api_key: "k".into(), info_socket: true, ..Picloud::default() };
    Setup::new().config(|config| config.picloud = Some(picloud)).start().await
}

async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    request(router.gateways["picloud"], method, path, headers, body.to_owned()).await
}

async fn open(router: &Router, path: &str) -> Socket {
    Socket::open(router.gateways["picloud"], path, &[("x-api-key", "k")]).await
}

/// A connection that is subscribed.
async fn subscribed(router: &Router, name: &str, events: &[&str]) -> Socket {
    let mut socket = open(router, &format!("/subscribe?clientName={name}")).await;
    for event in events {
        socket.say(json!({"action": "subscribe", "event": event}).to_string()).await;
    }
    assert!(socket.settle().await.is_empty(), "nothing is acknowledged");
    socket
}

async fn post(router: &Router, body: Value) -> u16 {
    ask(router, "POST", "/publish", KEYED, &body.to_string()).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_asked_before_the_name_and_the_header_before_the_query() {
    let router = router().await;
    let invalid_key = (401, "Invalid API Key\n");
    let invalid_name = (401, "Invalid client name\n");
    let cases: &[Case] = &[
        ("/publish", &[], invalid_key),
        ("/publish?clientName=a", &[], invalid_key),
        ("/publish?apiKey=k", &[], invalid_name),
        ("/publish?apiKey=k&clientName=", &[], invalid_name),
        ("/publish?apiKey=k&clientName=a", &[("x-api-key", "bad")], invalid_key),
        ("/publish?apiKey=k&clientName=a", &[("x-api-key", "")], (201, "")),
        ("/publish?apiKey=k&clientName=a", &[], (201, "")),
        ("/publish?apiKey=bad&clientName=a", &[("x-api-key", "k")], (201, "")),
        ("/publish?clientName=a", &[("x-api-key", "k"), ("x-api-client-name", "")], (201, "")),
        ("/publish", KEYED, (201, "")),
    ];
    for (path, headers, wanted) in cases {
        let answer = ask(&router, "POST", path, headers, r#"{"event":"e","data":"x"}"#).await;
        assert_eq!((answer.status, answer.text.as_str()), *wanted, "{path} {headers:?}");
        if answer.status == 401 {
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        }
    }
    let gateway = router.gateways["picloud"];
    for (path, wanted) in [("/subscribe", 401), ("/subscribe?apiKey=k", 401), ("/info", 401)] {
        assert_eq!(Socket::try_open(gateway, path, &[]).await.err(), Some(wanted), "{path}");
    }
    // Pages from anywhere come in, with both in the query or in headers, and nothing is negotiated.
    let page = ("origin", "https://anywhere.example");
    let offered = ("sec-websocket-extensions", "permessage-deflate");
    let [by_query, by_headers] = [vec![page, offered], [&[page, offered], KEYED].concat()];
    for path in ["/publish", "/subscribe", "/info", "/socket/info"] {
        let queried = format!("{path}?apiKey=k&clientName=ada");
        for (target, headers) in [(queried.as_str(), &by_query), (path, &by_headers)] {
            let socket = Socket::open(gateway, target, headers).await;
            assert!(socket.answer.headers().get("sec-websocket-extensions").is_none(), "{target}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_of_its_own_it_lets_in_who_presents_none() {
    let router = Setup::new().config(|config| config.picloud = Some(Picloud::default())).start().await;
    let body = r#"{"event":"e"}"#;
    assert_eq!(ask(&router, "POST", "/publish?clientName=a", &[], body).await.status, 201);
    assert_eq!(ask(&router, "POST", "/publish?clientName=a&apiKey=x", &[], body).await.status, 401);
    for path in ["/info", "/socket/info"] {
        assert_eq!(ask(&router, "GET", path, &[], "").await.status, 404, "the info socket is off");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_and_methods_are_the_originals() {
    let router = router().await;
    let not_found = (404, "404 page not found\n", "");
    for (method, path, wanted) in [
        ("GET", "/", not_found),
        ("POST", "/publish/", not_found),
        ("GET", "/subscribe/", not_found),
        ("DELETE", "/publish", (405, "Method not allowed\n", "GET, POST")),
        ("POST", "/subscribe", (405, "Method not allowed\n", "GET")),
        ("PUT", "/info", (405, "Method not allowed\n", "GET")),
        ("OPTIONS", "/publish", (200, "", "GET, POST")),
        ("OPTIONS", "/socket/info", (200, "", "GET")),
    ] {
        let answer = ask(&router, method, path, &[], "").await;
        assert_eq!((answer.status, answer.text.as_str(), answer.header("allow")), wanted, "{method} {path}");
        if answer.status >= 400 {
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        }
    }
    for path in ["/publish", "/subscribe", "/info"] {
        let answer = ask(&router, "GET", path, KEYED, "").await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (400, "Bad Request\nInternal Server Error\n"),
            "{path}"
        );
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_event_is_answered_400_as_the_document_promises() {
    let router = router().await;
    let mut all = subscribed(&router, "all", &["e", "", "a/b"]).await;
    for (body, wanted) in [
        (r#"{"data":"x"}"#, 400),
        (r#"{"event":""}"#, 400),
        ("", 400),
        ("{", 400),
        (r#"{"event":1}"#, 400),
        (r#"{"event":"e","data":{}}"#, 400),
        (r#"{"event":"e"}"#, 201),
        (r#"{"EVENT":"e","Data":"big"}"#, 201),
        (r#"{"event":"e","data":"first"}{"event":"e","data":"second"}"#, 201),
        (r#"{"event":"a/b","data":"<&>"}"#, 201),
    ] {
        let answer = ask(&router, "POST", "/publish", KEYED, body).await;
        assert_eq!(answer.status, wanted, "{body}");
        assert_eq!(answer.text, if wanted == 201 { "" } else { "Bad request\n" }, "{body}");
    }
    let long = "e".repeat(600);
    let answer = ask(&router, "POST", "/publish", KEYED, &json!({"event": long}).to_string()).await;
    assert_eq!((answer.status, answer.text.contains("too long")), (400, true), "{answer:?}");
    subscribed(&router, "patient", &[&long]).await;
    for (event, data) in [("e", ""), ("e", "big"), ("e", "first")] {
        let came = all.json().await;
        assert_eq!((&came["event"], &came["data"]), (&json!(event), &json!(data)), "{came}");
    }
    let text = all.text().await;
    let before = r#"{"action":"publish","event":"a/b","data":"\u003c\u0026\u003e","created_at":"2"#;
    assert!(text.starts_with(before) && text.ends_with("Z\"}\n"), "{text}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_reach_all_who_subscribed_in_one_order_and_nobody_else() {
    let router = router().await;
    assert_eq!(post(&router, json!({"event": "e", "data": "early"})).await, 201);
    let mut one = subscribed(&router, "one", &["e", "e", "f"]).await;
    let mut other = subscribed(&router, "other", &["e"]).await;
    // Binary is as good as text, and no name is a name.
    let mut nameless = open(&router, "/subscribe?clientName=nameless").await;
    nameless.say(json!({"action": "subscribe", "event": ""}).to_string().into_bytes()).await;
    nameless.settle().await;
    let mut publisher = open(&router, "/publish?clientName=one").await;
    publisher.say(json!({"event": "e", "data": "0"}).to_string()).await;
    publisher.say(json!({"event": "f", "data": "1"}).to_string().into_bytes()).await;
    publisher.say(r#"{"event":"e"}"#).await;
    publisher
        .say(r#"{"event":"e","data":"2","action":"shout","created_at":"2015-11-25T03:40:13.433493056Z"}"#)
        .await;
    publisher.say(r#"{"event":"","data":"to nobody else"}"#).await;
    publisher.settle().await;
    assert_eq!(post(&router, json!({"event": "e", "data": "3"})).await, 201);
    let came = nameless.json().await;
    assert_eq!((&came["event"], &came["data"]), (&json!(""), &json!("to nobody else")), "{came}");
    for (socket, wanted) in [(&mut one, vec!["0", "1", "", "2", "3"]), (&mut other, vec!["0", "", "2", "3"])]
    {
        for data in wanted {
            let came = socket.json().await;
            assert_eq!(came["data"], data, "nothing from before, nothing twice: {came}");
            if data == "2" {
                assert_eq!(
                    (&came["action"], &came["created_at"]),
                    (&json!("shout"), &json!("2015-11-25T03:40:13.433493056Z"))
                );
            }
        }
    }
    one.say(r#"{"action":"unsubscribe","event":"e"}"#).await;
    one.say(r#"{"action":"publish","event":"e","data":"ignored"}"#).await;
    other.say(r#"{"action":"unsubscribe:all"}"#).await;
    one.settle().await;
    other.settle().await;
    for event in ["e", "f"] {
        assert_eq!(post(&router, json!({"event": event, "data": "late"})).await, 201);
    }
    assert_eq!(one.json().await["event"], "f");
    assert!(one.settle().await.is_empty() && other.settle().await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_json_ends_the_connection_without_a_word() {
    let router = router().await;
    for path in ["/subscribe?clientName=a", "/publish?clientName=a"] {
        for wrong in ["", "{", "[]", r#"{"event":1}"#, r#"{"action":"subscribe","event":["e"]}"#] {
            let mut socket = open(&router, path).await;
            socket.say(wrong).await;
            assert_eq!(socket.hear().await, Heard::Cut, "{path} {wrong}");
        }
        let mut socket = open(&router, path).await;
        socket.say(r#"{"event":"e","created_at":"now"}"#).await;
        assert_eq!(socket.hear().await, Heard::Cut, "a time is a time");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_info_socket_says_every_five_seconds_who_is_there() {
    let router = router().await;
    let began = std::time::Instant::now();
    let mut nobody = open(&router, "/socket/info").await;
    let mut info = open(&router, "/info").await;
    nobody.say("whatever is said is not looked at").await;
    let text = nobody.text().await;
    assert!(began.elapsed() >= std::time::Duration::from_secs(5), "not at once");
    assert!(
        text.starts_with(r#"{"subscriptions":[],"all_connections":null,"created_at":"2"#)
            && text.ends_with("\"}\n")
    );
    let subscriber = subscribed(&router, "s", &["e", "e"]).await;
    let left = subscribed(&router, "left", &["gone"]).await;
    let _publisher = open(&router, "/publish?clientName=p").await;
    drop(left);
    let shown = loop {
        let shown = info.json().await;
        let gone = shown["subscriptions"][1] == json!({"name": "gone", "connections": null});
        if gone && shown["all_connections"].as_array().is_some_and(|all| all.len() == 2) {
            break shown;
        }
    };
    let names = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|member| member["client_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&shown["all_connections"]), ["s", "p"], "in the order in which they came");
    let subscription = &shown["subscriptions"][0];
    assert_eq!(
        (&subscription["name"], names(&subscription["connections"])),
        (&json!("e"), vec!["s".to_owned()])
    );
    let member = &subscription["connections"][0];
    let address: std::net::SocketAddr = member["ip_address"].as_str().unwrap().parse().unwrap();
    assert_eq!(address, subscriber.stream.get_ref().local_addr().unwrap());
    assert!(member["connected_at"].as_str().unwrap().ends_with('Z'));
    nobody.text().await;
    assert!(began.elapsed() >= std::time::Duration::from_secs(10), "the second one not at once either");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_messages_like_all_others() {
    let router = Setup::open()
        .binding("filter", "plugin = \"stock:json-check\"\ntopics = [\"events/checked\"]\n")
        .config(|config| config.picloud = Some(Picloud { api_key: "k".into(), ..Picloud::default() }))
        .start()
        .await;
    let mut native = router.client("native").await;
    native.subscribe("events/#").await;
    let mut socket = subscribed(&router, "s", &["e", "checked"]).await;
    assert_eq!(post(&router, json!({"event": "e", "data": "from picloud"})).await, 201);
    let came = native.message().await;
    assert_eq!(
        (&came["topic"], &came["text"], &came["from"]),
        (&json!("events/e"), &json!("from picloud"), &json!("ada")),
        "{came}"
    );
    socket.json().await;
    native.publish("events/e", json!({"a": 1})).await;
    let came = socket.json().await;
    assert_eq!((&came["event"], &came["data"]), (&json!("e"), &json!("{\"a\":1}")), "{came}");
    // What others keep on its topics is not for its clients, who know of no such thing.
    let kept = json!({"action": "publish", "topic": "events/kept", "text": "kept", "retain": true});
    assert_eq!(native.ask(kept).await["ok"], true);
    subscribed(&router, "late", &["kept"]).await;
    let refused = ask(&router, "POST", "/publish", KEYED, r#"{"event":"checked","data":"no json"}"#).await;
    assert_eq!(refused.status, 400, "a plugin's refusal is told: {refused:?}");
    let listed = router.admin("GET", "/v1/connections", "").await;
    let listed = listed.json["connections"].as_array().unwrap().clone();
    let picloud = listed.iter().find(|connection| connection["gateway"] == "picloud").unwrap();
    assert_eq!(picloud["subscriptions"], json!(["events/checked", "events/e"]));
    router.stop().await;
}

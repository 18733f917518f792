//! Who gets in: keys, pages, and requests that are a WebSocket handshake or are not.

use serde_json::json;
use tokio::net::TcpStream;

use super::wire::{HANDSHAKE, TEXT, call, masked, text, upgrade};
use crate::harness::{API_KEY, Client, Setup};

const APP: (&str, &str) = ("origin", "https://app.example");
const EVIL: (&str, &str) = ("origin", "https://evil.example");
const BODY: &[u8] = br#"{"topic":"a","data":1}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_taken_from_each_of_its_places() {
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("good", &["#"], &["#"], "").await;
    let (bearer, query) = (format!("Bearer {key}"), format!("?api_key={key}"));
    for (query, headers) in [
        (query.as_str(), &[][..]),
        ("", &[("x-api-key", key.as_str())][..]),
        ("", &[("authorization", bearer.as_str())][..]),
        // The first place counts.
        ("?api_key=bad", &[("x-api-key", key.as_str())][..]),
    ] {
        let mut client = Client::connect(router.http, query, headers).await;
        assert_eq!(client.ask(json!({"action": "ping"})).await["ok"], true);
        let published = call(router.http, "POST", &format!("/v1/publish{query}"), headers, BODY).await;
        assert_eq!(published.outcome(), (201, "accepted".to_owned()), "{query} {headers:?}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_key_there_is_an_answer_and_no_upgrade() {
    let closed = format!("{API_KEY}[config]\nallow_query = false\n");
    let router = Setup::new().binding("api-key", &closed).start().await;
    let (key, _) = router.key("good", &["#"], &["#"], "").await;
    let query = format!("?api_key={key}");
    let long = "k".repeat(8_193);
    for (query, header, status, outcome) in [
        ("", ("x-none", ""), 401, "unauthenticated"),
        ("", ("x-api-key", "bad"), 401, "unauthenticated"),
        ("?api_key=bad", ("x-none", ""), 401, "unauthenticated"),
        (query.as_str(), ("x-none", ""), 403, "denied"),
        ("", ("authorization", "Basic eDp5"), 401, "unauthenticated"),
        ("", ("authorization", "Basic eD"), 400, "invalid"),
        ("", ("authorization", "Digest eDp5"), 400, "invalid"),
        ("", ("x-api-key", long.as_str()), 400, "invalid"),
    ] {
        let shake = [&HANDSHAKE[..], &[header]].concat();
        let and_topic = if query.is_empty() { "?topic=a".to_owned() } else { format!("{query}&topic=a") };
        for (method, path, headers, body) in [
            ("GET", format!("/v1/ws{query}"), &shake[..], &b""[..]),
            ("POST", format!("/v1/publish{query}"), &[header], BODY),
            ("GET", format!("/v1/history{and_topic}"), &[header], b""),
            ("GET", format!("/v1/query/none{and_topic}"), &[header], b""),
        ] {
            let answer = call(router.http, method, &path, headers, body).await;
            assert_eq!(answer.outcome(), (status, outcome.to_owned()), "{path} {header:?}");
            assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"));
            assert!(!answer.body.contains(&key), "{answer:?}");
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_pages_are_kept_out() {
    let setup = Setup::open().config(|config| config.http.origins = vec![APP.1.to_owned()]);
    let router = setup.start().await;
    let same = format!("http://{}", router.http);
    for (origin, status) in
        [(("origin", same.as_str()), 101), (APP, 101), (EVIL, 403), (("origin", "null"), 403)]
    {
        let headers = [&HANDSHAKE[..], &[origin]].concat();
        assert_eq!(call(router.http, "GET", "/v1/ws", &headers, b"").await.status, status, "{origin:?}");
        let published = call(router.http, "POST", "/v1/publish", &[origin], BODY).await;
        let (expected, seen_by) = if status == 101 { (201, Some(origin.1)) } else { (403, None) };
        assert_eq!(published.status, expected, "{origin:?}");
        assert_eq!(published.header("access-control-allow-origin"), seen_by);
        let asked = ("access-control-request-method", "POST");
        let preflight = call(router.http, "OPTIONS", "/v1/publish", &[origin, asked], b"").await;
        assert_eq!(preflight.status, if status == 101 { 204 } else { 403 }, "{origin:?}");
        if status == 101 {
            assert_eq!(published.header("vary"), Some("origin"));
            assert!(preflight.header("access-control-allow-headers").unwrap().contains("x-api-key"));
        }
    }
    let foreign = call(router.http, "GET", "/v1/history?topic=a", &[EVIL], b"").await;
    assert_eq!(foreign.outcome(), (403, "denied".to_owned()));
    // Errors are for the page's eyes, too.
    let nowhere = call(router.http, "GET", "/elsewhere", &[APP], b"").await;
    assert_eq!((nowhere.status, nowhere.header("access-control-allow-origin")), (404, Some(APP.1)));
    let no_page = call(router.http, "POST", "/v1/publish", &[], BODY).await;
    assert_eq!((no_page.status, no_page.header("access-control-allow-origin")), (201, None));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_let_in_where_the_operator_says_so() {
    let router = Setup::open().config(|config| config.http.origins = vec!["*".to_owned()]).start().await;
    let answer = call(router.http, "POST", "/v1/publish", &[EVIL], BODY).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (201, Some(EVIL.1)));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_told_what_is_missing() {
    let router = Setup::open().start().await;
    let with = |changed: &[(&'static str, &'static str)]| {
        let mut headers = HANDSHAKE.to_vec();
        for (name, value) in changed {
            headers.retain(|(known, _)| known != name);
            headers.push((name, value));
        }
        headers
    };
    for (changed, status) in [
        (&[("upgrade", "h2c")][..], 426),
        (&[("sec-websocket-version", "8")], 426),
        (&[("connection", "keep-alive")], 400),
        (&[("sec-websocket-key", "short")], 400),
        (&[("sec-websocket-key", "")], 400),
        (&[("content-length", "10")], 400),
        (&[("transfer-encoding", "chunked")], 400),
    ] {
        let answer = call(router.http, "GET", "/v1/ws", &with(changed), b"").await;
        assert_eq!(answer.outcome(), (status, "invalid".to_owned()), "{changed:?}");
        if status == 426 {
            let told = ["upgrade", "sec-websocket-version"].map(|name| answer.header(name));
            assert_eq!(told, [Some("websocket"), Some("13")]);
        }
    }
    assert_eq!(call(router.http, "GET", "/v1/ws", &[], b"").await.status, 426);
    assert_eq!(call(router.http, "POST", "/v1/ws", &HANDSHAKE, b"").await.status, 405);
    let long = format!("/v1/ws?client_id={}", "c".repeat(129));
    assert_eq!(call(router.http, "GET", &long, &HANDSHAKE, b"").await.outcome(), (400, "invalid".to_owned()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_come_with_the_handshake_count() {
    let router = Setup::open().start().await;
    let early = masked(TEXT, br#"{"action":"ping","id":"early"}"#);
    let mut socket = upgrade(TcpStream::connect(router.http).await.unwrap(), &early).await;
    assert!(text(&mut socket).await.starts_with(r#"{"id":"early","ok":true"#));
    router.stop().await;
}

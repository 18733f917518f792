//! Clients that have said all that they have to say and wait for the answer, as `nc -N` does, and those that have gone.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::until_connected;
use super::wire::{CLOSE, TEXT, frame, masked, reply, rest, send_request, text, websocket};
use crate::harness::{Events, Setup, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_a_half_closed_connection_is_answered() {
    let router = Setup::open().start().await;
    let logged = r#"{"topic":"half/x","data":1,"level":"logged"}"#;
    let request = r#"{"topic":"half/nobody","data":1,"timeout_ms":300}"#;
    for _ in 0..10 {
        for (method, path, body, status) in [
            ("POST", "/v1/publish", logged, 201),
            ("POST", "/v1/publish?topic=half/x&level=logged", "1", 201),
            ("POST", "/v1/publish", "{\"topic\":\"half/x\",\"data\":1}", 201),
            ("GET", "/v1/presence?topic=half/x", "", 200),
            ("GET", "/v1/history?topic=half/x", "", 200),
            ("GET", "/v1/nothing", "", 404),
        ] {
            let mut stream = TcpStream::connect(router.http).await.unwrap();
            send_request(&mut stream, method, path, &[], body.as_bytes()).await;
            stream.shutdown().await.unwrap();
            let answer = reply(&mut stream).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
            assert!(rest(&mut stream).await.is_empty(), "the connection ends with the answer");
        }
    }
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    send_request(&mut stream, "POST", "/v1/request", &[], request.as_bytes()).await;
    stream.shutdown().await.unwrap();
    assert_eq!(reply(&mut stream).await.outcome(), (504, "unanswered".to_owned()));
    // A body that is not whole will never be.
    let mut stream = TcpStream::connect(router.http).await.unwrap();
    stream.write_all(b"POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(reply(&mut stream).await.outcome(), (400, "invalid".to_owned()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_goes_on_for_who_only_listens_and_ends_with_who_is_gone() {
    let router = Setup::open().start().await;
    let mut events = Events::open(router.http, "?topic=t", &[]).await;
    events.event("subscribed").await;
    events.half_close().await;
    let mut writer = router.client("writer").await;
    for n in 0..10 {
        writer.publish("t", json!(n)).await;
        assert_eq!(events.event("message").await.data["data"], n);
    }
    until_connected(&router, 2).await;
    drop(events);
    // Only what is sent shows that nobody is there.
    writer.publish("t", json!(10)).await;
    until_connected(&router, 1).await;
    router.stop().await;
}

/// Publishes, in one go with the end: what is answered, by `id`, and how the server ends.
async fn answers_behind(ending: &[u8], half_close: bool) -> (Vec<u64>, Option<Vec<u8>>) {
    let router = Setup::open().start().await;
    let mut socket = websocket(router.http).await;
    let mut bytes = Vec::new();
    for id in 0..200 {
        let level = if id % 2 == 0 { "logged" } else { "routed" };
        let publish = json!({"action": "publish", "id": id, "topic": "t", "data": id, "level": level});
        bytes.extend(masked(TEXT, publish.to_string().as_bytes()));
    }
    bytes.extend_from_slice(ending);
    within("room to send", socket.write_all(&bytes)).await.unwrap();
    if half_close {
        socket.shutdown().await.unwrap();
    }
    let (mut answered, mut close) = (Vec::new(), None);
    while let Some((first, payload)) = frame(&mut socket).await {
        assert!(close.is_none(), "nothing follows the close");
        if first == CLOSE {
            close = Some(payload);
            continue;
        }
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(answer["outcome"], "accepted", "{answer}");
        answered.push(answer["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    until_connected(&router, 0).await;
    assert_eq!(router.client("reader").await.history("t").await.len(), 200);
    router.stop().await;
    (answered, close)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_behind_its_publishes_hears_of_each() {
    let all: Vec<u64> = (0..200).collect();
    let bye = [&1_000_u16.to_be_bytes()[..], b"bye"].concat();
    assert_eq!(answers_behind(&masked(CLOSE, &bye), false).await, (all.clone(), Some(bye.clone())));
    assert_eq!(answers_behind(&masked(CLOSE, &bye), true).await, (all.clone(), Some(bye)));
    assert_eq!(answers_behind(b"", true).await, (all, Some(Vec::new())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_waits_for_no_answer_for_ever() {
    let router = Setup::open().start().await;
    let mut socket = websocket(router.http).await;
    let asks = json!({"action": "request", "id": 1, "topic": "t", "data": 1, "timeout_ms": 60_000});
    let pings = json!({"action": "ping", "id": 2});
    let bytes = [masked(TEXT, asks.to_string().as_bytes()), masked(TEXT, pings.to_string().as_bytes())];
    socket.write_all(&bytes.concat()).await.unwrap();
    assert!(text(&mut socket).await.starts_with(r#"{"id":2,"#));
    socket.write_all(&masked(CLOSE, b"")).await.unwrap();
    assert_eq!(frame(&mut socket).await, Some((CLOSE, Vec::new())));
    assert_eq!(frame(&mut socket).await, None);
    until_connected(&router, 0).await;
    router.stop().await;
}

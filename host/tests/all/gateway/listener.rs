//! Deadlines and limits of the listener, and its end.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use weir::config::Limits;

use super::wire::{call, close_code, reply, rest, send_request, try_reply, websocket};
use crate::harness::{Client, Router, Setup, eventually, within};

/// Longer than any test waits: what ends in time has not waited for it.
const NEVER: Duration = Duration::from_secs(3_600);
/// For the one deadline that a test is about. It passes while nothing is done in time.
const SOON: Duration = Duration::from_millis(300);

/// A router whose deadlines never pass, but for those that are changed.
async fn patient(change: impl FnOnce(&mut Limits)) -> Router {
    let setup = Setup::open().config(|config| {
        let limits = &mut config.limits;
        for deadline in [&mut limits.first_byte, &mut limits.headers, &mut limits.body, &mut limits.drain] {
            *deadline = NEVER;
        }
        change(limits);
    });
    setup.start().await
}

async fn connect(router: &Router) -> TcpStream {
    TcpStream::connect(router.http).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_not_held() {
    let router = patient(|limits| limits.first_byte = SOON).await;
    assert!(rest(&mut connect(&router).await).await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers_are_not_held() {
    let router = patient(|limits| limits.headers = SOON).await;
    let dawdle = async |mut stream: TcpStream| {
        stream.write_all(b"GET /v1/history HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
        let mut byte = [0];
        loop {
            tokio::select! {
                read = stream.read(&mut byte) => if matches!(read, Ok(0) | Err(_)) { return },
                // One more byte, again and again: each of them is in time, the headers are not.
                () = tokio::time::sleep(Duration::from_millis(20)) => drop(stream.write_all(b"x").await),
            }
        }
    };
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(dawdle(connect(&router).await));
    }
    within("all of them are cut off", futures_util::future::join_all(all)).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_are_answered_408() {
    let router = patient(|limits| limits.body = SOON).await;
    let mut stream = connect(&router).await;
    stream
        .write_all(b"POST /v1/publish HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"to")
        .await
        .unwrap();
    assert_eq!(reply(&mut stream).await.outcome(), (408, "invalid".to_owned()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_answered_413_also_without_their_length() {
    let router = patient(|limits| limits.request_bytes = 1_000).await;
    let body = " ".repeat(1_001);
    let announced = call(router.http, "POST", "/v1/publish", &[], body.as_bytes()).await;
    assert_eq!(announced.outcome(), (413, "too-large".to_owned()));
    let mut stream = connect(&router).await;
    send_request(&mut stream, "POST", "/v1/publish", &[("transfer-encoding", "chunked")], b"").await;
    let chunk = format!("258\r\n{}\r\n", " ".repeat(600));
    stream.write_all(format!("{chunk}{chunk}0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(reply(&mut stream).await.outcome(), (413, "too-large".to_owned()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_are_answered_431() {
    let router = patient(|_| {}).await;
    let huge = "x".repeat(40_000);
    assert_eq!(call(router.http, "GET", "/", &[("x-huge", &huge)], b"").await.status, 431);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_end_when_they_are_idle() {
    let router = patient(|limits| limits.headers = Duration::from_secs(2)).await;
    let mut stream = connect(&router).await;
    for _ in 0..3 {
        send_request(&mut stream, "GET", "/nothing", &[], b"").await;
        assert_eq!(reply(&mut stream).await.outcome(), (404, "not-found".to_owned()));
    }
    assert!(rest(&mut stream).await.is_empty());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_takes_is_not_held() {
    let router = patient(|limits| {
        limits.connections = 2;
        limits.write = SOON;
    })
    .await;
    // One place for a client, whose message makes an answer larger than what the system buffers.
    let mut client = router.client("a").await;
    let payload = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![1; 1 << 20]);
    let frame = json!({"action": "publish", "topic": "t", "content_type": "text/plain", "base64": payload,
                       "level": "logged"});
    assert_eq!(client.ask(frame).await["level"], "logged");
    // The other one for who asks and never reads.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stuck = socket.connect(router.http).await.unwrap();
    send_request(&mut stuck, "GET", "/v1/history?topic=t", &[], b"").await;
    // Nothing but the write's deadline gives its place to somebody else.
    let place = async || {
        let mut stream = TcpStream::connect(router.http).await.ok()?;
        send_request(&mut stream, "GET", "/nothing", &[], b"").await;
        try_reply(&mut stream).await.filter(|reply| reply.status == 404)
    };
    eventually("the place is free", place).await;
    drop(stuck);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_limited_and_come_back() {
    let router = patient(|limits| limits.connections = 2).await;
    let first = router.client("first").await;
    let _second = router.client("second").await;
    let mut third = connect(&router).await;
    let full = reply(&mut third).await;
    assert_eq!(full.outcome(), (503, "overloaded".to_owned()));
    assert_eq!(full.header("retry-after"), Some("1"));
    assert!(rest(&mut third).await.is_empty());
    drop(first);
    eventually("the place is free", async || Client::try_connect(router.http, "", &[]).await.ok()).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_nobody_who_does_nothing() {
    let router = patient(|_| {}).await;
    let mut silent = connect(&router).await;
    let mut kept = connect(&router).await;
    send_request(&mut kept, "GET", "/nothing", &[], b"").await;
    assert_eq!(reply(&mut kept).await.status, 404);
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(websocket(router.http).await);
    }
    // These never answer the close.
    let _mute = [websocket(router.http).await, websocket(router.http).await];
    router.begin_stop();
    for socket in &mut sockets {
        assert_eq!(close_code(socket).await, 1001);
    }
    assert!(rest(&mut silent).await.is_empty() && rest(&mut kept).await.is_empty());
    let address = router.http;
    router.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

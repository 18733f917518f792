//! Peers that break the rules of WebSocket, stall or flood.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::wire::{PING, PONG, TEXT, close_code, frame, masked, rest, send, text, upgrade, websocket};
use super::{connected, until_connected};
use crate::harness::{Reach, Setup};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn violations_have_their_codes() {
    let router = Setup::open().start().await;
    let long_ping = [&[PING, 0xfe, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    for (bytes, code) in [
        (masked(0x82, b"binary"), 1003),
        (masked(TEXT, b"\xff\xfe"), 1007),
        ([masked(0x01, b"\xc3"), masked(0x80, b"(")].concat(), 1007),
        (vec![TEXT, 0x02, b'{', b'}'], 1002),
        (masked(0xc1, b"a reserved bit"), 1002),
        (long_ping, 1002),
        (masked(0x80, b"nothing to continue"), 1002),
        ([masked(0x01, b"one"), masked(TEXT, b"another")].concat(), 1002),
        (masked(0x83, b"unknown opcode"), 1002),
        (masked(0x88, b"x"), 1002),
        (masked(0x09, b"a ping in parts"), 1002),
    ] {
        let mut socket = websocket(router.http).await;
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut socket).await, code, "{bytes:x?}");
    }
    until_connected(&router, 0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_1009_before_it_is_there() {
    let router = Setup::open().config(|config| config.limits.message_bytes = 1_000).start().await;
    // The largest payload fits in base64, too.
    let mut client = router.client("a").await;
    let most = json!({"action": "publish", "topic": "a", "base64": "AAAA".repeat(333) + "AA=="});
    assert_eq!(client.ask(most).await["outcome"], "accepted");
    let in_parts = [masked(0x01, &[b' '; 9_000]), masked(0x00, &[b' '; 9_000])].concat();
    let of_no_machine = vec![TEXT, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4];
    for bytes in [masked(TEXT, &[b' '; 18_000]), in_parts, of_no_machine] {
        let mut socket = websocket(router.http).await;
        socket.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 1009);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_make_one_message() {
    let router = Setup::open().start().await;
    let mut socket = websocket(router.http).await;
    let bytes = r#"{"action":"publish","id":1,"topic":"ä","data":1}"#.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let first = if at == 0 { 0x01 } else { 0x00 };
        let last = if at + 1 == bytes.len() { 0x80 } else { 0x00 };
        send(&mut socket, first | last, &[*byte]).await;
        send(&mut socket, PING, b"between").await;
    }
    let answer = loop {
        match frame(&mut socket).await {
            Some((PONG, ping)) => assert_eq!(ping, b"between"),
            Some((TEXT, answer)) => break serde_json::from_slice::<Value>(&answer).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer["messages"][0]["topic"], "ä", "{answer}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_control_frames_and_fragments_are_1008() {
    let router = Setup::open().start().await;
    let pings = masked(PING, b"x").repeat(2_000);
    let fragments = [masked(0x01, b""), masked(0x00, b"").repeat(5_000)].concat();
    for flood in [pings, fragments] {
        let mut socket = websocket(router.http).await;
        // It may be cut off before it has sent all.
        drop(socket.write_all(&flood).await);
        assert_eq!(close_code(&mut socket).await, 1008);
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_no_ping_is_gone() {
    let router = Setup::open().config(|config| config.limits.silence = Duration::from_secs(1)).start().await;
    let mut socket = websocket(router.http).await;
    assert_eq!(frame(&mut socket).await, Some((PING, Vec::new())));
    // An answer keeps the connection, any frame would.
    send(&mut socket, PONG, b"").await;
    assert_eq!(frame(&mut socket).await, Some((PING, Vec::new())));
    assert_eq!(close_code(&mut socket).await, 1011);
    until_connected(&router, 0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_texts_are_told_and_the_connection_stays() {
    let router = Setup::open().start().await;
    let mut socket = websocket(router.http).await;
    for bad in
        ["", "1", "{", r#"{"action":5}"#, r#"{"action":"ping"} x"#, "\0", "{\"action\":\"ping\",\"id\":[]}"]
    {
        send(&mut socket, TEXT, bad.as_bytes()).await;
        let answer: Value = serde_json::from_str(&text(&mut socket).await).unwrap();
        assert_eq!((&answer["event"], &answer["outcome"]), (&json!("error"), &json!("invalid")), "{bad}");
    }
    send(&mut socket, TEXT, br#"{"action":"ping","id":1}"#).await;
    assert!(text(&mut socket).await.starts_with(r#"{"id":1,"ok":true"#));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_ends_and_harms_nobody() {
    let router = Setup::open().start().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\r\n\r\n\r\nx\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0",
    ] {
        let mut stream = TcpStream::connect(router.http).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        // Whatever is answered, the connection ends.
        rest(&mut stream).await;
    }
    let mut seed = 0x2545_f491_u32;
    for _ in 0..50 {
        let mut socket = websocket(router.http).await;
        let garbage: Vec<u8> = (0..200)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 17;
                seed ^= seed << 5;
                seed.to_le_bytes()[0]
            })
            .collect();
        drop(socket.write_all(&garbage).await);
        drop(socket.shutdown().await);
        while frame(&mut socket).await.is_some() {}
    }
    until_connected(&router, 0).await;
    assert_eq!(router.client("a").await.publish("a", json!(1)).await["outcome"], "accepted");
    router.stop().await;
}

/// A subscriber to `t` whose system takes few bytes for it.
async fn subscriber(router: &Reach) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = upgrade(socket.connect(router.http).await.unwrap(), b"").await;
    send(&mut stream, TEXT, br#"{"action":"subscribe","id":1,"topic":"t"}"#).await;
    assert!(text(&mut stream).await.contains(r#""ok":true"#));
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_or_a_byte_now_and_then_is_left_behind() {
    let setup = Setup::open().config(|config| {
        config.limits.queue_bytes = 256 * 1024;
        config.limits.write = Duration::from_secs(1);
    });
    let router = setup.start().await;
    let stuck = subscriber(&router).await;
    let mut slow = subscriber(&router).await;
    let trickle = tokio::spawn(async move {
        while slow.read_u8().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut writer = router.client("writer").await;
    let ballast = "x".repeat(16 * 1024);
    let mut published = 0;
    // What the system's own buffers take is not known: so long until only the writer is left.
    while connected(&router).await > 1 {
        assert!(published < 50_000, "they were never cut off");
        for _ in 0..50 {
            assert_eq!(writer.publish("t", json!(ballast)).await["outcome"], "accepted");
            published += 1;
        }
    }
    trickle.abort();
    drop(stuck);
    router.stop().await;
}

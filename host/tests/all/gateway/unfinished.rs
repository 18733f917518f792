//! Messages that have come in part: what they may hold together, and how long they may take.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::config::Paikea;

use super::until_connected;
use super::wire::{CLOSE, PING, TEXT, close_code, frame, masked, send, text, upgrade, websocket};
use crate::harness::{Reach, Setup, Socket, eventually, within};

const KIB: usize = 1024;

/// A publish of so many bytes, as a frame.
fn publish(length: usize) -> Vec<u8> {
    let [before, behind] = [r#"{"action":"publish","id":1,"topic":"a","text":""#, r#""}"#];
    let text = "x".repeat(length - before.len() - behind.len());
    masked(TEXT, format!("{before}{text}{behind}").as_bytes())
}

async fn held(router: &Reach) -> f64 {
    router.metric("weir_unfinished_bytes").await
}

async fn until_held(router: &Reach, wanted: usize) {
    let look = async || (held(router).await == wanted as f64).then_some(());
    eventually(&format!("{wanted} bytes are held"), look).await;
}

async fn accepted(socket: &mut TcpStream) {
    let answer: Value = serde_json::from_str(&text(socket).await).unwrap();
    assert_eq!(answer["outcome"], "accepted", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_have_come_in_part_hold_no_more_together_than_they_may() {
    let setup = Setup::open().config(|config| {
        config.limits.message_bytes = 512 * KIB;
        config.limits.unfinished_bytes = 512 * KIB;
        config.limits.message = Duration::from_secs(600);
    });
    let router = setup.start().await;
    let whole = publish(400 * KIB);
    let header = whole.len() - 400 * KIB;
    // What is only announced holds nothing, nor does what fits into the read buffer.
    let mut begun = Vec::new();
    for there in [1, header - 1, header + 1, header + 4 * KIB] {
        let mut socket = websocket(router.http).await;
        socket.write_all(&whole[..there]).await.unwrap();
        begun.push((socket, there));
    }
    let mut first = websocket(router.http).await;
    first.write_all(&whole[..header + 300 * KIB]).await.unwrap();
    until_held(&router, 300 * KIB).await;
    // In parts: the decoder keeps the room of the longest one beside what it has put together.
    let mut second = websocket(router.http).await;
    second.write_all(&masked(0x01, &[b' '; 90 * KIB])).await.unwrap();
    second.write_all(&masked(0x00, &[b' '; 10 * KIB])).await.unwrap();
    until_held(&router, (300 + 190) * KIB).await;
    // Who asks for more is told to come again.
    let mut third = websocket(router.http).await;
    drop(third.write_all(&whole[..header + 100 * KIB]).await);
    assert_eq!(close_code(&mut third).await, 1013);
    assert_eq!(router.sample("weir_unfinished_disconnects_total", &[("limit", "bytes")]).await, 1.0);
    until_held(&router, (300 + 190) * KIB).await;
    // Small messages pass as always, and what is begun is finished.
    assert_eq!(router.client("small").await.publish("a", json!(1)).await["outcome"], "accepted");
    first.write_all(&whole[header + 300 * KIB..]).await.unwrap();
    // It needs more than there is.
    assert_eq!(close_code(&mut first).await, 1013);
    until_held(&router, 190 * KIB).await;
    // Who goes away holds nothing.
    drop(second);
    until_held(&router, 0).await;
    let mut fourth = websocket(router.http).await;
    for _ in 0..3 {
        fourth.write_all(&whole).await.unwrap();
        accepted(&mut fourth).await;
    }
    for (mut socket, there) in begun {
        socket.write_all(&whole[there..]).await.unwrap();
        accepted(&mut socket).await;
    }
    until_held(&router, 0).await;
    router.stop().await;
}

/// Writes these bytes one by one, slowly. The code with which the router ends that.
async fn dribble(mut socket: TcpStream, bytes: &[u8]) -> u16 {
    let (mut read, mut write) = socket.split();
    let dribbling = async {
        for byte in bytes {
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<[u8; 4]>().await
    };
    let mut close = [0; 4];
    tokio::select! {
        _ = dribbling => unreachable!(),
        read = within("a close frame", read.read_exact(&mut close)) => read.unwrap(),
    };
    assert_eq!(close[0], CLOSE, "{close:?}");
    u16::from_be_bytes([close[2], close[3]])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_message_must_come_in_time() {
    let setup = Setup::open().config(|config| {
        config.limits.message = Duration::from_millis(500);
        // Who sends anything at all is never silent for so long.
        config.limits.silence = Duration::from_secs(600);
        config.paikea = Some(Paikea::default());
    });
    let router = setup.start().await;
    let mut idle = websocket(router.http).await;
    let mut quiet_page = Socket::open(router.gateways["paikea-page"], "/iam1", &[]).await;
    let whole = publish(20 * KIB);
    for part in [&whole[..1], &whole[..5], &whole[..whole.len() - 1], &masked(0x01, b"{"), &[PING]] {
        let mut socket = websocket(router.http).await;
        socket.write_all(part).await.unwrap();
        assert_eq!(close_code(&mut socket).await, 1008, "{} bytes", part.len());
    }
    // What came with the handshake counts, and pings between the fragments win no time.
    let early = upgrade(TcpStream::connect(router.http).await.unwrap(), &whole[..100]).await;
    assert_eq!(close_code(&mut { early }).await, 1008);
    assert_eq!(dribble(websocket(router.http).await, &whole).await, 1008);
    let mut pinging = websocket(router.http).await;
    send(&mut pinging, 0x01, b"{").await;
    let code = loop {
        drop(pinging.write_all(&masked(PING, b"")).await);
        match frame(&mut pinging).await {
            Some((CLOSE, reason)) => break u16::from_be_bytes([reason[0], reason[1]]),
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            None => panic!("the connection was cut"),
        }
    };
    assert_eq!(code, 1008);
    // A page of Paikea is never pinged, and held to this all the same.
    let mut page = Socket::open(router.gateways["paikea-page"], "/iam1", &[]).await.stream.into_inner();
    page.write_all(&masked(TEXT, b"a word")[..8]).await.unwrap();
    assert_eq!(close_code(&mut page).await, 1008);
    // Between messages there is all the time in the world.
    send(&mut idle, TEXT, br#"{"action":"publish","id":1,"topic":"a","data":1}"#).await;
    accepted(&mut idle).await;
    assert!(quiet_page.settle().await.is_empty());
    assert_eq!(router.sample("weir_unfinished_disconnects_total", &[("limit", "time")]).await, 9.0);
    drop(idle);
    drop(quiet_page);
    until_connected(&router, 0).await;
    assert_eq!(held(&router).await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_does_not_keep_the_room_of_its_largest_message() {
    const CONNECTIONS: usize = 64;
    let setup = Setup::open();
    setup.write_config("[[log]]\nname = \"other\"\ntopics = [\"other/#\"]\n[paikea]\ndevice = \"127.0.0.1:0\"\npage = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let page = child.reach.gateways["paikea-page"];
    let (mut all, long) = (Vec::new(), "x".repeat(1024 * KIB));
    for _ in 0..CONNECTIONS {
        let mut socket = Socket::open(page, "/iam1", &[]).await;
        // Nobody hears it, and nothing keeps it.
        socket.say(long.clone()).await;
        assert!(socket.settle().await.is_empty());
        all.push(socket);
    }
    let small = async || (child.resident() < (CONNECTIONS * KIB * KIB) as u64).then_some(());
    eventually("the memory is given back", small).await;
    drop(all);
}

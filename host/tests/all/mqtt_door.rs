//! What an MQTT client may do before it is let in, over WebSocket, and with packets that it does not finish.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use weir::config::Mqtt;

use crate::harness::{Heard, Reach, Router, Setup, Socket, eventually, within};

const KIB: usize = 1024;
/// Longer than any test waits.
const NEVER: Duration = Duration::from_secs(3_600);

const CONNECT_3: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";
const CONNECT_5: &[u8] = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01b";
const PINGREQ: &[u8] = b"\xc0\x00";
const PINGRESP: &[u8] = b"\xd0\x00";

fn serving() -> Setup {
    Setup::open().config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
    })
}

async fn plain(router: &Reach) -> TcpStream {
    TcpStream::connect(router.gateways["mqtt"]).await.unwrap()
}

/// All that comes until the router ends the connection.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A connection that is reset has ended, too.
    drop(within("the end of the connection", stream.read_to_end(&mut said)).await);
    said
}

async fn answer(router: &Reach, bytes: &[u8]) -> Vec<u8> {
    let mut stream = plain(router).await;
    stream.write_all(bytes).await.unwrap();
    rest(stream).await
}

async fn packet(stream: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let mut said = vec![0; 2];
        stream.read_exact(&mut said).await.unwrap();
        said.resize(2 + usize::from(said[1]), 0);
        stream.read_exact(&mut said[2..]).await.unwrap();
        said
    };
    within("a packet", read).await
}

/// A client that was let in; its keep-alive is off.
async fn connected(router: &Reach, connect: &[u8]) -> TcpStream {
    let mut stream = plain(router).await;
    stream.write_all(connect).await.unwrap();
    let said = packet(&mut stream).await;
    assert_eq!((said[0], said[3]), (0x20, 0), "{said:x?}");
    stream
}

/// A PUBLISH of QoS 1 in version 5 with so many bytes of payload.
fn publish(payload: usize) -> Vec<u8> {
    let mut rest = b"\x00\x01t\x00\x07\x00".to_vec();
    rest.resize(rest.len() + payload, b'x');
    let (mut head, mut length) = (vec![0x32], rest.len());
    while length > 0 {
        head.push((length & 0x7f) as u8 | if length > 0x7f { 0x80 } else { 0 });
        length >>= 7;
    }
    [head, rest].concat()
}

async fn until_held(router: &Reach, least: usize, most: usize) {
    let look = async || {
        let held = router.metric("weir_unfinished_bytes").await;
        (least as f64..=most as f64).contains(&held).then_some(())
    };
    eventually(&format!("{least} to {most} bytes are held"), look).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_connect_that_is_spoken_here_ends_the_connection() {
    let router = serving().config(|config| config.limits.headers = NEVER).start().await;
    let with = |connect: &[u8], at: usize, byte: u8| {
        let mut changed = connect.to_vec();
        changed[at] = byte;
        changed
    };
    for (connect, said) in [
        // Levels that there are not, in the words of the version that is asked for.
        (with(CONNECT_3, 8, 3), &b"\x20\x02\x00\x01"[..]),
        (with(CONNECT_3, 8, 0), b"\x20\x02\x00\x01"),
        (b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a".to_vec(), b"\x20\x02\x00\x01"),
        (with(CONNECT_5, 8, 6), b"\x20\x03\x00\x84\x00"),
        // MQTT-3.1.2-3: the reserved flag.
        (with(CONNECT_3, 9, 3), b""),
        (with(CONNECT_5, 9, 3), b""),
        // Nothing that is announced is waited for: no CONNECT, one that is too large, a length that is none.
        (b"\x30\xff\x7f".to_vec(), b""),
        (b"\x10\x80\x80\x08".to_vec(), b""),
        (b"\x10\xff\xff\xff\xff".to_vec(), b""),
    ] {
        assert_eq!(answer(&router, &connect).await, said, "{connect:x?}");
    }
    // A will that fills a CONNECT to its bound is taken.
    let payload = 64 * KIB - 1 - 3 - 10 - 3 - 3 - 2;
    let mut body = b"\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x01w".to_vec();
    body.extend(u16::try_from(payload).unwrap().to_be_bytes());
    body.resize(body.len() + payload, b'x');
    let head = |length: usize| {
        [0x10, (length & 0x7f) as u8 | 0x80, (length >> 7 & 0x7f) as u8 | 0x80, (length >> 14) as u8]
    };
    assert_eq!(4 + body.len(), 64 * KIB);
    drop(connected(&router, &[&head(body.len())[..], &body].concat()).await);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_finish_its_connect_must_go() {
    let router = serving().config(|config| config.limits.headers = Duration::from_millis(300)).start().await;
    for begun in [&CONNECT_3[..1], &CONNECT_3[..9], &CONNECT_5[..13]] {
        assert_eq!(answer(&router, begun).await, b"", "{begun:x?}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_have_come_in_part_hold_no_more_together_than_they_may() {
    let setup = serving().config(|config| {
        config.limits.message_bytes = 256 * KIB;
        config.limits.unfinished_bytes = 256 * KIB;
        (config.limits.message, config.limits.headers) = (NEVER, NEVER);
    });
    let router = setup.start().await;
    let whole = publish(200 * KIB);
    let mut first = connected(&router, CONNECT_5).await;
    first.write_all(&whole[..150 * KIB]).await.unwrap();
    until_held(&router, 140 * KIB, 150 * KIB).await;
    // Who has not been let in counts with the others.
    let mut opening = Vec::new();
    for _ in 0..3 {
        let mut stream = plain(&router).await;
        stream.write_all(b"\x10\x80\x80\x02\x00\x04MQTT\x05\x02\x00\x00").await.unwrap();
        stream.write_all(&[b'x'; 30 * KIB]).await.unwrap();
        opening.push(stream);
    }
    until_held(&router, 225 * KIB, 245 * KIB).await;
    let mut second = connected(&router, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c").await;
    drop(second.write_all(&whole[..150 * KIB]).await);
    let goodbye = rest(second).await;
    assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x97), "{goodbye:x?}");
    assert_eq!(router.sample("weir_unfinished_disconnects_total", &[("limit", "bytes")]).await, 1.0);
    drop(opening);
    until_held(&router, 140 * KIB, 150 * KIB).await;
    first.write_all(&whole[150 * KIB..]).await.unwrap();
    assert_eq!(packet(&mut first).await[..4], [0x40, 2, 0, 7], "it was finished, and is acknowledged");
    until_held(&router, 0, 0).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_finish_a_packet_must_go_also_without_keep_alive() {
    let router = serving().config(|config| config.limits.message = Duration::from_millis(300)).start().await;
    let mut idle = connected(&router, b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c").await;
    idle.write_all(PINGREQ).await.unwrap();
    for begun in [&publish(100)[..50], &PINGREQ[..1], &publish(100 * KIB)[..50 * KIB]] {
        let mut late = connected(&router, CONNECT_5).await;
        late.write_all(begun).await.unwrap();
        let goodbye = rest(late).await;
        assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x98), "{goodbye:x?}");
        let mut late = connected(&router, CONNECT_3).await;
        late.write_all(begun).await.unwrap();
        assert_eq!(rest(late).await, b"");
    }
    // Who says nothing at all may stay.
    assert_eq!(packet(&mut idle).await, PINGRESP);
    idle.write_all(PINGREQ).await.unwrap();
    assert_eq!(packet(&mut idle).await, PINGRESP);
    until_held(&router, 0, 0).await;
    router.stop().await;
}

const MQTT: &[(&str, &str)] = &[("sec-websocket-protocol", "mqtt")];

async fn opened(router: &Router) -> Socket {
    Socket::open(router.http, "/mqtt", MQTT).await
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(bytes.to_vec().into())
}

/// What comes, as one stream, until there are so many bytes of it.
async fn bytes(socket: &mut Socket, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        match socket.hear().await {
            Heard::Binary(bytes) => all.extend(bytes),
            other => panic!("{other:?} after {all:x?}"),
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_carries_packets_however_they_are_cut() {
    let router = serving().start().await;
    for (headers, status) in [
        (&[][..], 400),
        (&[("sec-websocket-protocol", "chat")][..], 400),
        (&[("sec-websocket-protocol", "mqtt"), ("origin", "http://evil.example")][..], 403),
    ] {
        assert_eq!(Socket::try_open(router.http, "/mqtt", headers).await.err(), Some(status), "{headers:?}");
    }
    let many = Socket::open(router.http, "/mqtt", &[("sec-websocket-protocol", "mqttv3.1, mqtt")]).await;
    assert_eq!(many.answer.headers()["sec-websocket-protocol"], "mqtt");

    // Byte by byte, with frames that hold nothing and pings between them.
    let mut socket = opened(&router).await;
    for byte in CONNECT_3 {
        socket.say(binary(&[*byte])).await;
        socket.say(binary(b"")).await;
    }
    assert_eq!(bytes(&mut socket, 4).await, b"\x20\x02\x00\x00");
    socket.settle().await;
    // Many packets in one frame: SUBSCRIBE, PUBLISH, PINGREQ.
    let all = [b"\x82\x06\x00\x01\x00\x01t\x01", &b"\x32\x06\x00\x01t\x00\x07x"[..], PINGREQ].concat();
    socket.say(binary(&all)).await;
    let said = bytes(&mut socket, 5 + 4 + 2 + 8).await;
    for wanted in [&b"\x90\x03\x00\x01\x01"[..], b"\x40\x02\x00\x07", PINGRESP, b"\x32\x06\x00\x01t"] {
        assert!(said.windows(wanted.len()).any(|part| part == wanted), "{wanted:x?} in {said:x?}");
    }
    // DISCONNECT: then the router closes.
    socket.say(binary(b"\xe0\x00")).await;
    assert_eq!(socket.hear().await, Heard::Closed(1000, String::new()));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_ends_in_words() {
    let setup = serving().config(|config| {
        config.limits.message = Duration::from_millis(500);
        config.limits.headers = Duration::from_secs(60);
    });
    let router = setup.start().await;
    let mut text = opened(&router).await;
    text.say(Message::Text("hello".into())).await;
    assert_eq!(text.hear().await, Heard::Closed(1003, "frames are binary, this one is text".into()));

    // Before the client is let in a frame holds no more than a CONNECT.
    let mut large = opened(&router).await;
    large.say(binary(&[0x10; 65 * KIB])).await;
    let Heard::Closed(1009, _) = large.hear().await else { panic!("a large frame was taken") };

    let mut client = opened(&router).await;
    client.say(binary(CONNECT_5)).await;
    bytes(&mut client, 5).await;
    client.say(binary(&publish(100 * KIB))).await;
    assert_eq!(bytes(&mut client, 4).await[..4], [0x40, 2, 0, 7], "then it holds more");
    // Version 5 says why before the frame that closes.
    client.say(binary(&publish(100)[..50])).await;
    assert_eq!(bytes(&mut client, 3).await[2], 0x98);
    assert_eq!(client.hear().await, Heard::Closed(1000, String::new()));

    let mut leaves = opened(&router).await;
    leaves.say(binary(CONNECT_3)).await;
    bytes(&mut leaves, 4).await;
    leaves.say(Message::Close(None)).await;
    assert!(matches!(leaves.hear().await, Heard::Closed(1005, _) | Heard::Cut));

    let mut stays = opened(&router).await;
    stays.say(binary(CONNECT_5)).await;
    bytes(&mut stays, 5).await;
    let stop = router.stop();
    let said = async { bytes(&mut stays, 3).await };
    let (said, _) = tokio::join!(said, stop);
    assert_eq!((said[0], said[2]), (0xe0, 0x8b), "the router stops: {said:x?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_mqtt_where_none_is_configured_and_it_is_below_the_base_path() {
    let router = Setup::open().start().await;
    assert_eq!(Socket::try_open(router.http, "/mqtt", MQTT).await.err(), Some(404));
    router.stop().await;
    let router = serving().config(|config| config.http.base_path = "/weir".parse().unwrap()).start().await;
    assert_eq!(Socket::try_open(router.http, "/mqtt", MQTT).await.err(), Some(404));
    let mut socket = Socket::open(router.http, "/weir/mqtt", MQTT).await;
    socket.say(binary(CONNECT_3)).await;
    assert_eq!(bytes(&mut socket, 4).await, b"\x20\x02\x00\x00");
    router.stop().await;
}

//! Bytes on a socket: for what a client that behaves would never send, and for what it never sees.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// What a WebSocket handshake must have.
pub const HANDSHAKE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// An HTTP answer with its head.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn outcome(&self) -> (u16, String) {
        (self.status, self.json()["outcome"].as_str().unwrap_or_default().to_owned())
    }
}

/// Sends a request's head and body as they are.
pub async fn send_request(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let host = stream.peer_addr().unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let bytes = [request.as_bytes(), body].concat();
    // The server may refuse before it has read everything.
    drop(within("room to send", stream.write_all(&bytes)).await);
}

/// The next answer on the connection; none if it ends before.
pub async fn try_reply(stream: &mut TcpStream) -> Option<Reply> {
    let read = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply { status, head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        reply.body = String::from_utf8(body).unwrap();
        Some(reply)
    };
    within("an HTTP answer", read).await
}

pub async fn reply(stream: &mut TcpStream) -> Reply {
    try_reply(stream).await.expect("an answer before the connection ends")
}

/// One request on a connection of its own, and its answer with the head.
pub async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    send_request(&mut stream, method, path, headers, body).await;
    reply(&mut stream).await
}

/// What comes until the connection ends.
pub async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(within("the connection's end", stream.read_to_end(&mut bytes)).await);
    bytes
}

/// Makes the connection a WebSocket; `early` is sent together with the handshake.
pub async fn upgrade(mut stream: TcpStream, early: &[u8]) -> TcpStream {
    let host = stream.peer_addr().unwrap();
    let mut request = format!("GET /v1/ws HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in HANDSHAKE {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(&[request.as_bytes(), early].concat()).await.unwrap();
    let reply = reply(&mut stream).await;
    assert_eq!(reply.status, 101, "{reply:?}");
    // RFC 6455, section 1.3.
    assert_eq!(reply.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    stream
}

pub async fn websocket(address: SocketAddr) -> TcpStream {
    upgrade(TcpStream::connect(address).await.unwrap(), b"").await
}

/// A masked frame, as a client sends it.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [7, 1, 3, 9];
    let mut frame = vec![first];
    match payload.len() {
        short @ ..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=65_535 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0xff);
            frame.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub async fn send(stream: &mut TcpStream, first: u8, payload: &[u8]) {
    within("room to send", stream.write_all(&masked(first, payload))).await.unwrap();
}

/// The server's next frame: its first byte and its payload. None: the connection ended.
pub async fn frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let read = async {
        let first = stream.read_u8().await.ok()?;
        let second = stream.read_u8().await.ok()?;
        assert_eq!(second & 0x80, 0, "servers do not mask");
        let length = match second {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    };
    within("a frame", read).await
}

/// The next frame, which must be a text.
pub async fn text(stream: &mut TcpStream) -> String {
    match frame(stream).await {
        Some((TEXT, payload)) => String::from_utf8(payload).unwrap(),
        other => panic!("no text: {other:?}"),
    }
}

/// The code with which the server ends the connection. What comes before is skipped, nothing may follow.
pub async fn close_code(stream: &mut TcpStream) -> u16 {
    loop {
        let (first, payload) = frame(stream).await.expect("a close frame before the end");
        if first == CLOSE {
            assert_eq!(frame(stream).await, None, "something came after the close");
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

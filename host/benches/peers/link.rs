//! A client's connection to a server: opened, greeted, subscribed.

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;
use super::wire;

/// Connections that are made at a time: some servers take a fifth of a second for each, of however many.
const AT_ONCE: usize = 50;

/// So many connections, in their order.
pub async fn all<C: Future<Output = TcpStream>>(
    count: usize,
    connect: impl Fn(usize) -> C,
) -> Vec<TcpStream> {
    stream::iter(0..count).map(connect).buffered(AT_ONCE).collect().await
}

/// A connection that hears a topic. What came before the first message has been read.
pub async fn subscribe(server: &Server, number: usize, topic: usize) -> TcpStream {
    let path = wire::subscriber_path(server.kind, number, topic);
    let (mut stream, mut read) = open(server, &path).await;
    let (bytes, answer) = wire::subscribe(server.kind, number, topic);
    stream.write_all(&bytes).await.expect("room to send");
    // Nothing is published yet: what is read are answers, not messages.
    await_bytes(&mut stream, &mut read, answer).await;
    stream
}

/// A connection that may publish to a topic.
pub async fn publisher(server: &Server, topic: usize) -> TcpStream {
    let path = wire::publisher_path(server.kind, topic);
    let (mut stream, mut read) = open(server, &path).await;
    if let Some((bytes, answer)) = wire::greet(server.kind, topic) {
        stream.write_all(&bytes).await.expect("room to send");
        await_bytes(&mut stream, &mut read, answer).await;
    }
    stream
}

/// Opens a WebSocket, or where there is none a plain connection. What comes behind the answer is kept.
pub async fn open(server: &Server, path: &str) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    if !wire::over_websocket(server.kind) {
        return (stream, Vec::new());
    }
    let protocol = wire::subprotocol(server.kind)
        .map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).await.expect("room to send");
    let mut answer = Vec::new();
    await_bytes(&mut stream, &mut answer, b"\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", answer.escape_ascii());
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("its end") + 4;
    (stream, answer.split_off(end))
}

async fn await_bytes(stream: &mut TcpStream, read: &mut Vec<u8>, wanted: &[u8]) {
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        let count = stream.read_buf(read).await.expect("an answer");
        assert!(count > 0, "the connection ended: {}", read.escape_ascii());
    }
}

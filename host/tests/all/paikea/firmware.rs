//! The client that Paikea's devices have in MicroPython: written by hand, and no cleverer than it has to be.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

/// A device's connection.
pub struct Firmware {
    pub stream: TcpStream,
    /// The head of the answer to the handshake.
    pub head: String,
}

/// One frame as it came: its first byte, and its payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame(pub u8, pub Vec<u8>);

impl Firmware {
    /// Connects. Of the answer it looks at the status line alone.
    pub async fn connect(address: SocketAddr, target: &str) -> Self {
        let firmware = Self::ask(address, target, "").await;
        assert!(firmware.head.starts_with("HTTP/1.1 101 "), "{}", firmware.head);
        firmware
    }

    /// Sends the handshake with more headers, and reads the head of the answer.
    pub async fn ask(address: SocketAddr, target: &str, more: &str) -> Self {
        let mut stream = within("a connection", TcpStream::connect(address)).await.unwrap();
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\
             Origin: http://localhost\r\n{more}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the answer to the handshake", stream.read_u8()).await.unwrap());
        }
        Self { stream, head: String::from_utf8(head).unwrap() }
    }

    /// Sends a frame, masked with zeros.
    pub async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match u16::try_from(payload.len()) {
            Ok(length @ ..=125) => frame.push(0x80 | length as u8),
            Ok(length) => {
                frame.push(0xfe);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0xff);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        within("room to send", self.stream.write_all(&frame)).await.unwrap();
    }

    pub async fn say(&mut self, text: &str) {
        self.send(0x81, text.as_bytes()).await;
    }

    /// The next frame, which must not be masked; none: the connection has ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        let first = within("a frame", self.stream.read_u8()).await.ok()?;
        let second = self.stream.read_u8().await.unwrap();
        let length = match second {
            126 => self.stream.read_u16().await.unwrap().into(),
            127 => self.stream.read_u64().await.unwrap(),
            length => length.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        within("the rest of a frame", self.stream.read_exact(&mut payload)).await.unwrap();
        Some(Frame(first, payload))
    }

    /// The next frame, which must be a whole text message.
    pub async fn hear(&mut self) -> String {
        match self.frame().await {
            Some(Frame(0x81, text)) => String::from_utf8(text).unwrap(),
            other => panic!("no whole text, but {other:?}"),
        }
    }
}

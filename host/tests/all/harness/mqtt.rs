//! MQTT 3.1.1 byte by byte: a client that acknowledges only what it is told to.

pub mod load;

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A packet: the first byte, and what stands behind its length.
pub type Packet = (u8, Vec<u8>);

pub struct Raw {
    stream: TcpStream,
    /// Whether the session was there.
    pub present: bool,
}

/// What came in a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    pub dup: bool,
    pub qos: u8,
    pub id: u16,
    pub payload: String,
}

/// A text with its length.
pub fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet with its length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![first], body.len());
    loop {
        let low = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return [&bytes[..], body].concat();
        }
    }
}

/// The identifier at the beginning of an acknowledgement.
pub fn id_of(body: &[u8]) -> u16 {
    u16::from_be_bytes([body[0], body[1]])
}

impl Came {
    /// Of a PUBLISH of 3.1.1.
    pub fn of(first: u8, body: &[u8]) -> Self {
        assert_eq!(first & 0xf0, 0x30, "a PUBLISH: {first:x} {body:?}");
        let rest = &body[2 + usize::from(id_of(body))..];
        let (dup, qos) = (first & 8 != 0, (first >> 1) & 3);
        let (id, payload) = if qos == 0 { (0, rest) } else { (id_of(rest), &rest[2..]) };
        Self { dup, qos, id, payload: String::from_utf8(payload.to_vec()).unwrap() }
    }
}

impl Raw {
    /// Only the stream.
    pub async fn dial(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), present: false }
    }

    pub async fn connect(address: SocketAddr, client: &str, clean: bool) -> Self {
        Self::try_connect(address, client, clean).await.expect("it is let in")
    }

    /// None: the router is gone.
    pub async fn try_connect(address: SocketAddr, client: &str, clean: bool) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        let mut raw = Self { stream, present: false };
        let flags = if clean { 2 } else { 0 };
        let body = [&text("MQTT")[..], &[4, flags, 0, 0], &text(client)].concat();
        raw.write(&packet(0x10, &body)).await;
        let (first, body) = raw.try_next().await?;
        assert_eq!((first, body[1]), (0x20, 0), "{body:?}");
        raw.present = body[0] == 1;
        Some(raw)
    }

    /// False: the connection has ended.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// None: the connection has ended.
    pub async fn try_next(&mut self) -> Option<Packet> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a packet, or the end")
    }

    pub async fn next(&mut self) -> Packet {
        self.try_next().await.expect("a packet")
    }

    /// An acknowledgement. False: the connection has ended.
    pub async fn say(&mut self, first: u8, id: u16) -> bool {
        self.write(&packet(first, &id.to_be_bytes())).await
    }

    /// The next packet is this one, of this identifier.
    pub async fn hears(&mut self, first: u8, id: u16) {
        assert_eq!(self.next().await, (first, id.to_be_bytes().to_vec()));
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) {
        let body = [&[0, 1][..], &text(filter), &[qos]].concat();
        self.write(&packet(0x82, &body)).await;
        assert_eq!(self.next().await, (0x90, vec![0, 1, qos]));
    }

    /// A PUBLISH of QoS 1 or 2. False: the connection has ended.
    pub async fn send(&mut self, topic: &str, qos: u8, id: u16, dup: bool, payload: &str) -> bool {
        let body = [&text(topic)[..], &id.to_be_bytes(), payload.as_bytes()].concat();
        self.write(&packet(0x30 | qos << 1 | u8::from(dup) << 3, &body)).await
    }

    /// Publishes, to the end.
    pub async fn publish(&mut self, topic: &str, qos: u8, id: u16, payload: &str) {
        self.send(topic, qos, id, false, payload).await;
        if qos == 1 {
            return self.hears(0x40, id).await;
        }
        self.hears(0x50, id).await;
        self.release(id).await;
    }

    /// Releases an identifier of QoS 2.
    pub async fn release(&mut self, id: u16) {
        self.say(0x62, id).await;
        self.hears(0x70, id).await;
    }

    pub async fn message(&mut self) -> Came {
        let (first, body) = self.next().await;
        Came::of(first, &body)
    }
}

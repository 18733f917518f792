//! A client of `GET /v1/subscribe`, byte for byte.

use std::collections::VecDeque;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// An open stream of events.
pub struct Events {
    socket: TcpStream,
    /// Read, but no whole chunk of the body yet.
    raw: Vec<u8>,
    /// Read, but no whole event yet.
    text: String,
    waiting: VecDeque<Event>,
    /// What the server said before the body.
    pub head: String,
    ended: bool,
    /// Comments so far.
    pub comments: usize,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `message` if the server gave none.
    pub name: String,
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub data: Value,
}

impl Events {
    /// Asks for the stream; the server must grant it.
    pub async fn open(http: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_open(http, query, headers).await.expect("an answer")
    }

    /// The same; none if there is no server any more.
    pub async fn try_open(http: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Option<Self> {
        let events = Self::try_request(http, query, headers).await?;
        assert!(events.head.starts_with("HTTP/1.1 200 "), "{}", events.head);
        Some(events)
    }

    async fn try_request(http: SocketAddr, query: &str, headers: &[(&str, &str)]) -> Option<Self> {
        let mut socket = within("a connection", TcpStream::connect(http)).await.ok()?;
        let mut request = format!("GET /v1/subscribe{query} HTTP/1.1\r\nhost: {http}\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        within("room to send", socket.write_all(request.as_bytes())).await.ok()?;
        let (raw, text, waiting) = (Vec::new(), String::new(), VecDeque::new());
        let mut new = Self { socket, raw, text, waiting, head: String::new(), ended: false, comments: 0 };
        loop {
            if let Some(at) = find(&new.raw, b"\r\n\r\n") {
                let head: Vec<u8> = new.raw.drain(..at + 4).collect();
                new.head = String::from_utf8(head).expect("the head is text").to_ascii_lowercase();
                new.head.replace_range(..5, "HTTP/");
                return Some(new);
            }
            if !new.read().await {
                return None;
            }
        }
    }

    /// Says that nothing more is sent.
    pub async fn half_close(&mut self) {
        self.socket.shutdown().await.expect("the end of what is sent");
    }

    /// Reads some bytes. False: that was all.
    async fn read(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match within("bytes of a stream of events", self.socket.read(&mut buffer)).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.raw.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// The next event; none at the end of the stream.
    pub async fn try_next(&mut self) -> Option<Event> {
        loop {
            // Some may have come together with the head.
            self.take_events();
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended || !self.read().await {
                return None;
            }
        }
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        self.try_next().await.expect("the stream goes on")
    }

    /// The next event, which must have this name.
    pub async fn event(&mut self, name: &str) -> Event {
        let event = self.next().await;
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    fn take_events(&mut self) {
        self.take_chunks();
        while let Some((block, rest)) = self.text.split_once("\n\n") {
            match parse_event(block) {
                Some(event) => self.waiting.push_back(event),
                None => self.comments += 1,
            }
            self.text = rest.to_owned();
        }
    }

    /// Moves whole chunks (RFC 9112, section 7.1) to the text.
    fn take_chunks(&mut self) {
        while let Some(at) = find(&self.raw, b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..at]).expect("a chunk's size");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            let end = at + 2 + size + 2;
            if self.raw.len() < end {
                return;
            }
            self.text.push_str(std::str::from_utf8(&self.raw[at + 2..end - 2]).expect("whole characters"));
            self.raw.drain(..end);
            self.ended |= size == 0;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// What stands between two empty lines. None: a comment.
pub fn parse_event(block: &str) -> Option<Event> {
    let mut event = Event { name: "message".into(), id: None, retry: None, data: Value::Null };
    let mut data = Vec::new();
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = Some(value.parse().expect("milliseconds")),
            "data" => data.push(value),
            _ => panic!("{line:?}"),
        }
    }
    let data = data.join("\n");
    event.data = serde_json::from_str(&data).unwrap_or_default();
    (!data.is_empty()).then_some(event)
}

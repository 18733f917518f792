//! A client of both versions, byte by byte, that may break all rules.

use std::net::SocketAddr;

use crate::harness::mqtt::{Raw, packet, text};

/// A packet that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub first: u8,
    pub body: Vec<u8>,
}

/// A connected client.
pub struct Peer {
    pub raw: Raw,
    pub five: bool,
    /// Its CONNACK.
    pub connack: Heard,
}

/// What stands in a CONNECT; by default, of a client without a name.
#[derive(Clone)]
pub struct Connect<'a> {
    pub five: bool,
    pub client: &'a str,
    pub clean: bool,
    pub keep_alive: u16,
    /// Of version 5.
    pub properties: &'a [u8],
    /// Flags beside clean session: will, its QoS and retain, user, password.
    pub flags: u8,
    /// What stands behind the client identifier.
    pub rest: &'a [u8],
}

pub fn connect(five: bool) -> Connect<'static> {
    Connect { five, client: "", clean: true, keep_alive: 0, properties: &[], flags: 0, rest: &[] }
}

impl Connect<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let flags = self.flags | if self.clean { 2 } else { 0 };
        let mut body = [&text("MQTT")[..], &[if self.five { 5 } else { 4 }, flags]].concat();
        body.extend(self.keep_alive.to_be_bytes());
        body.extend(properties(self.five, self.properties));
        packet(0x10, &[&body[..], &text(self.client), self.rest].concat())
    }

    pub async fn open(&self, address: SocketAddr) -> Peer {
        let mut raw = Raw::dial(address).await;
        raw.write(&self.bytes()).await;
        let (first, body) = raw.next().await;
        Peer { raw, five: self.five, connack: Heard { first, body } }
    }
}

/// With their length, in version 5.
pub fn properties(five: bool, properties: &[u8]) -> Vec<u8> {
    match five {
        true => [&[u8::try_from(properties.len()).unwrap()][..], properties].concat(),
        false => Vec::new(),
    }
}

/// A PUBLISH: the low bits of its first byte, the identifier if there is one.
pub fn publish(five: bool, flags: u8, topic: &[u8], id: Option<u16>, payload: &str) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    body.extend(properties(five, &[]));
    packet(0x30 | flags, &[&body[..], payload.as_bytes()].concat())
}

/// A SUBSCRIBE (0x82) or, without options, an UNSUBSCRIBE (0xa2).
pub fn subscribe(five: bool, first: u8, id: u16, filters: &[(&str, Option<u8>)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(five, &[]));
    for (filter, options) in filters {
        body.extend(text(filter));
        body.extend(options);
    }
    packet(first, &body)
}

impl Peer {
    pub async fn new(address: SocketAddr, five: bool) -> Self {
        connect(five).open(address).await
    }

    pub fn present(&self) -> bool {
        self.connack.body[0] == 1
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        assert!(self.raw.write(bytes).await);
    }

    pub async fn next(&mut self) -> Heard {
        let (first, body) = self.raw.next().await;
        Heard { first, body }
    }

    /// Sends, and returns what comes next.
    pub async fn ask(&mut self, bytes: &[u8]) -> Heard {
        self.send(bytes).await;
        self.next().await
    }

    /// Subscribes to one filter, and is granted this.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) {
        let heard = self.ask(&subscribe(self.five, 0x82, 9, &[(filter, Some(qos))])).await;
        assert_eq!((heard.first, heard.body.last()), (0x90, Some(&qos)), "{heard:?}");
    }

    /// An acknowledgement of success: the first byte and the identifier, which is all that there is.
    pub async fn hears(&mut self, first: u8, id: u16) {
        let heard = self.next().await;
        assert_eq!((heard.first, &heard.body[..]), (first, &id.to_be_bytes()[..]), "{heard:?}");
    }

    pub async fn say(&mut self, first: u8, id: u16) {
        assert!(self.raw.say(first, id).await);
    }

    /// Publishes, to the end.
    pub async fn publish(&mut self, qos: u8, topic: &str, id: u16, payload: &str) {
        let given = (qos > 0).then_some(id);
        self.send(&publish(self.five, qos << 1, topic.as_bytes(), given, payload)).await;
        match qos {
            0 => {}
            1 => self.hears(0x40, id).await,
            _ => {
                self.hears(0x50, id).await;
                self.say(0x62, id).await;
                self.hears(0x70, id).await;
            }
        }
    }

    /// The next packet is a PUBLISH.
    pub async fn message(&mut self) -> Message {
        let heard = self.next().await;
        Message::of(&heard, self.five)
    }

    /// Whatever comes until the connection ends.
    pub async fn rest(mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some((first, body)) = self.raw.try_next().await {
            all.push(Heard { first, body });
        }
        all
    }

    /// Whether the router ends the connection for these bytes, and in version 5 says why; it still answers pings, else.
    pub async fn breaks_with(mut self, bytes: &[u8]) -> bool {
        // It may be gone before it has read all.
        self.raw.write(&[bytes, &[0xc0, 0]].concat()).await;
        let mut said = Vec::new();
        while let Some((first, body)) = self.raw.try_next().await {
            if first == 0xd0 {
                return false;
            }
            said.push((first, body.first().is_some_and(|code| *code >= 0x80)));
        }
        said == if self.five { vec![(0xe0, true)] } else { vec![] }
    }

    /// The router ends the connection; in version 5 it says why.
    pub async fn ends(self, code: u8) {
        let five = self.five;
        let rest = self.rest().await;
        let said: Vec<_> = rest.iter().map(|heard| (heard.first, heard.body.first().copied())).collect();
        assert_eq!(said, if five { vec![(0xe0, Some(code))] } else { vec![] }, "{rest:x?}");
    }
}

/// What came in a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub dup: bool,
    pub qos: u8,
    pub retain: bool,
    pub topic: String,
    pub id: u16,
    pub properties: Vec<u8>,
    pub payload: String,
}

impl Message {
    fn of(heard: &Heard, five: bool) -> Self {
        assert_eq!(heard.first & 0xf0, 0x30, "a PUBLISH: {heard:x?}");
        let (flags, mut rest) = (heard.first, &heard.body[..]);
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at(count);
            rest = left;
            taken.to_vec()
        };
        let length = take(2);
        let topic = take(usize::from(u16::from_be_bytes([length[0], length[1]])));
        let qos = (flags >> 1) & 3;
        let id = if qos > 0 { take(2) } else { vec![0, 0] };
        let properties = match five {
            true => {
                let length = take(1);
                take(usize::from(length[0]))
            }
            false => Vec::new(),
        };
        Self {
            dup: flags & 8 != 0,
            qos,
            retain: flags & 1 != 0,
            topic: String::from_utf8(topic).unwrap(),
            id: u16::from_be_bytes([id[0], id[1]]),
            properties,
            payload: String::from_utf8(rest.to_vec()).unwrap(),
        }
    }
}

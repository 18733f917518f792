//! Sessions of MQTT that outlive their connections, over restarts and `kill -9`, byte by byte: a client of 3.1.1 that
//! acknowledges only what it is told to.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::config::Mqtt;

use crate::harness::{PATIENCE, Setup};

/// A packet: the first byte, and what stands behind its length.
type Packet = (u8, Vec<u8>);

struct Raw {
    stream: TcpStream,
    /// Whether the session was there.
    present: bool,
}

/// What came in a PUBLISH.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Came {
    dup: bool,
    qos: u8,
    id: u16,
    payload: String,
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128, "one byte says how long it is");
    [&[first, u8::try_from(body.len()).unwrap()][..], body].concat()
}

impl Raw {
    async fn connect(address: SocketAddr, client: &str, clean: bool) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let flags = if clean { 2 } else { 0 };
        let body = [&text("MQTT")[..], &[4, flags, 0, 0], &text(client)].concat();
        stream.write_all(&packet(0x10, &body)).await.unwrap();
        let mut client = Self { stream, present: false };
        let (first, body) = client.next().await;
        assert_eq!((first, body[1]), (0x20, 0), "{body:?}");
        client.present = body[0] == 1;
        client
    }

    async fn next(&mut self) -> Packet {
        let read = async {
            let first = self.stream.read_u8().await.unwrap();
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.stream.read_u8().await.unwrap();
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.unwrap();
            (first, body)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a packet")
    }

    async fn say(&mut self, first: u8, id: u16) {
        self.stream.write_all(&packet(first, &id.to_be_bytes())).await.unwrap();
    }

    /// The next packet is this one, of this identifier.
    async fn hears(&mut self, first: u8, id: u16) {
        assert_eq!(self.next().await, (first, id.to_be_bytes().to_vec()));
    }

    async fn subscribe(&mut self, filter: &str, qos: u8) {
        let body = [&[0, 1][..], &text(filter), &[qos]].concat();
        self.stream.write_all(&packet(0x82, &body)).await.unwrap();
        assert_eq!(self.next().await, (0x90, vec![0, 1, qos]));
    }

    async fn send(&mut self, topic: &str, qos: u8, id: u16, dup: bool, payload: &str) {
        let body = [&text(topic)[..], &id.to_be_bytes(), payload.as_bytes()].concat();
        let first = 0x30 | qos << 1 | u8::from(dup) << 3;
        self.stream.write_all(&packet(first, &body)).await.unwrap();
    }

    /// Publishes, to the end.
    async fn publish(&mut self, topic: &str, qos: u8, id: u16, payload: &str) {
        self.send(topic, qos, id, false, payload).await;
        if qos == 1 {
            return self.hears(0x40, id).await;
        }
        self.hears(0x50, id).await;
        self.say(0x62, id).await;
        self.hears(0x70, id).await;
    }

    async fn message(&mut self) -> Came {
        let (first, body) = self.next().await;
        assert_eq!(first & 0xf0, 0x30, "a PUBLISH: {first:x} {body:?}");
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let rest = &body[2 + topic..];
        let (dup, qos) = (first & 8 != 0, (first >> 1) & 3);
        let (id, payload) = match qos {
            0 => (0, rest),
            _ => (u16::from_be_bytes([rest[0], rest[1]]), &rest[2..]),
        };
        Came { dup, qos, id, payload: String::from_utf8(payload.to_vec()).unwrap() }
    }
}

fn came(dup: bool, qos: u8, id: u16, payload: &str) -> Came {
    Came { dup, qos, id, payload: payload.into() }
}

fn serving(setup: Setup) -> Setup {
    setup.config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_after_a_restart_where_it_was() {
    let router = serving(Setup::open()).start().await;
    let address = router.reach.gateways["mqtt"];
    let mut writer = Raw::connect(address, "writer", true).await;
    let mut reader = Raw::connect(address, "reader", false).await;
    assert!(!reader.present);
    reader.subscribe("once/#", 1).await;
    reader.subscribe("exactly/#", 2).await;
    writer.publish("once/a", 1, 1, "one").await;
    let first = reader.message().await;
    assert_eq!((first.dup, first.qos, &*first.payload), (false, 1, "one"));
    writer.publish("exactly/a", 2, 2, "two").await;
    let second = reader.message().await;
    assert_eq!((second.dup, second.qos, &*second.payload), (false, 2, "two"));
    writer.publish("exactly/a", 2, 3, "three").await;
    let third = reader.message().await;
    reader.say(0x50, third.id).await;
    reader.hears(0x62, third.id).await;
    drop(reader);
    writer.publish("exactly/a", 2, 4, "four").await;
    drop(writer);
    let folders = router.stop().await;
    let router = serving(Setup::over(&folders)).start().await;
    let address = router.reach.gateways["mqtt"];
    let mut reader = Raw::connect(address, "reader", false).await;
    assert!(reader.present);
    // First what it has not released, then what it has not acknowledged, then what is new.
    reader.hears(0x62, third.id).await;
    reader.say(0x70, third.id).await;
    let mut all = [reader.message().await, reader.message().await, reader.message().await];
    all.sort_by_key(|came| came.payload.clone());
    let (fourth, one, two) = (&all[0], &all[1], &all[2]);
    assert_eq!((&*fourth.payload, fourth.dup, fourth.qos), ("four", false, 2));
    assert_eq!((&*one.payload, one.dup, one.qos), ("one", true, 1));
    assert_eq!(*two, came(true, 2, second.id, "two"), "under the identifier that it had");
    reader.say(0x40, one.id).await;
    for came in [two, fourth] {
        reader.say(0x50, came.id).await;
        reader.hears(0x62, came.id).await;
        reader.say(0x70, came.id).await;
    }
    // Another client of this name has no part in it, once it wants a clean session.
    let clean = Raw::connect(address, "reader", true).await;
    assert!(!clean.present);
    drop(clean);
    let reader = Raw::connect(address, "reader", false).await;
    assert!(!reader.present);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_has_sent_and_not_released_is_not_taken_twice_after_kill_9() {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let child = setup.spawn().await;
    let address = child.reach.gateways["mqtt"];
    let mut reader = Raw::connect(address, "reader", false).await;
    reader.subscribe("sent", 1).await;
    let mut writer = Raw::connect(address, "writer", false).await;
    writer.send("sent", 2, 7, false, "once").await;
    writer.hears(0x50, 7).await;
    // One that was released is forgotten: the next one under its identifier is new.
    writer.publish("sent", 2, 8, "released").await;
    child.kill();
    let child = setup.spawn().await;
    let address = child.reach.gateways["mqtt"];
    let mut writer = Raw::connect(address, "writer", false).await;
    assert!(writer.present);
    writer.send("sent", 2, 7, true, "once").await;
    writer.hears(0x50, 7).await;
    writer.say(0x62, 7).await;
    writer.hears(0x70, 7).await;
    writer.publish("sent", 2, 8, "new").await;
    writer.publish("sent", 2, 7, "another").await;
    let mut reader = Raw::connect(address, "reader", false).await;
    for payload in ["once", "released", "new", "another"] {
        let came = reader.message().await;
        assert_eq!(came.payload, payload);
        reader.say(0x40, came.id).await;
    }
    child.kill();
}

/// Rounds of `kill -9`.
const ROUNDS: usize = 4;
/// Messages of a round, of each QoS.
const MESSAGES: u16 = 60;

/// What a client of QoS 2 has for good, and what it must remember to have it once.
#[derive(Default)]
struct Memory {
    /// Identifiers of messages that it has taken and that are not released.
    taken: BTreeSet<u16>,
    once: Vec<String>,
    at_least: BTreeSet<String>,
}

/// Takes messages until so many packets have come, or all are there.
async fn take(reader: &mut Raw, memory: &mut Memory, packets: usize, all: usize) {
    for _ in 0..packets {
        if memory.taken.is_empty() && memory.once.len() >= all && memory.at_least.len() >= all {
            return;
        }
        let (first, body) = reader.next().await;
        if first & 0xf0 == 0x60 {
            let id = u16::from_be_bytes([body[0], body[1]]);
            memory.taken.remove(&id);
            reader.say(0x70, id).await;
            continue;
        }
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (id, payload) = body[2 + topic..].split_at(2);
        let (id, payload) = (u16::from_be_bytes([id[0], id[1]]), String::from_utf8_lossy(payload).into());
        if (first >> 1) & 3 == 1 {
            memory.at_least.insert(payload);
            reader.say(0x40, id).await;
        } else {
            if memory.taken.insert(id) {
                memory.once.push(payload);
            }
            reader.say(0x50, id).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_of_a_session_and_doubles_nothing_of_qos_2() {
    let setup = Setup::open();
    setup.write_config("[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    let mut memory = Memory::default();
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let child = setup.spawn().await;
        let address = child.reach.gateways["mqtt"];
        let mut reader = Raw::connect(address, "reader", false).await;
        assert_eq!(reader.present, round > 0);
        if round == 0 {
            reader.subscribe("once/#", 1).await;
            reader.subscribe("exactly/#", 2).await;
        }
        let mut writer = Raw::connect(address, "writer", true).await;
        for number in 0..MESSAGES {
            let payload = format!("{round}/{number}");
            writer.publish("once/a", 1, 1, &payload).await;
            writer.publish("exactly/a", 2, 2, &payload).await;
            expected.push(payload);
        }
        // Each time somewhere else in the middle of it.
        take(&mut reader, &mut memory, 40 + 31 * round, expected.len()).await;
        child.kill();
    }
    let child = setup.spawn().await;
    let mut reader = Raw::connect(child.reach.gateways["mqtt"], "reader", false).await;
    assert!(reader.present);
    take(&mut reader, &mut memory, usize::MAX, expected.len()).await;
    assert_eq!(memory.at_least, expected.iter().cloned().collect());
    memory.once.sort();
    expected.sort();
    assert_eq!(memory.once, expected, "each of QoS 2 just once");
    child.kill();
}

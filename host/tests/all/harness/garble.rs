//! MQTT as no client would speak it: valid packets that are changed, cut and thrown together, over TCP and WebSocket. What a
//! seed makes, it makes again.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Child, Setup, eventually, within};

/// Numbers that look random and repeat (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text);
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut packet, mut length) = (vec![first], body.len());
    loop {
        let more = if length > 0x7f { 0x80 } else { 0 };
        packet.push((length & 0x7f) as u8 | more);
        length >>= 7;
        if length == 0 {
            packet.extend(body);
            return packet;
        }
    }
}

const TOPICS: [&[u8]; 9] =
    [b"a", b"a/b", b"/", b"#", b"+/b", b"$SYS/#", b"$share/g/a", b"\xc3\xa4", b"\xff\x00"];
/// Properties as they stand in packets: receive maximum, expiry, alias, user property, identifier, and some that are wrong.
const PROPERTIES: [&[u8]; 12] = [
    b"",
    b"\x21\x00\x01",
    b"\x11\x00\x00\x00\x02",
    b"\x23\x00\x01",
    b"\x26\x00\x01a\x00\x01b",
    b"\x0b\x07",
    b"\x02\x00\x00\x00\x01",
    b"\x27\x00\x00\x00\x20",
    b"\x22\x00\x0a\x17\x00",
    b"\x0b\x00",
    b"\x23\x00\x00",
    b"\x15\x00\x01x",
];

fn properties(dice: &mut Dice, late: bool, out: &mut Vec<u8>) {
    if late {
        let all = dice.one_of(&PROPERTIES);
        out.push(all.len() as u8);
        out.extend(all);
    }
}

fn connect(dice: &mut Dice, late: bool) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, b"MQTT");
    let (clean, will) = (dice.below(4) > 0, dice.below(4) == 0);
    let flags =
        u8::from(clean) << 1 | u8::from(will) << 2 | if will { dice.one_of(&[0, 8, 16, 32]) } else { 0 };
    body.extend([if late { 5 } else { 4 }, flags, 0, dice.one_of(&[0, 1, 60])]);
    properties(dice, late, &mut body);
    text(&mut body, dice.one_of(&[&b""[..], b"c1", b"c2", b"c3", b"c4"]));
    if will {
        properties(dice, late, &mut body);
        text(&mut body, dice.one_of(&TOPICS));
        text(&mut body, b"gone");
    }
    packet(0x10, &body)
}

fn any(dice: &mut Dice, late: bool) -> Vec<u8> {
    let mut body = Vec::new();
    let id = dice.one_of(&[0_u16, 1, 2, 3, 65_535]).to_be_bytes();
    match dice.below(10) {
        0..=2 => {
            let qos = dice.below(4) as u8;
            text(&mut body, dice.one_of(&TOPICS));
            if qos > 0 {
                body.extend(id);
            }
            properties(dice, late, &mut body);
            body.resize(body.len() + dice.one_of(&[0, 1, 100, 5_000]), b'x');
            packet(0x30 | qos << 1 | dice.byte() & 0x09, &body)
        }
        3 | 4 => {
            body.extend(id);
            properties(dice, late, &mut body);
            for _ in 0..dice.below(4) {
                text(&mut body, dice.one_of(&TOPICS));
                body.push(dice.byte() & 0x3f);
            }
            packet(0x82, &body)
        }
        5 => {
            body.extend(id);
            properties(dice, late, &mut body);
            text(&mut body, dice.one_of(&TOPICS));
            packet(0xa2, &body)
        }
        6 | 7 => {
            body.extend(id);
            if late && dice.below(2) == 0 {
                body.extend([dice.byte(), 0]);
            }
            packet(dice.one_of(&[0x40, 0x50, 0x62, 0x70]), &body)
        }
        8 => packet(dice.one_of(&[0xc0, 0xd0, 0xe0, 0xf0]), b""),
        _ => connect(dice, late),
    }
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let end = at + dice.below((bytes.len() - at).min(40) + 1);
    match dice.below(6) {
        0 => bytes[at] = dice.byte(),
        1 => bytes[at] ^= 1 << dice.below(8),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => bytes.insert(at, dice.one_of(&[0, 0x7f, 0x80, 0xff])),
        _ => bytes.truncate(at),
    }
}

/// What one connection says.
fn stream(dice: &mut Dice) -> Vec<u8> {
    let late = dice.below(2) == 0;
    if dice.below(10) == 0 {
        return (0..dice.below(300)).map(|_| dice.byte()).collect();
    }
    let first = connect(dice, late);
    let mut rest: Vec<u8> = (0..dice.below(12)).flat_map(|_| any(dice, late)).collect();
    let changes = dice.below(5);
    // Most are let in before they go wrong.
    if dice.below(4) == 0 {
        rest.splice(0..0, first);
        (0..changes).for_each(|_| change(dice, &mut rest));
        return rest;
    }
    (0..changes).for_each(|_| change(dice, &mut rest));
    [first, rest].concat()
}

/// As masked binary frames, the mask all zeros.
fn framed(dice: &mut Dice, stream: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 + dice.below(rest.len().min(125)));
        frames.extend([dice.one_of(&[0x82, 0x82, 0x82, 0x82, 0x02, 0x00, 0x89]), 0x80 | part.len() as u8]);
        frames.extend([0; 4]);
        frames.extend(part);
        rest = after;
    }
    if dice.below(4) == 0 {
        change(dice, &mut frames);
    }
    frames
}

const UPGRADE: &[u8] = b"GET /mqtt HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: mqtt\r\n\r\n";

/// One connection, until the router has ended it.
async fn once(child: &Child, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut said = stream(&mut dice);
    let websocket = dice.below(4) == 0;
    let address = match websocket {
        true => child.reach.http,
        false => child.reach.gateways["mqtt"],
    };
    if websocket {
        said = [UPGRADE, &framed(&mut dice, &said)].concat();
    }
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.set_nodelay(true).expect("a socket");
    let (mut read, mut write) = socket.split();
    let talk = async {
        let mut rest = &said[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + dice.below(rest.len()));
            if write.write_all(part).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
            rest = after;
        }
        drop(write.shutdown().await);
    };
    let listen = async {
        let mut space = [0; 4096];
        while read.read(&mut space).await.is_ok_and(|read| read > 0) {}
    };
    let both = async { tokio::join!(talk, listen) };
    within(&format!("the end of a connection (seed {seed})"), both).await;
}

/// A router of its own, to which nonsense may be said.
pub async fn begin() -> (Setup, Child) {
    let setup = Setup::open();
    let limits = "[limits]\nmessage = \"2s\"\nretained_messages = 100\n";
    let log = "[[log]]\nname = \"default\"\ntopics = [\"#\"]\nmax_bytes = \"1MiB\"\nmax_messages = 1000\n";
    setup.write_config(&format!("[mqtt]\nlisten = \"127.0.0.1:0\"\n{limits}{log}"));
    let child = setup.spawn().await;
    (setup, child)
}

/// So many connections from this seed on, some side by side.
pub async fn garble(child: &Child, from: u64, count: u64) {
    const ABREAST: u64 = 8;
    for group in 0..count.div_ceil(ABREAST) {
        let seeds = (0..ABREAST).map(|at| from.wrapping_add(group * ABREAST + at));
        futures_util::future::join_all(seeds.map(|seed| once(child, seed))).await;
    }
}

/// It stands as it stood before: nobody panicked, nothing is held, and it serves on.
pub async fn is_sound(child: &Child) {
    let log = child.log();
    assert!(!log.contains("panicked"), "{log}");
    let nothing = async || {
        let held = child.reach.metric("weir_unfinished_bytes").await;
        let connected = child.reach.admin("GET", "/v1/connections", "").await;
        let connected = connected.json["connections"].as_array().expect("a list").len();
        (held == 0.0 && connected == 0).then_some(())
    };
    eventually("nothing is held, and nobody connected", nothing).await;
    let mut socket = TcpStream::connect(child.reach.gateways["mqtt"]).await.expect("a connection");
    let good = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01g\x32\x06\x00\x01g\x00\x01x";
    socket.write_all(good).await.expect("it is written");
    let mut said = [0; 8];
    within("CONNACK and PUBACK", socket.read_exact(&mut said)).await.expect("both");
    assert_eq!(&said, b"\x20\x02\x00\x00\x40\x02\x00\x01");
}

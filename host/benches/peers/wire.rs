//! What clients of each server say: as little as its protocol allows.

use super::server::Kind;

/// Bytes of a payload.
pub const PAYLOAD: usize = 128;
/// Begins each payload; no protocol says it otherwise.
pub const MARK: &[u8] = b"^^";
/// After the mark: the number of the message, so many digits.
pub const DIGITS: usize = 12;

/// The path that a subscriber's connection asks for.
pub fn subscriber_path(kind: Kind, number: usize, topic: usize) -> String {
    match kind {
        Kind::Weir { .. } => format!("/v1/ws?client_id=s{number}"),
        Kind::Floor => format!("/sub/{topic}"),
        Kind::NatsWs => "/".into(),
        Kind::MosquittoWs => "/mqtt".into(),
    }
}

/// The path that a publisher's connection asks for.
pub fn publisher_path(kind: Kind, topic: usize) -> String {
    match kind {
        Kind::Weir { .. } => format!("/v1/ws?client_id=p{topic}"),
        Kind::Floor => format!("/pub/{topic}"),
        Kind::NatsWs => "/".into(),
        Kind::MosquittoWs => "/mqtt".into(),
    }
}

/// The subprotocol to ask for.
pub fn subprotocol(kind: Kind) -> Option<&'static str> {
    (kind == Kind::MosquittoWs).then_some("mqtt")
}

/// The frames that subscribe, and what the server's answer holds once it has.
pub fn subscribe(kind: Kind, number: usize, topic: usize) -> (Vec<u8>, &'static [u8]) {
    match kind {
        Kind::Weir { .. } => {
            let text = format!(r#"{{"action":"subscribe","id":1,"topic":"bench/{topic}"}}"#);
            (frame(1, text.as_bytes()), b"\"ok\":true")
        }
        Kind::Floor => (Vec::new(), b"subscribed"),
        Kind::NatsWs => {
            let text = format!(
                "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB bench.{topic} 1\r\nPING\r\n"
            );
            (frame(2, text.as_bytes()), b"PONG")
        }
        Kind::MosquittoWs => {
            let mut packets = connect(&format!("s{number}"));
            let filter = format!("bench/{topic}");
            packets.extend([0x82, 5 + filter.len() as u8, 0, 1, 0, filter.len() as u8]);
            packets.extend(filter.as_bytes());
            packets.push(0);
            (frame(2, &packets), b"\x90\x03\x00\x01\x00")
        }
    }
}

/// What a publisher says before it publishes, and what the answer holds.
pub fn greet(kind: Kind, topic: usize) -> Option<(Vec<u8>, &'static [u8])> {
    match kind {
        Kind::Weir { .. } | Kind::Floor => None,
        Kind::NatsWs => {
            let text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
            Some((frame(2, text.as_bytes()), b"PONG"))
        }
        Kind::MosquittoWs => Some((frame(2, &connect(&format!("p{topic}"))), b"\x20\x02\x00\x00")),
    }
}

/// A publish, and where in it the digits stand.
pub fn publish(kind: Kind, topic: usize) -> (Vec<u8>, usize) {
    let mut payload = MARK.to_vec();
    payload.resize(MARK.len() + DIGITS, b'0');
    payload.resize(PAYLOAD, b'.');
    let framed = match kind {
        Kind::Weir { .. } => {
            // As a JSON string it has two bytes more, its quotes.
            payload.truncate(PAYLOAD - 2);
            let payload = String::from_utf8(payload).expect("ASCII");
            let text = format!(r#"{{"action":"publish","topic":"bench/{topic}","data":"{payload}"}}"#);
            frame(1, text.as_bytes())
        }
        Kind::Floor => frame(2, &payload),
        Kind::NatsWs => {
            let mut line = format!("PUB bench.{topic} {PAYLOAD}\r\n").into_bytes();
            line.extend(payload);
            line.extend(b"\r\n");
            frame(2, &line)
        }
        Kind::MosquittoWs => {
            let topic = format!("bench/{topic}");
            let rest = 2 + topic.len() + PAYLOAD;
            let mut packet = vec![0x30, (rest % 128) as u8 | 0x80, (rest / 128) as u8, 0, topic.len() as u8];
            packet.extend(topic.as_bytes());
            packet.extend(payload);
            frame(2, &packet)
        }
    };
    let mark = framed.windows(MARK.len()).position(|window| window == MARK).expect("the mark");
    (framed, mark + MARK.len())
}

/// A client's frame, masked with zeros so that it can be filled in place.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    if payload.len() < 126 {
        frame.push(0x80 | payload.len() as u8);
    } else {
        frame.push(0x80 | 126);
        frame.extend((payload.len() as u16).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// CONNECT of MQTT 3.1.1 without keep-alive.
fn connect(client: &str) -> Vec<u8> {
    let mut packet = vec![0x10, 12 + client.len() as u8, 0, 4];
    packet.extend(b"MQTT\x04\x02\x00\x00\x00");
    packet.push(client.len() as u8);
    packet.extend(client.as_bytes());
    packet
}

//! What clients of each server say: as little as its protocol allows.

use super::mqtt;
use super::server::Kind;

/// Bytes of a payload, unless another size is asked for.
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
        Kind::WeirMqtt { .. } | Kind::Mosquitto { .. } | Kind::HttpFloor => String::new(),
    }
}

/// The path that a publisher's connection asks for.
pub fn publisher_path(kind: Kind, topic: usize) -> String {
    match kind {
        Kind::Weir { .. } => format!("/v1/ws?client_id=p{topic}"),
        Kind::Floor => format!("/pub/{topic}"),
        Kind::NatsWs => "/".into(),
        Kind::MosquittoWs => "/mqtt".into(),
        Kind::WeirMqtt { .. } | Kind::Mosquitto { .. } | Kind::HttpFloor => String::new(),
    }
}

/// The subprotocol to ask for.
pub fn subprotocol(kind: Kind) -> Option<&'static str> {
    (kind == Kind::MosquittoWs).then_some("mqtt")
}

/// Whether its connections are WebSockets. Else they are plain TCP.
pub fn over_websocket(kind: Kind) -> bool {
    !matches!(kind, Kind::WeirMqtt { .. } | Kind::Mosquitto { .. } | Kind::HttpFloor)
}

/// What subscribes, and what the server's answer holds once it has.
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
        Kind::MosquittoWs => (frame(2, &mqtt::subscribe(number, topic)), mqtt::SUBSCRIBED),
        Kind::WeirMqtt { .. } | Kind::Mosquitto { .. } => (mqtt::subscribe(number, topic), mqtt::SUBSCRIBED),
        Kind::HttpFloor => panic!("nobody subscribes over HTTP"),
    }
}

/// What a publisher says before it publishes, and what the answer holds.
pub fn greet(kind: Kind, topic: usize) -> Option<(Vec<u8>, &'static [u8])> {
    let client = format!("p{topic}");
    match kind {
        Kind::Weir { .. } | Kind::Floor | Kind::HttpFloor => None,
        Kind::NatsWs => {
            let text = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
            Some((frame(2, text.as_bytes()), b"PONG"))
        }
        Kind::MosquittoWs => Some((frame(2, &mqtt::connect(&client)), mqtt::CONNECTED)),
        Kind::WeirMqtt { .. } | Kind::Mosquitto { .. } => Some((mqtt::connect(&client), mqtt::CONNECTED)),
    }
}

/// A publish, to be filled in for each message.
pub struct Template {
    pub bytes: Vec<u8>,
    /// Where the digits stand.
    pub digits: usize,
    /// MQTT of QoS 1: the identifier of the packet is in the two bytes before the payload, and is acknowledged.
    pub packet_id: Option<usize>,
}

impl Template {
    /// Appends the message of this number.
    pub fn write(&self, number: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&self.bytes);
        let text = format!("{number:0width$}", width = DIGITS);
        into[start + self.digits..][..DIGITS].copy_from_slice(text.as_bytes());
        if let Some(at) = self.packet_id {
            into[start + at..][..2].copy_from_slice(&mqtt::packet_id(number).to_be_bytes());
        }
    }
}

/// A publish with a payload of so many bytes, 16 at least.
pub fn publish(kind: Kind, topic: usize, size: usize) -> Template {
    assert!(size >= MARK.len() + DIGITS + 2, "--payload N, at least {}", MARK.len() + DIGITS + 2);
    let mut payload = MARK.to_vec();
    payload.resize(MARK.len() + DIGITS, b'0');
    payload.resize(size, b'.');
    let mut qos = 0;
    let bytes = match kind {
        Kind::Weir { .. } => {
            // As a JSON string it has two bytes more, its quotes.
            payload.truncate(size - 2);
            let payload = String::from_utf8(payload).expect("ASCII");
            let text = format!(r#"{{"action":"publish","topic":"bench/{topic}","data":"{payload}"}}"#);
            frame(1, text.as_bytes())
        }
        Kind::Floor => frame(2, &payload),
        Kind::NatsWs => {
            let mut line = format!("PUB bench.{topic} {size}\r\n").into_bytes();
            line.extend(payload);
            line.extend(b"\r\n");
            frame(2, &line)
        }
        Kind::MosquittoWs => frame(2, &mqtt::publish(0, topic, &payload)),
        Kind::WeirMqtt { qos: wanted, .. } | Kind::Mosquitto { qos: wanted } => {
            qos = wanted;
            mqtt::publish(qos, topic, &payload)
        }
        Kind::HttpFloor => panic!("over HTTP there are requests"),
    };
    let mark = bytes.windows(MARK.len()).position(|window| window == MARK).expect("the mark");
    Template { bytes, digits: mark + MARK.len(), packet_id: (qos > 0).then(|| mark - 2) }
}

/// A client's frame, masked with zeros so that it can be filled in place.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Where the payload of what a server sends is, when it is whole: of a WebSocket frame or a packet of MQTT.
pub fn payload_of(kind: Kind, bytes: &[u8]) -> Option<(usize, usize)> {
    if !over_websocket(kind) {
        return mqtt::payload_of(bytes);
    }
    let (start, length) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= start + length).then_some((start, start + length))
}

/// The numbers of all messages in a payload, which may hold several or none.
pub fn numbers(payload: &[u8]) -> impl Iterator<Item = u64> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let found = memchr::memmem::find(rest, MARK)? + MARK.len();
        let digits = rest.get(found..found + DIGITS)?;
        rest = &rest[found + DIGITS..];
        Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    })
}

//! Packets of MQTT 3.1.1, as clients of brokers send and get them.

/// CONNACK: accepted, a new session.
pub const CONNECTED: &[u8] = b"\x20\x02\x00\x00";
/// SUBACK of packet 1: QoS 0.
pub const SUBSCRIBED: &[u8] = b"\x90\x03\x00\x01\x00";
/// Begins each PUBACK, before the packet's identifier.
pub const ACKNOWLEDGED: &[u8] = b"\x40\x02";

/// CONNECT without keep-alive.
pub fn connect(client: &str) -> Vec<u8> {
    let mut rest = b"\x00\x04MQTT\x04\x02\x00\x00".to_vec();
    text(client, &mut rest);
    packet(0x10, &rest)
}

/// CONNECT and SUBSCRIBE with QoS 0.
pub fn subscribe(number: usize, topic: usize) -> Vec<u8> {
    let mut rest = vec![0, 1];
    text(&format!("bench/{topic}"), &mut rest);
    rest.push(0);
    let mut packets = connect(&format!("s{number}"));
    packets.extend(packet(0x82, &rest));
    packets
}

/// PUBLISH. With QoS 1 the identifier of the packet is in the two bytes before the payload.
pub fn publish(qos: u8, topic: usize, payload: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    text(&format!("bench/{topic}"), &mut rest);
    if qos > 0 {
        rest.extend([0, 0]);
    }
    rest.extend(payload);
    packet(0x30 | qos << 1, &rest)
}

/// The identifier of a message's packet: never 0, and no two of those under way have the same.
pub fn packet_id(number: u64) -> u16 {
    (number % 60_000 + 1) as u16
}

/// Where the rest of a packet is behind its fixed header, when it is whole.
pub fn payload_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            return (bytes.len() >= at + length).then_some((at, at + length));
        }
    }
}

fn text(text: &str, into: &mut Vec<u8>) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}

fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = rest.len();
    while length >= 128 {
        packet.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    packet.push(length as u8);
    packet.extend(rest);
    packet
}

//! Where a packet ends, and what the first one of a connection must be: seen before anything is kept or decoded.

/// Bytes of a packet before the client is let in: CONNECT, its will included.
pub(super) const OPENING: usize = 64 * 1024;

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A packet of so many bytes.
    Whole(usize),
    /// A part of one.
    Part,
    /// A packet that is too large: not to be waited for.
    Wrong,
    /// No packet: its length has no end.
    Endless,
}

/// Looks at bytes of which `most` may be one packet.
pub(super) fn next(bytes: &[u8], most: usize) -> Next {
    let mut rest = 0_usize;
    for at in 1..=4 {
        let Some(&byte) = bytes.get(at) else { return Next::Part };
        rest |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            let whole = 1 + at + rest;
            return match whole {
                _ if whole > most => Next::Wrong,
                _ if whole > bytes.len() => Next::Part,
                _ => Next::Whole(whole),
            };
        }
    }
    Next::Endless
}

/// The first byte of CONNECT.
pub(super) const CONNECT: u8 = 0x10;

/// Why a CONNECT is not looked at any further: what is answered, in the words of the version that it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static [u8]);

/// MQTT 3.1.2.2, in version 3.1.1: the level is unacceptable.
const OLD: Refused = Refused(&[0x20, 2, 0, 1]);
/// MQTT 3.1.2.2, in version 5: the version is not supported.
const NEW: Refused = Refused(&[0x20, 3, 0, 0x84, 0]);
/// What breaks the protocol is not answered.
const SILENT: Refused = Refused(&[]);

/// Looks at a whole CONNECT as far as it is the same in all versions: name, level, and what flags there may be.
pub(super) fn check(connect: &[u8]) -> Result<(), Refused> {
    let length = connect.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let body = connect.get(1 + length..).unwrap_or_default();
    let (name, rest) = match body {
        [0, 4, b'M', b'Q', b'T', b'T', rest @ ..] => ("MQTT", rest),
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', rest @ ..] => ("MQIsdp", rest),
        _ => return Err(SILENT),
    };
    match (name, rest) {
        ("MQTT", [level @ (4 | 5), flags, ..]) if may_be(*level, *flags) => Ok(()),
        ("MQTT", [4 | 5, ..]) | (_, []) => Err(SILENT),
        ("MQTT", [6..=u8::MAX, ..]) => Err(NEW),
        _ => Err(OLD),
    }
}

/// The reserved flag, those of a will that is not there or has QoS 3, and in version 3.1.1 a password without a user.
fn may_be(level: u8, flags: u8) -> bool {
    let (will, will_qos) = (flags & 0x3c, flags & 0x18);
    let no_will = will & 0x04 == 0 && will != 0;
    let no_user = level == 4 && flags & 0xc0 == 0x40;
    flags & 1 == 0 && !no_will && will_qos != 0x18 && !no_user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_end_where_they_say() {
        for (bytes, found) in [
            (&b""[..], Next::Part),
            (b"\x10", Next::Part),
            (b"\xc0\x00", Next::Whole(2)),
            (b"\xc0\x00\xc0", Next::Whole(2)),
            (b"\x30\x03\x00\x01", Next::Part),
            (b"\x30\x03\x00\x01a", Next::Whole(5)),
            (b"\x30\x80", Next::Part),
            (b"\x30\x80\x80\x80\x80", Next::Endless),
            (b"\x30\xff\xff\xff\x7f", Next::Wrong),
            (b"\x30\x7f", Next::Wrong),
            (b"\x30\x62", Next::Part),
        ] {
            assert_eq!(next(bytes, 100), found, "{bytes:x?}");
        }
        let long = [&[0x30, 0x80, 0x01][..], &[0; 128]].concat();
        assert_eq!((next(&long, 131), next(&long, 130)), (Next::Whole(131), Next::Wrong));
        assert_eq!(next(&long[..130], 131), Next::Part);
    }

    #[test]
    fn only_what_is_spoken_here_is_looked_at() {
        for (connect, said) in [
            (&b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"[..], Ok(())),
            (b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a", Ok(())),
            (b"\x10\x8d\x00\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a", Ok(())),
            (b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01a", Err(SILENT)),
            (b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01a", Err(SILENT)),
            (b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01a", Err(OLD)),
            (b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a", Err(OLD)),
            (b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01a", Err(NEW)),
            (b"\x10\x0d\x00\x04HTTP\x04\x02\x00\x3c\x00\x01a", Err(SILENT)),
            (b"\x10\x06\x00\x04MQTT", Err(SILENT)),
            (b"\x10\x00", Err(SILENT)),
            (b"", Err(SILENT)),
        ] {
            assert_eq!(check(connect), said, "{connect:x?}");
        }
    }
}

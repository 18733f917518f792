//! Frames that we send: final, unmasked, never fragmented.

use bytes::Bytes;

/// Longest header of an unmasked frame.
const HEADER: usize = 10;
/// Longest reason in a close frame: a control frame holds 125 bytes, two of them the code.
const REASON: usize = 123;

const FINAL_TEXT: u8 = 0x81;
const FINAL_BINARY: u8 = 0x82;
const FINAL_CLOSE: u8 = 0x88;
const FINAL_PING: u8 = 0x89;

/// A text frame around what `write` appends, which must be UTF-8.
pub(crate) fn text(size_hint: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    // The header's length depends on the payload's: room for the longest is left, and cut off again.
    let mut frame = Vec::with_capacity(HEADER + size_hint);
    frame.extend_from_slice(&[0; HEADER]);
    write(&mut frame);
    let (header, used) = header(FINAL_TEXT, frame.len() - HEADER);
    let start = HEADER - used;
    for (slot, byte) in frame.iter_mut().skip(start).zip(header.iter().take(used)) {
        *slot = *byte;
    }
    Bytes::from(frame).slice(start..)
}

/// Adds a text frame around what `write` appends, which must be UTF-8.
pub(crate) fn append_text(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Most frames have a header of four bytes.
    const USUAL: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; USUAL]);
    write(out);
    let (header, used) = header(FINAL_TEXT, out.len() - start - USUAL);
    out.splice(start..start + USUAL, header.into_iter().take(used));
}

/// Where the frame ends that has been begun, of some that stand one behind the other: so many bytes are written.
pub(super) fn end(frames: &[u8], written: usize) -> usize {
    let mut end = 0;
    while end < written
        && let Some(rest) = frames.get(end..).filter(|rest| !rest.is_empty())
    {
        end += length(rest);
    }
    end
}

/// Bytes of the first frame, which is there as a whole.
fn length(frames: &[u8]) -> usize {
    let (extended, used) = match frames.get(1) {
        Some(127) => (frames.get(2..HEADER), HEADER),
        Some(126) => (frames.get(2..4), 4),
        short => return 2 + short.map_or(0, |length| usize::from(*length)),
    };
    let digits = extended.unwrap_or_default().iter();
    used + digits.fold(0, |length, digit| length << 8 | usize::from(*digit))
}

/// Adds a binary frame.
pub(super) fn binary(payload: &[u8], out: &mut Vec<u8>) {
    let (header, used) = header(FINAL_BINARY, payload.len());
    out.reserve(used + payload.len());
    out.extend(header.iter().take(used));
    out.extend_from_slice(payload);
}

/// A ping without a payload.
pub(super) fn ping() -> [u8; 2] {
    [FINAL_PING, 0]
}

/// What stands in a frame of ours, without the header.
pub(crate) fn content(frame: &[u8]) -> &[u8] {
    let used = match frame.get(1) {
        Some(127) => HEADER,
        Some(126) => 4,
        _ => 2,
    };
    frame.get(used..).unwrap_or_default()
}

/// A close frame. A reason that is too long is cut.
pub(crate) fn close(code: u16, reason: &str) -> Bytes {
    let reason = reason.get(..reason.floor_char_boundary(REASON)).unwrap_or_default();
    control(FINAL_CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// Whether it is a close frame.
pub(super) fn is_close(frame: &[u8]) -> bool {
    frame.first() == Some(&FINAL_CLOSE)
}

/// A close frame without a code, which answers one without a code.
pub(crate) fn bare_close() -> Bytes {
    control(FINAL_CLOSE, &[])
}

fn control(first: u8, payload: &[u8]) -> Bytes {
    let (header, used) = header(first, payload.len());
    let mut frame = Vec::with_capacity(used + payload.len());
    frame.extend(header.iter().take(used));
    frame.extend_from_slice(payload);
    frame.into()
}

/// The header's bytes, and how many of them are used.
fn header(first: u8, payload: usize) -> ([u8; HEADER], usize) {
    match (u8::try_from(payload), u16::try_from(payload)) {
        (Ok(short @ ..=125), _) => ([first, short, 0, 0, 0, 0, 0, 0, 0, 0], 2),
        (_, Ok(medium)) => {
            let [a, b] = medium.to_be_bytes();
            ([first, 126, a, b, 0, 0, 0, 0, 0, 0], 4)
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = u64::try_from(payload).unwrap_or(u64::MAX).to_be_bytes();
            ([first, 127, a, b, c, d, e, f, g, h], HEADER)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameSocket};

    fn parse(bytes: &Bytes) -> Frame {
        let mut socket = FrameSocket::new(Cursor::new(bytes.to_vec()));
        let frame = socket.read(None).unwrap().unwrap();
        let (_, rest) = socket.into_inner();
        assert!(rest.is_empty());
        frame
    }

    #[test]
    fn every_length_is_readable() {
        for length in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 70_000] {
            let bytes = text(0, |out| out.extend(std::iter::repeat_n(b'x', length)));
            let frame = parse(&bytes);
            assert_eq!(frame.payload().len(), length);
            assert_eq!(content(&bytes), frame.payload());
            assert!(frame.header().is_final && frame.header().mask.is_none());
            assert_eq!(u8::from(frame.header().opcode), 1);
        }
    }

    #[test]
    fn frames_behind_each_other_are_those_that_stand_alone() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 3];
        let (mut together, mut ends) = (Vec::new(), vec![0]);
        for length in lengths {
            let fill = |out: &mut Vec<u8>| out.extend(std::iter::repeat_n(b'x', length));
            let start = together.len();
            append_text(&mut together, fill);
            assert_eq!(together[start..], text(0, fill)[..]);
            ends.push(together.len());
        }
        for written in 0..together.len() {
            let expected = *ends.iter().find(|end| **end >= written).unwrap();
            assert_eq!(end(&together, written), expected);
        }
    }

    #[test]
    fn a_close_carries_code_and_reason() {
        let frame = parse(&close(1008, "slow reader"));
        assert_eq!(frame.payload(), b"\x03\xf0slow reader");
        let long = "ä".repeat(100);
        assert_eq!(parse(&close(1008, &long)).payload().len(), 2 + 122);
        assert!(parse(&bare_close()).payload().is_empty());
    }
}

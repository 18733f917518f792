//! Counting what tungstenite does not tell of: fragments and control frames, and how much it holds.
//!
//! Both cost the peer two to six bytes each and us a turn of the decoder, and neither is a message, so no
//! limit on messages holds them.

use std::time::{Duration, Instant};

/// Fragments of one message.
pub(super) const FRAGMENTS: u32 = 1_024;
/// Control frames in one [`WINDOW`]: 60 a second, far above any keep-alive.
pub(super) const CONTROLS: u32 = 600;
/// The span in which control frames are counted.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Walks along the frames of a peer's byte stream without keeping them.
#[derive(Debug)]
pub(super) struct Meter {
    /// Header bytes seen of the current frame.
    header: [u8; 14],
    have: usize,
    /// Bytes of the current frame's payload.
    length: u64,
    /// Those of them that are still to come.
    payload: u64,
    fragments: u32,
    /// Bytes of the message's fragments that are there as a whole.
    gathered: u64,
    /// Bytes of the longest of them: for as many the decoder has room until the message is there.
    longest: u64,
    controls: u32,
    since: Option<Instant>,
    verdict: Option<&'static str>,
}

impl Meter {
    pub(super) fn new() -> Self {
        let header = [0; 14];
        let (length, payload, gathered, longest) = (0, 0, 0, 0);
        let (fragments, controls, since, verdict) = (0, 0, None, None);
        Self { header, have: 0, length, payload, fragments, gathered, longest, controls, since, verdict }
    }

    /// What the peer overdid, if anything.
    pub(super) fn verdict(&self) -> Option<&'static str> {
        self.verdict
    }

    /// Whether the end of a frame or of a message is still to come.
    pub(super) fn is_within(&self) -> bool {
        self.have > 0 || self.payload > 0 || self.fragments > 0
    }

    /// Bytes that the decoder holds of a message whose end is still to come.
    pub(super) fn held(&self) -> u64 {
        self.gathered.saturating_add(self.longest.max(self.length - self.payload))
    }

    /// Takes note of bytes that arrived. False: the peer overdid it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let skipped = usize::try_from(self.payload).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.payload -= u64::try_from(skipped).unwrap_or(0);
                bytes = bytes.get(skipped..).unwrap_or_default();
                if self.payload == 0 {
                    self.end_frame();
                }
                continue;
            }
            if let Some(slot) = self.header.get_mut(self.have) {
                *slot = first;
            }
            self.have += 1;
            bytes = rest;
            if self.have >= self.header_length() {
                self.count();
                self.length = self.payload_length();
                self.payload = self.length;
                self.have = 0;
                if self.length == 0 {
                    self.end_frame();
                }
            }
        }
        self.verdict.is_none()
    }

    fn header_length(&self) -> usize {
        let [_, second, ..] = self.header;
        if self.have < 2 {
            return 2;
        }
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + if second & 0x80 == 0 { 0 } else { 4 }
    }

    fn payload_length(&self) -> u64 {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.header;
        match second & 0x7f {
            126 => u16::from_be_bytes([a, b]).into(),
            127 => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            short => short.into(),
        }
    }

    fn end_frame(&mut self) {
        let [first, ..] = self.header;
        if first & 0x0f >= 8 {
            // A control frame may come between two fragments.
        } else if first & 0x80 != 0 {
            (self.gathered, self.longest) = (0, 0);
        } else {
            self.gathered = self.gathered.saturating_add(self.length);
            self.longest = self.longest.max(self.length);
        }
        self.length = 0;
    }

    fn count(&mut self) {
        let [first, ..] = self.header;
        let is_final = first & 0x80 != 0;
        match first & 0x0f {
            8.. => self.count_control(),
            0 if is_final => self.fragments = 0,
            _ if is_final => {}
            _ => {
                self.fragments += 1;
                if self.fragments > FRAGMENTS {
                    self.verdict = Some("too many fragments in one message");
                }
            }
        }
    }

    fn count_control(&mut self) {
        // The clock is read only here: a connection without control frames never asks it.
        let now = Instant::now();
        if self.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            self.since = Some(now);
            self.controls = 0;
        }
        self.controls += 1;
        if self.controls > CONTROLS {
            self.verdict = Some("too many control frames");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            ..=125 => frame.push(0x80 | u8::try_from(payload).unwrap()),
            126..=65_535 => {
                frame.push(0xfe);
                frame.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend(u64::try_from(payload).unwrap().to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(std::iter::repeat_n(0x89, payload));
        frame
    }

    #[test]
    fn pings_are_counted() {
        let mut meter = Meter::new();
        for _ in 0..CONTROLS {
            assert!(meter.feed(&masked(0x89, 3)));
        }
        assert!(!meter.feed(&masked(0x89, 3)));
    }

    #[test]
    fn fragments_are_counted_by_message() {
        let mut meter = Meter::new();
        for _ in 0..3 {
            assert!(meter.feed(&masked(0x01, 1)));
            for _ in 1..FRAGMENTS {
                assert!(meter.feed(&masked(0x00, 0)));
            }
            assert!(meter.feed(&masked(0x80, 1)));
        }
        for _ in 0..FRAGMENTS {
            assert!(meter.feed(&masked(0x00, 0)));
        }
        assert!(!meter.feed(&masked(0x00, 0)));
    }

    #[test]
    fn what_the_decoder_holds_is_known() {
        let mut meter = Meter::new();
        let whole = masked(0x81, 70_000);
        let (most, last) = whole.split_at(whole.len() - 1);
        assert!(!meter.is_within() && meter.feed(&most[..1]) && meter.is_within());
        meter.feed(&most[1..]);
        assert_eq!(meter.held(), 69_999);
        meter.feed(last);
        assert!(meter.held() == 0 && !meter.is_within());
        // Fragments are put together beside the room that the longest of them took; a ping between them is not kept.
        for (frame, held) in [
            (masked(0x01, 500), 1_000),
            (masked(0x89, 100), 1_000),
            (masked(0x00, 300), 1_300),
            (masked(0x00, 0), 1_300),
        ] {
            meter.feed(&frame);
            assert!(meter.held() == held && meter.is_within(), "{} instead of {held}", meter.held());
        }
        let end = masked(0x80, 600);
        meter.feed(&end[..end.len() - 1]);
        assert_eq!(meter.held(), 800 + 599);
        meter.feed(&[0]);
        assert!(meter.held() == 0 && !meter.is_within());
    }

    proptest! {
        /// However the stream is cut, the same frames are seen; payloads full of ping headers count nothing.
        #[test]
        fn cuts_do_not_matter(lengths in proptest::collection::vec(0_usize..70_000, 1..4), cut in 1_usize..5_000) {
            let stream: Vec<u8> = lengths.iter().flat_map(|&length| masked(0x81, length)).chain(masked(0x89, 0)).collect();
            let mut meter = Meter::new();
            for part in stream.chunks(cut) {
                prop_assert!(meter.feed(part));
            }
            prop_assert_eq!((meter.controls, meter.have, meter.payload), (1, 0, 0));
        }

        #[test]
        fn garbage_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Meter::new().feed(&bytes);
        }
    }
}

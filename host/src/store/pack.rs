//! Packs: many messages in one database value, because a value of its own for each costs eight times as much.
//!
//! ```text
//! pack   = format u32 (1), length u32, checksum u64 (of everything after it),
//!          first offset u64, written u64 (Unix µs), count u32, topics-at u32, topics u32,
//!          record × count, topic × topics
//! record = topic u32 (position in topics), meta-length u32, payload-length u32, meta, payload
//! topic  = length u16, UTF-8
//! ```
//!
//! Numbers are little-endian. Record `i` has offset first + `i`. Each topic stands once, at the end: that is
//! smaller, and a reader with a filter asks it once per topic and skips a pack in which nothing matches.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::checksum::checksum;
use crate::message::Message;

/// A pack is closed before it grows over this, in bytes; a larger message gets one of its own, which is cut
/// into parts of this size. Measured with 200-byte messages: 16 KiB wrote as fast as 64 (1.1 to 1.4 million a
/// second of CPU), took a sixth less disk, and needs a smaller unit of growth (`database.rs`).
pub(super) const PACK_BYTES: usize = 16 * 1024;

const FORMAT: u32 = 1;
const HEADER: usize = 44;
/// Where the checksummed bytes begin.
const SUMMED: usize = 16;
const RECORD_HEADER: usize = 12;

/// Gathers messages into a pack.
#[derive(Debug)]
pub(super) struct PackBuilder {
    bytes: Vec<u8>,
    count: u32,
    first: u64,
    topics: HashMap<Arc<str>, u32>,
    order: Vec<Arc<str>>,
    topic_bytes: usize,
    last: u32,
}

impl PackBuilder {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(PACK_BYTES),
            count: 0,
            first: 0,
            topics: HashMap::new(),
            order: Vec::new(),
            topic_bytes: 0,
            last: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first offset pushed.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The offset after the last one pushed.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Whether the message may go into this pack: it continues its offsets, and there is room.
    pub(super) fn takes(&self, offset: u64, message: &Message) -> bool {
        let size = self.bytes.len() + self.topic_bytes + RECORD_HEADER + 2 + message.size();
        self.is_empty() || (self.next() == offset && size <= PACK_BYTES)
    }

    /// Adds a message. Lengths over 4 GiB cannot occur: ingress limits messages far below.
    pub(super) fn push(&mut self, offset: u64, message: &Message) {
        if self.is_empty() {
            self.first = offset;
            self.bytes.clear();
            self.bytes.resize(HEADER, 0);
        }
        let topic = self.topic(&message.topic);
        let mut header = [0; RECORD_HEADER];
        let lengths = [topic, narrow(message.meta.len()), narrow(message.payload.len())];
        for (place, number) in header.as_chunks_mut::<4>().0.iter_mut().zip(lengths) {
            *place = number.to_le_bytes();
        }
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(&message.meta);
        self.bytes.extend_from_slice(&message.payload);
        self.count += 1;
    }

    /// Position of a topic; most messages have that of the one before.
    fn topic(&mut self, topic: &Arc<str>) -> u32 {
        if self.order.get(self.last as usize).is_some_and(|last| **last == **topic) {
            return self.last;
        }
        self.last = match self.topics.get(&**topic) {
            Some(known) => *known,
            None => {
                let position = narrow(self.order.len());
                self.topics.insert(topic.clone(), position);
                self.order.push(topic.clone());
                self.topic_bytes += 2 + topic.len();
                position
            }
        };
        self.last
    }

    /// Hands the pack, whole, to `write` and begins a new one.
    pub(super) fn finish<R>(&mut self, written_us: u64, write: impl FnOnce(u64, &[u8]) -> R) -> R {
        let topics_at = self.bytes.len();
        for topic in &self.order {
            let bytes = topic.len().to_le_bytes();
            self.bytes.extend(bytes.iter().take(2));
            self.bytes.extend_from_slice(topic.as_bytes());
        }
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&self.first.to_le_bytes());
        header.extend_from_slice(&written_us.to_le_bytes());
        for number in [self.count as usize, topics_at, self.order.len()] {
            header.extend_from_slice(&narrow(number).to_le_bytes());
        }
        place(&mut self.bytes, SUMMED, &header);
        let sum = self.bytes.get(SUMMED..).map_or(0, checksum);
        let mut start = FORMAT.to_le_bytes().to_vec();
        start.extend_from_slice(&narrow(self.bytes.len()).to_le_bytes());
        start.extend_from_slice(&sum.to_le_bytes());
        place(&mut self.bytes, 0, &start);
        let result = write(self.first, &self.bytes);
        self.count = 0;
        self.topics.clear();
        self.order.clear();
        self.topic_bytes = 0;
        self.last = 0;
        self.bytes.clear();
        self.bytes.shrink_to(2 * PACK_BYTES);
        result
    }
}

/// Lengths over 4 GiB cannot occur, see [`PackBuilder::push`]; if one did, the pack would not parse.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Writes `source` over `bytes` from `at`.
fn place(bytes: &mut [u8], at: usize, source: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(source) {
        *to = *from;
    }
}

/// Length of a pack in bytes, all parts together, as its first part tells.
pub(super) fn whole_length(first_part: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(first_part, 4)?).ok()
}

/// A pack that was read back, its checksum and shape verified.
#[derive(Debug)]
pub(super) struct Pack {
    bytes: Bytes,
    /// Offset of the first record.
    pub(super) first: u64,
    /// Number of records.
    pub(super) count: u32,
    topics: Vec<Bytes>,
}

/// One record of a pack.
#[derive(Debug)]
pub(super) struct Record {
    /// Position of its topic.
    pub(super) topic: usize,
    pub(super) meta: Bytes,
    pub(super) payload: Bytes,
}

impl Pack {
    /// Verifies checksum and header. The error says what is wrong, in words.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, &'static str> {
        let header = |at| u32_at(&bytes, at).ok_or("the pack is shorter than its header");
        let (count, whole, topics_at, topics) = (header(32)?, header(4)?, header(36)?, header(40)?);
        if header(0)? != FORMAT {
            return Err("the pack's format is unknown");
        }
        if whole as usize != bytes.len() {
            return Err("the pack is not as long as its header says");
        }
        let sum = u64_at(&bytes, 8).ok_or("the pack is shorter than its header")?;
        if bytes.get(SUMMED..).map(checksum) != Some(sum) {
            return Err("the pack's checksum is wrong");
        }
        let first = u64_at(&bytes, 16).ok_or("the pack is shorter than its header")?;
        let topics = parse_topics(&bytes, topics_at as usize, topics)?;
        let records = bytes.slice(HEADER.min(topics_at as usize)..topics_at as usize);
        Ok(Self { bytes: records, first, count, topics })
    }

    /// The offset after the last record.
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.count)
    }

    /// Its topics, each once, in the order of their positions.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|topic| std::str::from_utf8(topic).unwrap_or_default())
    }

    /// Its records with their offsets, in order. They share the pack's memory.
    pub(super) fn records(&self) -> impl Iterator<Item = Result<(u64, Record), &'static str>> {
        let mut rest = self.bytes.clone();
        (0..u64::from(self.count)).map(move |i| {
            let header = (u32_at(&rest, 0), u32_at(&rest, 4), u32_at(&rest, 8));
            let (Some(topic), Some(meta), Some(payload)) = header else {
                return Err("a record is shorter than its header");
            };
            let (meta, payload) = (meta as usize, payload as usize);
            if rest.len() < RECORD_HEADER + meta + payload {
                return Err("a record is shorter than its header says");
            }
            let mut record = rest.split_to(RECORD_HEADER + meta + payload).split_off(RECORD_HEADER);
            let payload = record.split_off(meta);
            Ok((self.first + i, Record { topic: topic as usize, meta: record, payload }))
        })
    }
}

fn parse_topics(bytes: &Bytes, at: usize, count: u32) -> Result<Vec<Bytes>, &'static str> {
    const SHORT: &str = "the pack's topics are cut off";
    if at > bytes.len() {
        return Err(SHORT);
    }
    let mut rest = bytes.slice(at..);
    let mut topics = Vec::new();
    for _ in 0..count {
        let (length, _) = rest.split_first_chunk::<2>().ok_or(SHORT)?;
        let end = 2 + usize::from(u16::from_le_bytes(*length));
        if rest.len() < end {
            return Err(SHORT);
        }
        let topic = rest.split_to(end).slice(2..);
        if std::str::from_utf8(&topic).is_err() {
            return Err("a topic of the pack is not UTF-8");
        }
        topics.push(topic);
    }
    Ok(topics)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(topic: &str, meta: &[u8], payload: &[u8]) -> Message {
        Message {
            topic: topic.into(),
            meta: Bytes::copy_from_slice(meta),
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn packed(first: u64, messages: &[Message]) -> Vec<u8> {
        let mut builder = PackBuilder::new();
        for (i, message) in messages.iter().enumerate() {
            builder.push(first + i as u64, message);
        }
        builder.finish(7, |_, bytes| bytes.to_vec())
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(
            first in 0u64..1 << 60,
            parts in prop::collection::vec(("[a-c/]{1,9}", prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..300)), 1..60),
        ) {
            let messages: Vec<_> = parts.iter().map(|(t, m, p)| message(t, m, p)).collect();
            let pack = Pack::parse(packed(first, &messages).into()).unwrap();
            prop_assert_eq!((pack.first, pack.next()), (first, first + messages.len() as u64));
            let topics: Vec<_> = pack.topics().map(String::from).collect();
            for (i, record) in pack.records().enumerate() {
                let (offset, record) = record.unwrap();
                prop_assert_eq!(offset, first + i as u64);
                prop_assert_eq!(topics[record.topic].as_str(), &*messages[i].topic);
                prop_assert_eq!(&record.meta, &messages[i].meta);
                prop_assert_eq!(&record.payload, &messages[i].payload);
            }
            prop_assert_eq!(pack.records().count(), messages.len());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pack::parse(bytes.into());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = packed(3, &[message("a/b", b"meta", b"payload"), message("a/c", b"", b"x")]);
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x10;
            assert!(Pack::parse(torn.into()).is_err(), "byte {at}");
            assert!(Pack::parse(bytes[..at].to_vec().into()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_pack_is_bounded_and_a_gap_ends_it() {
        let mut builder = PackBuilder::new();
        let big = message("t", &[1; 10], &[2; PACK_BYTES * 3]);
        assert!(builder.takes(5, &big), "alone, whatever its size");
        builder.push(5, &message("t", b"m", b"p"));
        assert!(!builder.takes(6, &big));
        assert!(builder.takes(6, &message("t", b"m", b"p")));
        assert!(!builder.takes(7, &message("t", b"m", b"p")));
    }
}

//! What is stored, byte by byte.
//!
//! ```text
//! width u32, topic, 0, start u64             → fields: a bucket; the width in seconds, the start in Unix µs
//! 0 u32, topic, 0, time u64, message id 16 B → fields: a point as it came
//! ```
//!
//! Numbers in keys are big-endian, so that keys sort by width, topic, time; a topic has no NUL. Fields are, each
//! after the other and in order of names, `name length u16, name`, and `count u64, min f64, max f64, sum f64`
//! in a bucket, `value f64` in a point, little-endian.

use std::collections::BTreeMap;
use weir_plugin::{Message, Time};

/// Width that stands for points as they came.
pub(crate) const RAW: u32 = 0;

/// Longest topic, in bytes: the key of a point takes 29 more, and may have 512.
pub(crate) const MAX_TOPIC: usize = 480;

/// Most fields of one bucket: what differs from message to message must not make it grow without end.
pub(crate) const MAX_BUCKET_FIELDS: usize = 128;

/// All keys of a width whose topic begins so.
pub(crate) fn topics(width: u32, prefix: &str) -> Vec<u8> {
    [&width.to_be_bytes(), prefix.as_bytes()].concat()
}

/// Where the keys of a topic begin that are not before `time`.
pub(crate) fn place(width: u32, topic: &str, time: Time) -> Vec<u8> {
    [topics(width, topic).as_slice(), &[0], &time.micros().to_be_bytes()].concat()
}

/// Behind all keys of a topic.
pub(crate) fn after_topic(width: u32, topic: &str) -> Vec<u8> {
    [topics(width, topic).as_slice(), &[1]].concat()
}

/// The key of a point.
pub(crate) fn raw(message: &Message, time: Time) -> Vec<u8> {
    [place(RAW, message.topic(), time).as_slice(), message.id().bytes()].concat()
}

/// Topic and time of a key. None: it is none of ours.
pub(crate) fn parse(key: &[u8]) -> Option<(&str, Time)> {
    let (_, rest) = key.split_at_checked(4)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (topic, rest) = rest.split_at_checked(end)?;
    let (time, _) = rest.get(1..)?.split_first_chunk::<8>()?;
    Some((std::str::from_utf8(topic).ok()?, Time::from_micros(u64::from_be_bytes(*time))))
}

/// What is known of a field in a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
}

impl Aggregate {
    fn of(value: f64) -> Self {
        Self { count: 1, min: value, max: value, sum: value }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value;
    }
}

/// A field's part of a value.
pub(crate) trait Part: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &[u8]) -> Option<(Self, &[u8])>;
}

impl Part for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(from: &[u8]) -> Option<(Self, &[u8])> {
        let (value, rest) = from.split_first_chunk::<8>()?;
        Some((Self::from_le_bytes(*value), rest))
    }
}

impl Part for Aggregate {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        [self.min, self.max, self.sum].iter().for_each(|value| value.write(out));
    }

    fn read(from: &[u8]) -> Option<(Self, &[u8])> {
        let (count, rest) = from.split_first_chunk::<8>()?;
        let (min, rest) = f64::read(rest)?;
        let (max, rest) = f64::read(rest)?;
        let (sum, rest) = f64::read(rest)?;
        Some((Self { count: u64::from_le_bytes(*count), min, max, sum }, rest))
    }
}

/// Fields as a value.
pub(crate) fn encode<'a, P: Part + 'a>(fields: impl IntoIterator<Item = (&'a String, &'a P)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, part) in fields {
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        part.write(&mut out);
    }
    out
}

/// The fields of a value. None: it is none of ours.
pub(crate) fn decode<P: Part>(mut from: &[u8]) -> Option<Vec<(String, P)>> {
    let mut fields = Vec::new();
    while !from.is_empty() {
        let (length, rest) = from.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (part, rest) = P::read(rest)?;
        fields.push((std::str::from_utf8(name).ok()?.to_owned(), part));
        from = rest;
    }
    Some(fields)
}

/// A bucket being filled.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filling(BTreeMap<String, Aggregate>);

impl Filling {
    /// None: it is no bucket.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        Some(Self(decode(value)?.into_iter().collect()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// Adds a point's fields; how many there was no room for.
    pub(crate) fn add(&mut self, fields: &[(String, f64)]) -> usize {
        let mut left_out = 0;
        for (name, value) in fields {
            if let Some(known) = self.0.get_mut(name) {
                known.add(*value);
            } else if self.0.len() < MAX_BUCKET_FIELDS {
                self.0.insert(name.clone(), Aggregate::of(*value));
            } else {
                left_out += 1;
            }
        }
        left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::testing;

    #[test]
    fn keys_sort_by_width_topic_and_time() {
        let at = |width, topic: &str, us| place(width, topic, Time::from_micros(us));
        assert!(at(60, "b", u64::MAX) < at(3_600, "a", 0));
        assert!(at(60, "a", u64::MAX) < after_topic(60, "a") && after_topic(60, "a") < at(60, "a/b", 0));
        assert!(at(60, "a", 255) < at(60, "a", 256));
        assert_eq!(parse(&at(60, "a/b", 7)), Some(("a/b", Time::from_micros(7))));
        let message = testing::message(&"t".repeat(MAX_TOPIC), "1").build();
        let key = raw(&message, message.received());
        assert!(key.len() <= 512, "{}", key.len());
        assert_eq!(parse(&key), Some((message.topic(), message.received())));
        for wrong in
            [&b""[..], b"\0\0\0", b"\0\0\0\0topic", b"\0\0\0\0topic\0short", b"\0\0\0\0\xff\x0012345678"]
        {
            assert_eq!(parse(wrong), None);
        }
    }

    #[test]
    fn values_come_back_only_whole() {
        let mut bucket = Filling::default();
        assert_eq!(bucket.add(&[(String::new(), 1.5), ("/a".to_owned(), -2.0)]), 0);
        assert_eq!(bucket.add(&[("/a".to_owned(), 4.0)]), 0);
        let value = bucket.encode();
        assert_eq!(Filling::decode(&value), Some(bucket));
        let fields: Vec<(String, Aggregate)> = decode(&value).unwrap();
        assert_eq!(fields[1].1, Aggregate { count: 2, min: -2.0, max: 4.0, sum: 2.0 });
        assert_eq!(decode::<Aggregate>(&value[..value.len() - 1]), None);
        assert_eq!(decode::<f64>(&[9, 0, b'x']), None);
    }

    #[test]
    fn a_bucket_does_not_grow_without_end() {
        let mut bucket = Filling::default();
        let fields: Vec<_> = (0..200).map(|n| (format!("/{n}"), 1.0)).collect();
        assert_eq!(bucket.add(&fields), 72);
        assert_eq!(bucket.add(&fields[..128]), 0, "those that are there go on");
        let longest: Vec<_> = (0..MAX_BUCKET_FIELDS).map(|n| (format!("{n:0128}"), 1.0)).collect();
        let mut bucket = Filling::default();
        bucket.add(&longest);
        assert!(bucket.encode().len() < 24 * 1024, "one part in the store");
    }
}

//! Rows, byte by byte. What they are ordered by comes first; numbers in it are big-endian, times have their sign turned, so that
//! bytes sort as they do.
//!
//! ```text
//! measurement: time i64 µs, 0 or (1, revision u32)                     → (name length u8, name, value f64)*
//! log:         time i64 µs, received u64 µs, offset u64, index u32     → severity u8, 0 or (1, revision u32), message
//! ```
//!
//! Acknowledgments have keys of their own: `"a", topic, revision u64 → time i64 µs, success u8`. Values are little-endian.

use std::collections::BTreeMap;

use weir_plugin::{Key, Time};
use weir_tenta_messages::{Acknowledgment, Log, Severity, Timestamp};

/// Most attributes of one row: as an item of an answer, with the longest names, they take less than 64 KiB.
pub(crate) const MAX_ATTRIBUTES: usize = 512;

const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Error];

/// Sorts as times do.
pub(crate) fn time_order(time: Timestamp) -> [u8; 8] {
    (time.micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// The time at which an order begins.
pub(crate) fn time_of(order: &[u8]) -> Option<Timestamp> {
    let (time, _) = order.split_first_chunk::<8>()?;
    Some(Timestamp::from_micros((u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed()))
}

pub(crate) fn measurement_order(time: Timestamp, revision: Option<u32>) -> Vec<u8> {
    let mut order = time_order(time).to_vec();
    put_revision(&mut order, revision.map(u32::to_be_bytes));
    order
}

/// The time, and the revision, if it is a measurement's order.
pub(crate) fn measured(order: &[u8]) -> Option<(Timestamp, Option<u32>)> {
    let (revision, _) = take_revision(order.get(8..)?)?;
    Some((time_of(order)?, revision.map(u32::from_be_bytes)))
}

pub(crate) fn log_order(time: Timestamp, (received, offset, index): (Time, u64, u32)) -> Vec<u8> {
    let mut order = time_order(time).to_vec();
    order.extend_from_slice(&received.micros().to_be_bytes());
    order.extend_from_slice(&offset.to_be_bytes());
    order.extend_from_slice(&index.to_be_bytes());
    order
}

/// When the router took a log's line.
pub(crate) fn received(order: &[u8]) -> Option<Time> {
    let (received, _) = order.get(8..)?.split_first_chunk::<8>()?;
    Some(Time::from_micros(u64::from_be_bytes(*received)))
}

fn put_revision(out: &mut Vec<u8>, revision: Option<[u8; 4]>) {
    out.push(revision.is_some().into());
    out.extend(revision.into_iter().flatten());
}

fn take_revision(from: &[u8]) -> Option<(Option<[u8; 4]>, &[u8])> {
    match from.split_first()? {
        (0, rest) => Some((None, rest)),
        (_, rest) => rest.split_first_chunk::<4>().map(|(revision, rest)| (Some(*revision), rest)),
    }
}

/// The numbers of a measurement.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Values(pub(crate) BTreeMap<String, f64>);

impl Values {
    /// Later numbers take the place of earlier ones; how many there was no room for.
    pub(crate) fn merge(&mut self, others: &BTreeMap<String, f64>) -> usize {
        let mut left_out = 0;
        for (name, value) in others {
            if let Some(known) = self.0.get_mut(name) {
                *known = *value;
            } else if self.0.len() < MAX_ATTRIBUTES {
                self.0.insert(name.clone(), *value);
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.0 {
            put_name(&mut out, name);
            out.extend_from_slice(&value.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(mut from: &[u8]) -> Option<Self> {
        let mut all = BTreeMap::new();
        while !from.is_empty() {
            let (name, rest) = take_name(from)?;
            let (value, rest) = rest.split_first_chunk::<8>()?;
            all.insert(name.to_owned(), f64::from_le_bytes(*value));
            from = rest;
        }
        Some(Self(all))
    }
}

/// Names have 64 bytes at most.
pub(crate) fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
}

pub(crate) fn take_name(from: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = from.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

pub(crate) fn encode_log(log: &Log) -> Vec<u8> {
    let severity = SEVERITIES.iter().position(|known| *known == log.severity).unwrap_or_default();
    let mut out = vec![u8::try_from(severity).unwrap_or_default()];
    put_revision(&mut out, log.revision.map(u32::to_le_bytes));
    out.extend_from_slice(log.message.as_bytes());
    out
}

/// Severity, revision and message.
pub(crate) fn decode_log(from: &[u8]) -> Option<(Severity, Option<u32>, &str)> {
    let (severity, rest) = from.split_first()?;
    let (revision, message) = take_revision(rest)?;
    let severity = *SEVERITIES.get(usize::from(*severity))?;
    Some((severity, revision.map(u32::from_le_bytes), std::str::from_utf8(message).ok()?))
}

/// Where acknowledgments of a topic lie.
pub(crate) fn acknowledgments(topic: &str) -> Key {
    Key::new("a").text(topic)
}

pub(crate) fn acknowledgment_key(topic: &str, revision: u32) -> Key {
    acknowledgments(topic).number(revision.into())
}

pub(crate) fn encode_acknowledgment(said: &Acknowledgment) -> Vec<u8> {
    let mut out = said.time.micros().to_le_bytes().to_vec();
    out.push(said.success.into());
    out
}

/// Revision, time and success of a pair.
pub(crate) fn decode_acknowledgment(key: &[u8], value: &[u8]) -> Option<(u64, Timestamp, bool)> {
    let (_, revision) = key.split_last_chunk::<8>()?;
    let (time, success) = value.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*revision), Timestamp::from_micros(i64::from_le_bytes(*time)), success == [1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_sort_as_times_do_the_negative_ones_too() {
        let at = Timestamp::from_micros;
        let times = [i64::MIN, -1_000_001, -1, 0, 1, 255, 256, i64::MAX];
        let orders = times.map(|us| measurement_order(at(us), Some(7)));
        assert!(orders.is_sorted());
        assert!(
            times
                .map(|us| measurement_order(at(us), None))
                .iter()
                .zip(&orders)
                .all(|(none, some)| none < some)
        );
        assert_eq!(measured(&orders[1]), Some((at(-1_000_001), Some(7))));
        assert_eq!(measured(&measurement_order(at(5), None)), Some((at(5), None)));
        let log =
            |us, received, offset, index| log_order(at(us), (Time::from_micros(received), offset, index));
        assert!(
            [log(1, 9, 9, 9), log(2, 1, 9, 9), log(2, 2, 1, 9), log(2, 2, 2, 1), log(2, 2, 2, 2)].is_sorted()
        );
        assert_eq!(received(&log(1, 7, 8, 9)), Some(Time::from_micros(7)));
    }

    #[test]
    fn rows_come_back_only_whole() {
        let mut values = Values::default();
        assert_eq!(values.merge(&[("a".to_owned(), -0.5), ("b".to_owned(), f64::INFINITY)].into()), 0);
        assert_eq!(values.merge(&[("a".to_owned(), 1.5)].into()), 0);
        let row = values.encode();
        assert_eq!(Values::decode(&row), Some(values));
        assert_eq!(Values::decode(&row[..row.len() - 1]), None);
        let log = Log {
            message: "é".into(),
            severity: Severity::Error,
            time: Timestamp::from_micros(1),
            revision: Some(3),
        };
        assert_eq!(decode_log(&encode_log(&log)), Some((Severity::Error, Some(3), "é")));
        let log = Log { message: String::new(), severity: Severity::Info, revision: None, ..log };
        assert_eq!(decode_log(&encode_log(&log)), Some((Severity::Info, None, "")));
        assert!(
            [&b""[..], b"\x03\0a", b"\x01", b"\x01\x01abc"].iter().all(|wrong| decode_log(wrong).is_none())
        );
    }

    #[test]
    fn a_row_does_not_grow_without_end() {
        let many = |from: usize| (from..from + 600).map(|n| (format!("{n:064}"), 1.0)).collect();
        let mut values = Values::default();
        assert_eq!(values.merge(&many(0)), 88);
        assert_eq!(values.merge(&many(600)), 600);
        assert!(values.encode().len() < 64 * 1024);
    }
}

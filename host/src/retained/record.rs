//! What is written of a retained message and of a mark.
//!
//! ```text
//! topic → format 1 u8, epoch u64, offset u64, length of the log's name u16, the name, length of the
//!         metadata u16, the metadata, the payload; without a log the name is empty
//! ```
//!
//! All numbers are little-endian. Beside them stand the logs' marks (`store/mark.rs`): no topic has a NUL, so the keys cannot meet. When a message expires is the
//! pair's own expiry.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::{Message, Place};

/// The format of a record.
const FORMAT: u8 = 1;
/// Where epoch and offset stand in a record.
const PLACE: std::ops::Range<usize> = 1..17;
/// The most that a length can say: metadata and names of logs are shorter.
const LENGTH: usize = u16::MAX as usize;

/// A record of a message in this log, whose place is not known yet.
pub(super) fn draft(message: &Message, log: &str) -> Vec<u8> {
    let mut record =
        Vec::with_capacity(PLACE.end + 4 + log.len() + message.meta.len() + message.payload.len());
    record.push(FORMAT);
    record.extend_from_slice(&[0; 16]);
    for part in [log.as_bytes(), &message.meta] {
        let length = part.len().min(LENGTH);
        record.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
        record.extend_from_slice(part.get(..length).unwrap_or_default());
    }
    record.extend_from_slice(&message.payload);
    record
}

/// The record with its place, if it has one.
pub(super) fn placed(mut draft: Vec<u8>, place: Option<&Place>) -> Bytes {
    if let (Some(place), Some(slot)) = (place, draft.get_mut(PLACE)) {
        slot.copy_from_slice(&pair(place.epoch, place.offset));
    }
    draft.into()
}

/// What [`placed`] wrote; none when it is something else.
pub(super) fn read(topic: &str, record: Vec<u8>) -> Option<(Message, Option<Place>)> {
    let record = Bytes::from(record);
    let (format, rest) = record.split_first()?;
    let (place, rest) = rest.split_first_chunk::<16>()?;
    let (log, rest) = part(rest)?;
    let (meta, payload) = part(rest)?;
    let log = std::str::from_utf8(log).ok()?;
    if *format != FORMAT || weir_contract::topic::check(topic).is_err() {
        return None;
    }
    let (epoch, offset) = read_pair(place)?;
    let place = (!log.is_empty()).then(|| Place { log: log.into(), epoch, offset });
    let (meta, payload) = (record.slice_ref(meta), record.slice_ref(payload));
    Some((Message { topic: Arc::from(topic), meta, payload }, place))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_le_bytes(*length).into())
}

fn read_pair(bytes: &[u8]) -> Option<(u64, u64)> {
    let (epoch, offset) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*epoch), u64::from_le_bytes(offset.try_into().ok()?)))
}

fn pair(epoch: u64, offset: u64) -> [u8; 16] {
    (u128::from(epoch) | u128::from(offset) << 64).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            topic: "a/ü".into(),
            meta: Bytes::from_static(&[1, 2]),
            payload: Bytes::from_static(b"x\0y"),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let place = Place { log: "default".into(), epoch: 7, offset: u64::MAX };
        for place in [Some(place), None] {
            let log = place.as_ref().map_or("", |place| &place.log);
            let record = placed(draft(&message(), log), place.as_ref()).to_vec();
            let (found, at) = read("a/ü", record.clone()).unwrap();
            assert_eq!(
                (found.topic, found.meta, found.payload),
                (message().topic, message().meta, message().payload)
            );
            assert_eq!(at, place);
            assert!(read("a/+", record.clone()).is_none());
            for length in 0..23 {
                assert!(read("a", record[..length].to_vec()).is_none(), "{length}");
            }
        }
    }
}

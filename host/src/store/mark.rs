//! Marks: up to where a space of state knows a log.
//!
//! State is written behind the log, so after a crash a log may know more than a space that is made of its messages, never
//! less. Whoever has such a space writes a mark in the submit in which its message is, and at the start reads the log from
//! the mark on.
//!
//! ```text
//! NUL, the log's name → epoch u64, next offset u64, little-endian
//! ```

use bytes::Bytes;

use super::log::Log;
use super::queue::{Queue, StateValue};

/// The key of a log's mark. Other keys of the space must not begin with NUL.
pub fn mark_key(log: &str) -> Vec<u8> {
    [b"\0", log.as_bytes()].concat()
}

/// The log whose mark has this key; none: it is no mark.
pub fn marked_log(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(b"\0")
}

/// The mark of all that is in the log or waits in the queue, and the offset that comes next.
pub fn mark_here(queue: &Queue, log: &Log) -> (StateValue, u64) {
    let (epoch, next) = (queue.epoch(log.index()), queue.next_offset(log.index()));
    let bytes = Bytes::from([epoch.to_le_bytes(), next.to_le_bytes()].concat());
    (StateValue { bytes, expires_us: None }, next)
}

/// The first offset of the log that is behind this mark; none if that is no mark.
pub fn behind_mark(log: &Log, mark: &[u8]) -> Option<u64> {
    let (epoch, next) = mark.split_first_chunk::<8>()?;
    let (epoch, next) = (u64::from_le_bytes(*epoch), u64::from_le_bytes(next.try_into().ok()?));
    // A mark in another log of this name, lost since, says nothing of this one.
    let first = log.life(epoch).map_or(0, |life| next.min(life.end));
    Some(first.max(log.oldest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_mark_names_its_log() {
        assert_eq!(marked_log(&mark_key("default")), Some(&b"default"[..]));
        assert_eq!(marked_log(b"default"), None);
    }
}

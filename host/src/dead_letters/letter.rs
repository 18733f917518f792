//! What a dead letter says, and how it stands in the store.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::message::{Message, now_us};

/// Why a letter is dead.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct About<'a> {
    /// `auth`, `filter`, `transform`, `storage`, `outbox`, `webhook` or `gap`; empty only in letters of old.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stage: &'a str,
    /// The binding or webhook.
    pub plugin: &'a str,
    /// The plugin's version; empty where none took part.
    pub version: &'a str,
    /// SHA-256 of the plugin's component, 64 hexadecimal digits; empty where none took part.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub digest: &'a str,
    /// In words.
    pub reason: &'a str,
    /// Where a post was to go.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub url: &'a str,
    /// A post's idempotency key.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub key: &'a str,
    /// What a requeue needs beside the message, as its stage writes it. Never shown: a post's headers may hold
    /// passwords.
    #[serde(skip)]
    pub again: &'a [u8],
}

/// [`About`], read back: each key says what it says there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "they are those of `About`")]
pub struct Why {
    pub stage: String,
    pub plugin: String,
    pub version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    pub reason: String,
    pub url: String,
    pub key: String,
}

/// A dead letter, as it is kept.
#[derive(Clone, Debug)]
pub struct Letter {
    /// By which operators name it.
    pub id: Ulid,
    /// When it was set aside, Unix microseconds.
    pub time_us: u64,
    /// Why.
    pub about: Why,
    /// What was set aside; of a gap there is only a topic, `$gap`.
    pub message: Message,
    /// As in [`About`]; none in letters of old.
    pub again: Option<Bytes>,
}

/// Bytes of a key: 8 of microseconds, so that the oldest comes first, then 16 of a ULID.
const KEY: usize = 24;

pub(super) fn new_key() -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY);
    key.extend_from_slice(&now_us().to_be_bytes());
    key.extend_from_slice(&u128::from(Ulid::generate()).to_be_bytes());
    key
}

/// The letter's id, and when it was set aside.
pub(super) fn parse_key(key: &[u8]) -> Option<(Ulid, u64)> {
    let (time, id) = key.split_first_chunk::<8>()?;
    Some((Ulid::from(u128::from_be_bytes(id.try_into().ok()?)), u64::from_be_bytes(*time)))
}

/// Five parts, each with its length before it (u32, little-endian): topic, metadata, payload, [`About`] as JSON, and its
/// `again`, which letters of old do not have.
pub(super) fn encode(message: &Message, about: &About<'_>) -> Bytes {
    let json = serde_json::to_string(about).unwrap_or_default();
    let mut blob = Vec::with_capacity(message.size() + json.len() + about.again.len() + 20);
    for part in [message.topic.as_bytes(), &message.meta, &message.payload, json.as_bytes(), about.again] {
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        blob.extend_from_slice(part);
    }
    blob.into()
}

/// None: it is damaged.
pub(super) fn decode(key: &[u8], blob: &[u8]) -> Option<Letter> {
    let (id, time_us) = parse_key(key)?;
    let mut rest = blob;
    let mut part = || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (part, tail) = tail.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rest = tail;
        Some(part)
    };
    let (topic, meta, payload, about) = (part()?, part()?, part()?, part()?);
    let again = part().map(Bytes::copy_from_slice);
    if again.is_none() && !rest.is_empty() {
        return None;
    }
    let topic = Arc::from(std::str::from_utf8(topic).ok()?);
    let message =
        Message { topic, meta: Bytes::copy_from_slice(meta), payload: Bytes::copy_from_slice(payload) };
    Some(Letter { id, time_us, about: serde_json::from_slice(about).ok()?, message, again })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_comes_back_and_what_was_cut_does_not() {
        let message = Message {
            topic: "a/b".into(),
            meta: Bytes::from_static(&[1, 2]),
            payload: Bytes::from_static(b"x"),
        };
        let digest = "d".repeat(64);
        let about =
            About { plugin: "p", reason: "\"why\"", digest: &digest, again: b"again", ..About::default() };
        let (key, blob) = (new_key(), encode(&message, &about));
        let letter = decode(&key, &blob).unwrap();
        assert_eq!(
            (&*letter.about.reason, &*letter.about.plugin, &*letter.message.topic),
            ("\"why\"", "p", "a/b")
        );
        assert_eq!((&letter.message.meta, &letter.message.payload), (&message.meta, &message.payload));
        assert!(letter.time_us <= now_us() && letter.time_us > 0);
        assert_eq!((&*letter.about.digest, letter.again.as_deref()), (&*digest, Some(&b"again"[..])));
        let old = blob.len() - 4 - about.again.len();
        for length in (0..blob.len()).filter(|length| *length != old) {
            assert!(decode(&key, &blob[..length]).is_none(), "{length}");
        }
        // As it was written before there was a fifth part.
        let letter = decode(&key, &blob[..old]).unwrap();
        assert_eq!((&*letter.about.plugin, letter.again), ("p", None));
        assert!(decode(&key[1..], &blob).is_none());
    }
}

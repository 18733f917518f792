//! Messages that a failing plugin could not handle, set aside with the reason: bounded, oldest first out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::message::{Message, now_us};
use crate::metrics::Counter;
use crate::store::{StateValue, Store, StoreError, SubmitError};

/// The space in the store.
const SPACE: &str = "$dead-letters";
/// Letters kept.
const LETTERS: usize = 10_000;
/// Their bytes kept: 64 MiB.
const BYTES: usize = 64 * 1024 * 1024;

/// The dead letters.
pub struct DeadLetters {
    store: Store,
    space: Arc<str>,
    counter: Counter,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    letters: VecDeque<(Vec<u8>, usize)>,
    bytes: usize,
}

impl DeadLetters {
    /// Those that the store has kept, and room for more.
    pub fn open(store: Store, counter: Counter) -> Result<Self, StoreError> {
        let mut kept = Kept::default();
        for pair in store.load_space(SPACE)? {
            kept.bytes += pair.value.len();
            kept.letters.push_back((pair.key, pair.value.len()));
        }
        Ok(Self { store, space: SPACE.into(), counter, kept: Mutex::new(kept) })
    }

    /// Sets a message aside. Never waits: on a full or broken store the letter is lost, and that is logged.
    pub fn keep(&self, message: &Message, plugin: &str, version: &str, reason: &str) {
        self.counter.inc();
        let key = letter_key();
        let value = encode(message, plugin, version, reason);
        let mut kept = self.kept.lock();
        kept.bytes += value.len();
        kept.letters.push_back((key.clone(), value.len()));
        let mut evicted = Vec::new();
        while kept.letters.len() > LETTERS || kept.bytes > BYTES {
            let Some((old, size)) = kept.letters.pop_front() else { break };
            kept.bytes -= size;
            evicted.push(old);
        }
        let submitted = self.store.writer().submit(|queue| {
            queue.state(&self.space, key, Some(StateValue { bytes: value, expires_us: None }));
            for old in evicted {
                queue.state(&self.space, old, None);
            }
        });
        if let Err(error) = submitted {
            lost(&error, plugin);
        }
    }

    /// How many are kept, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.letters.len(), kept.bytes)
    }
}

fn lost(error: &SubmitError, plugin: &str) {
    tracing::error!(plugin, %error, "dead letter lost: the store does not take it");
}

/// Time first, so that the oldest comes first: 8 bytes of microseconds, then 16 of a ULID.
fn letter_key() -> Vec<u8> {
    let mut key = now_us().to_be_bytes().to_vec();
    key.extend_from_slice(&u128::from(ulid::Ulid::generate()).to_be_bytes());
    key
}

/// Four parts, each with its length before it (u32, little-endian): topic, metadata, payload, and JSON
/// `{"plugin":…,"version":…,"reason":…}`.
fn encode(message: &Message, plugin: &str, version: &str, reason: &str) -> Bytes {
    let about = serde_json::json!({ "plugin": plugin, "version": version, "reason": reason }).to_string();
    let mut blob = Vec::with_capacity(message.size() + about.len() + 16);
    for part in [message.topic.as_bytes(), &message.meta, &message.payload, about.as_bytes()] {
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        blob.extend_from_slice(part);
    }
    blob.into()
}

//! Messages that a failing plugin could not handle, set aside with the reason: bounded, oldest first out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::message::{Message, now_us};
use crate::metrics::{ConsumerMetrics, Counter};
use crate::store::{Cursor, Log, Queue, ReadPage, StateValue, Store, StoreError, SubmitError};

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

/// Why a letter is dead.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct About<'a> {
    /// `outbox`, `webhook` or `gap`; empty where a plugin was called.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub stage: &'a str,
    /// The binding or webhook.
    pub plugin: &'a str,
    /// The plugin's version; empty where none took part.
    pub version: &'a str,
    /// In words.
    pub reason: &'a str,
    /// Where a post was to go.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub url: &'a str,
    /// A post's idempotency key.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub key: &'a str,
}

/// A durable reader of a log, where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Its name in metrics.
    pub consumer: &'a str,
    /// What it counts.
    pub metrics: &'a ConsumerMetrics,
    /// The log.
    pub log: &'a Log,
    /// Where it had come.
    pub cursor: Option<Cursor>,
}

/// Why a letter is not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// The store did not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The store took it and lost it.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        let about = About { plugin, version, reason, ..About::default() };
        if let Err(error) = self.submit(encode(message, &about), |_| {}) {
            tracing::error!(plugin, %error, "dead letter lost: the store does not take it");
        }
    }

    /// The same, and returns when it is on the disk. Blocks. Err: it is not kept, so keep what it stands for.
    pub fn keep_durably(&self, message: &Message, about: &About<'_>) -> Result<(), NotKept> {
        let (done, wait) = sync_channel(1);
        self.submit(encode(message, about), |queue| {
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })?;
        wait.recv().map_err(|_| SubmitError::Closed)??;
        self.counter.inc();
        Ok(())
    }

    /// Tells of what a consumer will never see of a log, of which it has read `page` from offset `from` on: an error
    /// line, a count, and a dead letter without payload for each gap. As [`Self::keep_durably`].
    pub fn keep_gaps(&self, reader: &Reader<'_>, from: u64, page: &ReadPage) -> Result<(), NotKept> {
        let Reader { consumer, metrics, log, cursor } = *reader;
        let mut gaps = Vec::new();
        if let Some(cursor) = cursor.filter(|cursor| cursor.next > from) {
            let next = cursor.next;
            gaps.push((
                0,
                format!("log {} was lost and begun anew: it had been read up to {next}", log.name()),
            ));
        }
        let ranges = page.missed.iter().map(|range| ("retention took", range));
        for (who, range) in ranges.chain(page.damaged.iter().map(|range| ("damage took", range))) {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            let what = format!("{who} offsets {first} to {last} of log {} before they were read", log.name());
            gaps.push((range.end.saturating_sub(first), what));
        }
        for (lost, what) in gaps {
            tracing::error!(consumer, lost, "{what}");
            let gap = Message { topic: "$gap".into(), meta: Bytes::new(), payload: Bytes::new() };
            let about = About { stage: "gap", plugin: consumer, reason: &what, ..About::default() };
            self.keep_durably(&gap, &about)?;
            metrics.missed.inc_by(lost);
        }
        Ok(())
    }

    fn submit(&self, value: Bytes, also: impl FnOnce(&mut Queue)) -> Result<(), SubmitError> {
        let key = letter_key();
        let mut kept = self.kept.lock();
        let (mut letters, mut bytes) = (kept.letters.len() + 1, kept.bytes + value.len());
        let too_many = kept.letters.iter().take_while(|(_, size)| {
            let over = letters > LETTERS || bytes > BYTES;
            (letters, bytes) = (letters - 1, bytes.saturating_sub(*size));
            over
        });
        let evicted: Vec<_> = too_many.cloned().collect();
        let size = value.len();
        self.store.writer().submit(|queue| {
            queue.state(&self.space, key.clone(), Some(StateValue { bytes: value, expires_us: None }));
            for (old, _) in &evicted {
                queue.state(&self.space, old.clone(), None);
            }
            also(queue);
        })?;
        kept.letters.drain(..evicted.len());
        kept.bytes -= evicted.iter().map(|(_, size)| size).sum::<usize>();
        kept.bytes += size;
        kept.letters.push_back((key, size));
        Ok(())
    }

    /// How many are kept, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.letters.len(), kept.bytes)
    }
}

/// Time first, so that the oldest comes first: 8 bytes of microseconds, then 16 of a ULID.
fn letter_key() -> Vec<u8> {
    let mut key = now_us().to_be_bytes().to_vec();
    key.extend_from_slice(&u128::from(ulid::Ulid::generate()).to_be_bytes());
    key
}

/// Four parts, each with its length before it (u32, little-endian): topic, metadata, payload, and [`About`] as JSON.
fn encode(message: &Message, about: &About<'_>) -> Bytes {
    let about = serde_json::to_string(about).unwrap_or_default();
    let mut blob = Vec::with_capacity(message.size() + about.len() + 16);
    for part in [message.topic.as_bytes(), &message.meta, &message.payload, about.as_bytes()] {
        blob.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        blob.extend_from_slice(part);
    }
    blob.into()
}

//! Messages that a failing plugin could not handle, set aside with the reason: bounded, oldest first out.

mod letter;

pub use letter::{About, Letter, Why};

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use parking_lot::Mutex;
use ulid::Ulid;

use crate::config;
use crate::message::Message;
use crate::metrics::{ConsumerMetrics, DeadLetterMetrics};
use crate::store::{Cursor, Log, Queue, ReadPage, StateValue, Store, StoreError, SubmitError};

/// The space in the store.
const SPACE: &str = "$dead-letters";
/// The dead letters.
pub struct DeadLetters {
    store: Store,
    space: Arc<str>,
    most: config::DeadLetters,
    metrics: DeadLetterMetrics,
    kept: Mutex<Kept>,
    claimed: Mutex<HashSet<Ulid>>,
}

/// While it lives, nobody else requeues the letter.
pub struct Claim {
    letters: Arc<DeadLetters>,
    id: Ulid,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.letters.claimed.lock().remove(&self.id);
    }
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
    pub fn open(
        store: Store,
        most: config::DeadLetters,
        metrics: DeadLetterMetrics,
    ) -> Result<Self, StoreError> {
        let mut kept = Kept::default();
        for pair in store.load_space(SPACE)? {
            kept.bytes += pair.value.len();
            kept.letters.push_back((pair.key, pair.value.len()));
        }
        let (kept, claimed) = (Mutex::new(kept), Mutex::default());
        Ok(Self { store, space: SPACE.into(), most, metrics, kept, claimed })
    }

    /// Sets a message aside. Never waits: on a full or broken store the letter is lost, and that is logged.
    pub fn keep(&self, message: &Message, about: &About<'_>) {
        let plugin = about.plugin.to_owned();
        self.keep_and_then(message, about, move |kept| {
            if let Err(error) = kept {
                tracing::error!(plugin, %error, "dead letter lost: the store does not take it");
            }
        });
    }

    /// The same, and tells when it is on the disk, or why it is not: once, on this thread or the writer's.
    pub fn keep_and_then(
        &self,
        message: &Message,
        about: &About<'_>,
        then: impl FnOnce(Result<(), NotKept>) + Send + 'static,
    ) {
        let then = Arc::new(Mutex::new(Some(then)));
        let told = Arc::clone(&then);
        let submitted = self.submit(letter::encode(message, about), |queue| {
            queue.on_durable(Box::new(move |result| {
                let then = told.lock().take();
                if let Some(then) = then {
                    then(result.map_err(NotKept::from));
                }
            }));
        });
        match submitted {
            Ok(()) => drop(self.metrics.kept.inc()),
            Err(error) => {
                let then = then.lock().take();
                if let Some(then) = then {
                    then(Err(error.into()));
                }
            }
        }
    }

    /// The same, and returns when it is on the disk. Blocks. Err: it is not kept, so keep what it stands for.
    pub fn keep_durably(&self, message: &Message, about: &About<'_>) -> Result<(), NotKept> {
        let (done, wait) = sync_channel(1);
        self.submit(letter::encode(message, about), |queue| {
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })?;
        wait.recv().map_err(|_| SubmitError::Closed)??;
        self.metrics.kept.inc();
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
        let key = letter::new_key();
        let mut kept = self.kept.lock();
        let (mut letters, mut bytes) = (kept.letters.len() + 1, kept.bytes + value.len());
        let too_many = kept.letters.iter().take_while(|(_, size)| {
            let over = letters > self.most.max_letters || bytes > self.most.max_bytes;
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
        self.metrics.evicted.inc_by(evicted.len() as u64);
        kept.bytes -= evicted.iter().map(|(_, size)| size).sum::<usize>();
        kept.bytes += size;
        kept.letters.push_back((key, size));
        Ok(())
    }

    /// Lets one requeue have a letter. None: another one has it.
    pub fn claim(self: &Arc<Self>, id: Ulid) -> Option<Claim> {
        self.claimed.lock().insert(id).then(|| Claim { letters: Arc::clone(self), id })
    }

    /// Whether the letter is there still.
    pub fn has(&self, id: Ulid) -> bool {
        let is_it = |key: &[u8]| letter::parse_key(key).is_some_and(|(known, _)| known == id);
        self.kept.lock().letters.iter().any(|(key, _)| is_it(key))
    }

    /// The letters that are on the disk, oldest first: all of them at once. Blocks.
    pub fn letters(&self) -> Result<Vec<Letter>, StoreError> {
        let pairs = self.store.load_space(SPACE)?;
        let letters: Vec<_> =
            pairs.iter().filter_map(|pair| letter::decode(&pair.key, &pair.value)).collect();
        if letters.len() < pairs.len() {
            tracing::warn!(
                damaged = pairs.len() - letters.len(),
                "dead letters that cannot be read are left out"
            );
        }
        Ok(letters)
    }

    /// Deletes letters; none: all. Returns how many there were, when they are off the disk. Blocks.
    pub fn purge(&self, ids: Option<&[Ulid]>) -> Result<usize, NotKept> {
        let named = |key: &[u8]| {
            ids.is_none_or(|ids| letter::parse_key(key).is_some_and(|(id, _)| ids.contains(&id)))
        };
        let (done, wait) = sync_channel(1);
        let mut kept = self.kept.lock();
        let gone: Vec<_> = kept.letters.iter().filter(|(key, _)| named(key)).cloned().collect();
        self.store.writer().submit(|queue| {
            for (key, _) in &gone {
                queue.state(&self.space, key.clone(), None);
            }
            queue.on_durable(Box::new(move |result| drop(done.send(result))));
        })?;
        kept.bytes -= gone.iter().map(|(_, size)| size).sum::<usize>();
        kept.letters.retain(|(key, _)| !named(key));
        drop(kept);
        wait.recv().map_err(|_| SubmitError::Closed)??;
        Ok(gone.len())
    }

    /// How many are kept, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let kept = self.kept.lock();
        (kept.letters.len(), kept.bytes)
    }
}

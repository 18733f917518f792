//! The outbox in the key space of a storage plugin: posts that wait, in order of their numbers, each in parts
//! (see `keys.rs`), and how often each has failed.

use std::collections::HashMap;

use super::error::StoreError;
use super::keys::{self, INLINE_BYTES};
use super::space::StorageSpace;

/// Bytes before the post in its part 0.
const HEAD: usize = 4;

/// A post that waits, as far as it is read without looking at all of it.
#[derive(Debug)]
pub struct WaitingPost<'a> {
    /// Its place in the queue.
    pub number: u64,
    /// Its length.
    pub bytes: usize,
    /// How often sending it has failed.
    pub attempts: u64,
    /// Its beginning, 24 KiB at most.
    pub beginning: &'a [u8],
}

/// Adds to `batch` what puts a post into the queue.
pub(super) fn put(batch: &mut sled::Batch, number: u64, bytes: &[u8]) -> sled::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| too_long())?;
    let (first, rest) = bytes.split_at(bytes.len().min(INLINE_BYTES));
    batch.insert(keys::post(number, 0), [&length.to_le_bytes(), first].concat());
    for (part, bytes) in (1_u32..).zip(rest.chunks(INLINE_BYTES)) {
        batch.insert(keys::post(number, u16::try_from(part).map_err(|_| too_long())?), bytes);
    }
    Ok(())
}

fn too_long() -> sled::Error {
    sled::Error::Unsupported("a post of more than 1 GiB".into())
}

impl StorageSpace {
    /// Looks at every post that waits, oldest first.
    pub fn posts<R>(&self, mut look: impl FnMut(WaitingPost<'_>) -> R) -> Result<Vec<R>, StoreError> {
        self.database.tree(&self.tree, |tree| {
            let mut failed = HashMap::new();
            for entry in tree.range(vec![keys::ATTEMPTS]..vec![keys::ATTEMPTS + 1]) {
                let (key, value) = entry?;
                if let (Some(number), Some([count])) =
                    (keys::parse_numbered(&key), keys::parse_numbers::<1>(&value))
                {
                    failed.insert(number, count);
                }
            }
            let mut found = Vec::new();
            for entry in tree.range(vec![keys::POST]..vec![keys::POST + 1]) {
                let (key, value) = entry?;
                let Some((number, 0)) = keys::parse_post(&key) else { continue };
                let Some((bytes, beginning)) = head(&value) else { continue };
                let attempts = failed.get(&number).copied().unwrap_or(0);
                found.push(look(WaitingPost { number, bytes, attempts, beginning }));
            }
            Ok(found)
        })
    }

    /// The whole post of this number; none when it does not wait.
    pub fn post(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.tree(&self.tree, |tree| {
            let mut whole = Vec::new();
            for entry in tree.range(keys::post(number, 0)..=keys::post(number, u16::MAX)) {
                let (key, value) = entry?;
                match keys::parse_post(&key) {
                    Some((_, 0)) => whole.extend_from_slice(value.get(HEAD..).unwrap_or_default()),
                    _ => whole.extend_from_slice(&value),
                }
            }
            Ok((!whole.is_empty()).then_some(whole))
        })
    }

    /// Takes a post out of the queue, on the disk within a second; it is fine if it does not wait.
    pub fn remove_post(&self, number: u64) -> Result<(), StoreError> {
        self.database.tree(&self.tree, |tree| {
            let mut batch = sled::Batch::default();
            for key in tree.range(keys::post(number, 0)..=keys::post(number, u16::MAX)).keys() {
                batch.remove(key?);
            }
            batch.remove(keys::numbered(keys::ATTEMPTS, number));
            tree.apply_batch(batch)
        })?;
        self.database.note_write();
        Ok(())
    }

    /// Remembers how often sending a post has failed, on the disk within a second.
    pub fn set_attempts(&self, number: u64, attempts: u64) -> Result<(), StoreError> {
        let key = keys::numbered(keys::ATTEMPTS, number);
        self.database.tree(&self.tree, |tree| tree.insert(key, keys::numbers(&[attempts])))?;
        self.database.note_write();
        Ok(())
    }

    /// Whether both are the same key space of the same store.
    pub fn is_same(&self, other: &Self) -> bool {
        self.tree == other.tree
    }
}

/// The length of a post and its beginning, from its part 0.
fn head(value: &[u8]) -> Option<(usize, &[u8])> {
    let (length, beginning) = value.split_first_chunk::<HEAD>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, beginning))
}

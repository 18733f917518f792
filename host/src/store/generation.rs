//! Generations of a storage plugin's key space: the live one, and one that is being built to take its place.
//!
//! Which one is live is one record, so that a crash at any moment leaves either all of the old one or all of
//! the new one. What is neither live nor being built is dead, and is deleted bit by bit: deleting it at once would
//! hold up a start or a plugin for as long as it is large.

use super::error::StoreError;
use super::keys;
use super::space::StorageSpace;

/// The number of a generation of a storage plugin's key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// The live one of a space.
    pub(super) fn live(tree: &sled::Tree) -> sled::Result<Self> {
        let Some(stored) = tree.get(keys::LIVE)? else { return Ok(Self(0)) };
        match keys::parse_numbers(&stored) {
            Some([number]) => Ok(Self(number)),
            None => Err(sled::Error::Corruption { at: None, bt: () }),
        }
    }

    /// What stands before each of its keys.
    pub(super) fn prefix(self) -> Vec<u8> {
        if self.0 == 0 { Vec::new() } else { keys::numbered(keys::GENERATION, self.0) }
    }

    /// The highest one of which there is a key.
    fn highest(tree: &sled::Tree) -> sled::Result<Self> {
        let last = tree.range([keys::GENERATION]..[keys::GENERATION + 1]).next_back().transpose()?;
        Ok(last.and_then(|(key, _)| Self::of_key(&key)).unwrap_or(Self(0)))
    }

    fn of_key(key: &[u8]) -> Option<Self> {
        keys::parse_numbered(key.get(..9)?).map(Self)
    }
}

impl StorageSpace {
    /// Which generation this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The generation that is live now.
    pub fn live(&self) -> Result<Self, StoreError> {
        let generation = self.database.tree(&self.tree, Generation::live)?;
        Ok(Self { generation, ..self.clone() })
    }

    /// An empty generation, with a number above all that have a key. It is dead after the next start, unless it goes
    /// live.
    pub fn next_generation(&self) -> Result<Self, StoreError> {
        let number = self.database.tree(&self.tree, |tree| {
            let (live, highest) = (Generation::live(tree)?, Generation::highest(tree)?);
            Ok(live.0.max(highest.0) + 1)
        })?;
        Ok(Self { generation: Generation(number), ..self.clone() })
    }

    /// Makes this generation the live one: on the disk when it returns, with all that was committed to it.
    pub fn go_live(&self) -> Result<(), StoreError> {
        self.database.sync()?;
        let live = keys::numbers(&[self.generation.0]);
        self.database.tree(&self.tree, |tree| tree.insert(keys::LIVE, live))?;
        self.database.sync()
    }

    /// Deletes up to `most` keys of generations that are neither live nor `building`. False: there were none.
    pub fn clear_dead(&self, building: Option<Generation>, most: usize) -> Result<bool, StoreError> {
        let found = self.database.tree(&self.tree, |tree| {
            let live = Generation::live(tree)?;
            let mut batch = sled::Batch::default();
            let mut found = 0;
            if live.0 != 0 {
                for prefix in [keys::PAIR, keys::PART, keys::EXPIRY, keys::CURSOR] {
                    found += remove(&mut batch, tree.range([prefix]..[prefix + 1]), most - found)?;
                }
            }
            let mut from = Generation(1).prefix();
            while found < most {
                let next = tree.range(from..vec![keys::GENERATION + 1]).next().transpose()?;
                let Some(number) = next.and_then(|(key, _)| Generation::of_key(&key)) else { break };
                let end = keys::numbered(keys::GENERATION, number.0.saturating_add(1));
                if number != live && Some(number) != building {
                    found += remove(&mut batch, tree.range(number.prefix()..end.clone()), most - found)?;
                }
                from = end;
            }
            tree.apply_batch(batch)?;
            Ok(found)
        })?;
        if found > 0 {
            self.database.note_write();
        }
        Ok(found > 0)
    }
}

fn remove(batch: &mut sled::Batch, range: sled::Iter, most: usize) -> sled::Result<usize> {
    let mut found = 0;
    for key in range.keys().take(most) {
        batch.remove(key?);
        found += 1;
    }
    Ok(found)
}

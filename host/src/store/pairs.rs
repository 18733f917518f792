//! Key-value pairs in a tree, values of any length: long ones in parts. The encoding stands in `keys.rs`. Where
//! in the tree they lie is said by what stands before each of their keys, which is empty for plugin state.

use bytes::Bytes;

use super::keys::{self, INLINE_BYTES};

/// A pair that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// 1 to 512 bytes.
    pub key: Vec<u8>,
    /// At most 256 KiB by contract; the store itself takes up to 2 GiB.
    pub value: Vec<u8>,
    /// When it is gone, Unix microseconds; none = never.
    pub expires_us: Option<u64>,
}

/// Longest value, in bytes: parts are counted in 16 bits.
pub(super) const MOST_BYTES: usize = INLINE_BYTES * 60_000;

/// Bytes before the value in a pair's first part.
const HEAD: usize = 10;

/// The head of a stored pair.
struct Head {
    expires_us: u64,
    parts: u16,
}

fn head(stored: &[u8]) -> Option<Head> {
    let (expires, rest) = stored.split_first_chunk::<8>()?;
    let (parts, _) = rest.split_first_chunk::<2>()?;
    Some(Head { expires_us: u64::from_le_bytes(*expires), parts: u16::from_le_bytes(*parts) })
}

fn damaged() -> sled::Error {
    sled::Error::Corruption { at: None, bt: () }
}

/// The part of a tree in which the pairs lie.
#[derive(Clone, Copy)]
pub(super) struct Area<'a> {
    pub(super) tree: &'a sled::Tree,
    /// Stands before each key.
    pub(super) prefix: &'a [u8],
}

impl<'a> Area<'a> {
    /// A tree that has nothing else.
    pub(super) fn whole(tree: &'a sled::Tree) -> Self {
        Self { tree, prefix: &[] }
    }

    /// A key of the encoding as it stands in the tree.
    pub(super) fn key(&self, key: Vec<u8>) -> Vec<u8> {
        if self.prefix.is_empty() { key } else { [self.prefix, key.as_slice()].concat() }
    }

    fn get(&self, key: Vec<u8>) -> sled::Result<Option<sled::IVec>> {
        self.tree.get(self.key(key))
    }
}

/// Adds to `batch` what removes the pair of `key`, if there is one. Gives whether there was.
pub(super) fn remove(area: Area<'_>, batch: &mut sled::Batch, key: &[u8]) -> sled::Result<bool> {
    let Some(stored) = area.get(keys::prefixed(keys::PAIR, key))? else { return Ok(false) };
    let head = head(&stored).ok_or_else(damaged)?;
    batch.remove(area.key(keys::prefixed(keys::PAIR, key)));
    for part in 1..=head.parts {
        batch.remove(area.key(keys::part(key, part)));
    }
    if head.expires_us != 0 {
        batch.remove(area.key(keys::expiry(head.expires_us, key)));
    }
    Ok(true)
}

/// Adds to `batch` what creates or replaces a pair.
pub(super) fn put(
    area: Area<'_>,
    batch: &mut sled::Batch,
    key: &[u8],
    value: &[u8],
    expires_us: Option<u64>,
) -> sled::Result<()> {
    // Takes away the further parts and the expiry of the value before. Within one batch the later operation
    // on the same key holds.
    remove(area, batch, key)?;
    let (first, rest) = value.split_at(value.len().min(INLINE_BYTES));
    let parts = u16::try_from(rest.len().div_ceil(INLINE_BYTES)).map_err(|_| too_long())?;
    let expires = expires_us.unwrap_or(0);
    let mut stored = Vec::with_capacity(HEAD + first.len());
    stored.extend_from_slice(&expires.to_le_bytes());
    stored.extend_from_slice(&parts.to_le_bytes());
    stored.extend_from_slice(first);
    batch.insert(area.key(keys::prefixed(keys::PAIR, key)), stored);
    for (part, bytes) in (1..).zip(rest.chunks(INLINE_BYTES)) {
        batch.insert(area.key(keys::part(key, part)), bytes);
    }
    if expires != 0 {
        batch.insert(area.key(keys::expiry(expires, key)), Bytes::new().as_ref());
    }
    Ok(())
}

fn too_long() -> sled::Error {
    sled::Error::Unsupported(format!("a value of more than {MOST_BYTES} bytes"))
}

/// Puts a pair together from what is stored under `PAIR key`; none when it has expired.
pub(super) fn decode(area: Area<'_>, key: &[u8], stored: &[u8], now_us: u64) -> sled::Result<Option<Pair>> {
    let head = head(stored).ok_or_else(damaged)?;
    if head.expires_us != 0 && head.expires_us <= now_us {
        return Ok(None);
    }
    let mut value = stored.get(HEAD..).unwrap_or_default().to_vec();
    for part in 1..=head.parts {
        value.extend_from_slice(&area.get(keys::part(key, part))?.ok_or_else(damaged)?);
    }
    let expires_us = (head.expires_us != 0).then_some(head.expires_us);
    Ok(Some(Pair { key: key.to_vec(), value, expires_us }))
}

/// Reads one pair.
pub(super) fn get(area: Area<'_>, key: &[u8], now_us: u64) -> sled::Result<Option<Pair>> {
    match area.get(keys::prefixed(keys::PAIR, key))? {
        Some(stored) => decode(area, key, &stored, now_us),
        None => Ok(None),
    }
}

/// Adds to `batch` the removal of up to `most` pairs that have expired.
pub(super) fn sweep(area: Area<'_>, batch: &mut sled::Batch, now_us: u64, most: usize) -> sled::Result<()> {
    let start = area.key(vec![keys::EXPIRY]);
    let end = area.key(keys::numbered(keys::EXPIRY, now_us.saturating_add(1)));
    for entry in area.tree.range(start..end).keys().take(most) {
        let whole = entry?;
        let expiry = whole.get(area.prefix.len()..).unwrap_or_default();
        let (at, key) = keys::parse_expiry(expiry).ok_or_else(damaged)?;
        batch.remove(whole.as_ref());
        let stored = area.get(keys::prefixed(keys::PAIR, key))?;
        // A later put may have given the pair another life.
        if stored.is_some_and(|stored| head(&stored).is_some_and(|head| head.expires_us == at)) {
            remove(area, batch, key)?;
        }
    }
    Ok(())
}

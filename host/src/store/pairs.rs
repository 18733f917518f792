//! Key-value pairs in a tree, values of any length: long ones in parts. The encoding stands in `keys.rs`.

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

/// Adds to `batch` what removes the pair of `key`, if there is one. Gives whether there was.
pub(super) fn remove(tree: &sled::Tree, batch: &mut sled::Batch, key: &[u8]) -> sled::Result<bool> {
    let Some(stored) = tree.get(keys::prefixed(keys::PAIR, key))? else { return Ok(false) };
    let head = head(&stored).ok_or_else(damaged)?;
    batch.remove(keys::prefixed(keys::PAIR, key));
    for part in 1..=head.parts {
        batch.remove(keys::part(key, part));
    }
    if head.expires_us != 0 {
        batch.remove(keys::expiry(head.expires_us, key));
    }
    Ok(true)
}

/// Adds to `batch` what creates or replaces a pair.
pub(super) fn put(
    tree: &sled::Tree,
    batch: &mut sled::Batch,
    key: &[u8],
    value: &[u8],
    expires_us: Option<u64>,
) -> sled::Result<()> {
    // Takes away the further parts and the expiry of the value before. Within one batch the later operation
    // on the same key holds.
    remove(tree, batch, key)?;
    let (first, rest) = value.split_at(value.len().min(INLINE_BYTES));
    let parts = u16::try_from(rest.len().div_ceil(INLINE_BYTES)).map_err(|_| too_long())?;
    let expires = expires_us.unwrap_or(0);
    let mut stored = Vec::with_capacity(HEAD + first.len());
    stored.extend_from_slice(&expires.to_le_bytes());
    stored.extend_from_slice(&parts.to_le_bytes());
    stored.extend_from_slice(first);
    batch.insert(keys::prefixed(keys::PAIR, key), stored);
    for (part, bytes) in (1..).zip(rest.chunks(INLINE_BYTES)) {
        batch.insert(keys::part(key, part), bytes);
    }
    if expires != 0 {
        batch.insert(keys::expiry(expires, key), Bytes::new().as_ref());
    }
    Ok(())
}

fn too_long() -> sled::Error {
    sled::Error::Unsupported(format!("a value of more than {MOST_BYTES} bytes"))
}

/// Puts a pair together from what is stored under `PAIR key`; none when it has expired.
pub(super) fn decode(
    tree: &sled::Tree,
    key: &[u8],
    stored: &[u8],
    now_us: u64,
) -> sled::Result<Option<Pair>> {
    let head = head(stored).ok_or_else(damaged)?;
    if head.expires_us != 0 && head.expires_us <= now_us {
        return Ok(None);
    }
    let mut value = stored.get(HEAD..).unwrap_or_default().to_vec();
    for part in 1..=head.parts {
        value.extend_from_slice(&tree.get(keys::part(key, part))?.ok_or_else(damaged)?);
    }
    let expires_us = (head.expires_us != 0).then_some(head.expires_us);
    Ok(Some(Pair { key: key.to_vec(), value, expires_us }))
}

/// Reads one pair.
pub(super) fn get(tree: &sled::Tree, key: &[u8], now_us: u64) -> sled::Result<Option<Pair>> {
    match tree.get(keys::prefixed(keys::PAIR, key))? {
        Some(stored) => decode(tree, key, &stored, now_us),
        None => Ok(None),
    }
}

/// Adds to `batch` the removal of up to `most` pairs that have expired.
pub(super) fn sweep(
    tree: &sled::Tree,
    batch: &mut sled::Batch,
    now_us: u64,
    most: usize,
) -> sled::Result<()> {
    let end = keys::numbered(keys::EXPIRY, now_us.saturating_add(1));
    for entry in tree.range(vec![keys::EXPIRY]..end).keys().take(most) {
        let whole = entry?;
        let (at, key) = keys::parse_expiry(&whole).ok_or_else(damaged)?;
        batch.remove(whole.as_ref());
        let stored = tree.get(keys::prefixed(keys::PAIR, key))?;
        // A later put may have given the pair another life.
        if stored.is_some_and(|stored| head(&stored).is_some_and(|head| head.expires_us == at)) {
            remove(tree, batch, key)?;
        }
    }
    Ok(())
}

//! What stands in the databases, byte by byte. Nothing else in weir knows.
//!
//! All numbers in keys are big-endian, so that bytewise order is numeric order; all numbers in values are
//! little-endian.
//!
//! ```text
//! DIR/lock                  empty; locked by the one process that has the store open
//! DIR/state/                one database
//!   tree "meta"             "format" → version u32
//!                           "closed" → number u64, the last thing that a clean close writes; also in DIR/state.clean,
//!                           which is there until the next start (witness.rs); in DIR/storage likewise
//!   tree "s/" SPACE         key-value space of a plugin (see below), or with `$` of the router itself: dead
//!                           letters, durable consumers, retained messages, whose pairs they define
//!   tree "t/" TABLE         key → value, as the caller gives them
//! DIR/storage/              one database
//!   tree "s/" SPACE         key-value space of a storage plugin, with its cursors
//! DIR/log/NAME/clean        next offset u64, oldest offset u64, checksum u64: a clean close leaves it (witness.rs)
//! DIR/log/NAME/FIRST/       one database per segment; FIRST = its first offset, 20 decimal digits
//!   tree "packs" CHUNK      first offset u64, part u16 → part of a pack (pack.rs); CHUNK = first offset u64 of
//!                           the packs in this tree (chunk.rs), nothing for offset 0; format 1 had but one tree
//!   tree "meta"
//!     "f"                   → first offset u64, created u64 (Unix µs)
//!     "c"                   → next offset u64; present only after a clean close
//!     "e" epoch u64         → first offset u64, next offset u64 (u64::MAX: this epoch goes on)
//!     "s" first u64         → next offset u64, newest u64 (Unix µs), bytes on disk u64: a sealed segment
//! ```
//!
//! Each new segment takes over the "e" and "s" entries of the one before, so that opening the newest tells
//! everything about the log.
//!
//! A key-value space keeps no value longer than [`INLINE_BYTES`] in one place (see `database.rs` for why):
//!
//! ```text
//! "k" key                   → expires u64 (Unix µs, 0 = never), further parts u16, first part of the value
//! "p" key-length u16, key, part u16 → a further part, counted from 1
//! "x" expires u64, key      → empty: what expires, in order of time
//! "c" log name              → epoch u64, next offset u64: a storage plugin's cursor
//! "o" number u64, part u16  → a post that waits in the outbox; part 0 begins with the length of the whole, u32
//! "a" number u64            → u64: how often sending that post has failed
//! ```
//!
//! All of that may be there several times in the space of a storage plugin: its generation 0 as above, further
//! ones, made by rebuilding it, each behind a prefix of its own. One is live:
//!
//! ```text
//! "g" number u64, a key as above
//! "l"                       → number u64 of the live generation; absent = 0
//! ```

/// Version of everything above. A store with a higher one is refused.
pub(super) const FORMAT: u32 = 2;

/// Most bytes of a key-value pair's value in one database value; the rest goes into further parts.
pub(super) const INLINE_BYTES: usize = 24 * 1024;

/// Tree with the format record (state) or a segment's own records.
pub(super) const META: &str = "meta";
/// Begins the names of the trees with a segment's packs.
pub(super) const PACKS: &str = "packs";
/// Key of the format record.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// Key of the last thing that a clean close writes into the state and storage databases.
pub(super) const CLOSED: &[u8] = b"closed";
/// Key of a segment's birth record.
pub(super) const BIRTH: &[u8] = b"f";
/// Key of a segment's clean mark.
pub(super) const CLEAN: &[u8] = b"c";
/// Prefix of epochs in a segment.
pub(super) const EPOCH: u8 = b'e';
/// Prefix of sealed segments in a segment.
pub(super) const SEALED: u8 = b's';
/// Prefix of pairs in a space.
pub(super) const PAIR: u8 = b'k';
/// Prefix of further parts in a space.
pub(super) const PART: u8 = b'p';
/// Prefix of expiries in a space.
pub(super) const EXPIRY: u8 = b'x';
/// Prefix of cursors in a space.
pub(super) const CURSOR: u8 = b'c';

/// Prefix of generations in a space.
pub(super) const GENERATION: u8 = b'g';
/// Key of the number of the live generation.
pub(super) const LIVE: &[u8] = b"l";
/// Prefix of waiting posts in a space.
pub(super) const POST: u8 = b'o';
/// Prefix of posts' failed attempts in a space.
pub(super) const ATTEMPTS: u8 = b'a';

/// The tree of a key-value space.
pub(super) fn space_tree(name: &str) -> String {
    format!("s/{name}")
}

/// The space in a tree's name; none when it is another tree.
pub(super) fn parse_space_tree(tree: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(tree).ok()?.strip_prefix("s/")?.to_owned())
}

/// Whether a tree is that of a plain table.
pub(super) fn is_table(tree: &[u8]) -> bool {
    tree.starts_with(b"t/")
}

/// The tree of a plain table.
pub(super) fn table_tree(name: &str) -> String {
    format!("t/{name}")
}

/// The tree of a chunk. That of offset 0 has the name of the only tree of format 1, which is read as such.
pub(super) fn chunk(first: u64) -> Vec<u8> {
    let mut name = PACKS.as_bytes().to_vec();
    if first > 0 {
        name.extend_from_slice(&first.to_be_bytes());
    }
    name
}

/// The first offset in the name of a chunk's tree.
pub(super) fn parse_chunk(name: &[u8]) -> Option<u64> {
    match name.strip_prefix(PACKS.as_bytes())? {
        [] => Some(0),
        first => Some(u64::from_be_bytes(first.try_into().ok()?)),
    }
}

/// Key of a part of a pack.
pub(super) fn pack(first: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    let (offset, rest) = key.split_at_mut(8);
    offset.copy_from_slice(&first.to_be_bytes());
    rest.copy_from_slice(&part.to_be_bytes());
    key
}

/// The offset and part in a pack's key.
pub(super) fn parse_pack(key: &[u8]) -> Option<(u64, u16)> {
    let (offset, part) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*offset), u16::from_be_bytes(part.try_into().ok()?)))
}

/// `prefix` and a number, for epochs and sealed segments.
pub(super) fn numbered(prefix: u8, number: u64) -> Vec<u8> {
    let mut key = vec![prefix];
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key of [`numbered`].
pub(super) fn parse_numbered(key: &[u8]) -> Option<u64> {
    let (_, number) = key.split_first()?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// Key of a part of a post.
pub(super) fn post(number: u64, part: u16) -> Vec<u8> {
    let mut key = numbered(POST, number);
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The number and part in a post's key.
pub(super) fn parse_post(key: &[u8]) -> Option<(u64, u16)> {
    parse_pack(key.get(1..)?)
}

/// Numbers in a value, one after the other.
pub(super) fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Reads what [`numbers`] wrote; none when there are not exactly `N`.
pub(super) fn parse_numbers<const N: usize>(value: &[u8]) -> Option<[u64; N]> {
    let (chunks, rest) = value.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let all: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
    all.try_into().ok()
}

/// `prefix` and bytes, for pairs and cursors.
pub(super) fn prefixed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

/// Key of a further part of a pair's value. Keys are at most 512 bytes, so the length fits.
pub(super) fn part(key: &[u8], number: u16) -> Vec<u8> {
    let mut whole = vec![PART];
    whole.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    whole.extend_from_slice(key);
    whole.extend_from_slice(&number.to_be_bytes());
    whole
}

/// Key of an expiry.
pub(super) fn expiry(expires_us: u64, key: &[u8]) -> Vec<u8> {
    let mut whole = numbered(EXPIRY, expires_us);
    whole.extend_from_slice(key);
    whole
}

/// Time and pair's key in the key of an expiry.
pub(super) fn parse_expiry(whole: &[u8]) -> Option<(u64, &[u8])> {
    let (_, rest) = whole.split_first()?;
    let (expires, key) = rest.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*expires), key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_numbers() {
        assert!(pack(1, 7) < pack(256, 0) && pack(256, 0) < pack(256, 1));
        assert!(expiry(9, b"z") < expiry(256, b"a"));
        assert_eq!(parse_pack(&pack(300, 4)), Some((300, 4)));
        assert_eq!(parse_pack(b"short"), None);
        assert_eq!(parse_post(&post(300, 4)), Some((300, 4)));
        assert_eq!([0, 7].map(|first| parse_chunk(&chunk(first))), [Some(0), Some(7)]);
        assert_eq!((parse_chunk(b"meta"), parse_chunk(b"packs-"), chunk(0)), (None, None, b"packs".to_vec()));
        assert_eq!(parse_expiry(&expiry(5, b"key")), Some((5, b"key".as_slice())));
    }

    #[test]
    fn numbers_come_back_only_whole() {
        assert_eq!(parse_numbers::<2>(&numbers(&[1, u64::MAX])), Some([1, u64::MAX]));
        assert_eq!(parse_numbers::<1>(&numbers(&[1, 2])), None);
        assert_eq!(parse_numbers::<1>(b"1234567"), None);
        assert_eq!(parse_numbered(&numbered(EPOCH, 77)), Some(77));
    }
}

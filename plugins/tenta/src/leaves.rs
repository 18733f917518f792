//! Rows in their order, some of them in each value: so a message with thousands of rows makes few writes, and a page of
//! rows few reads.
//!
//! ```text
//! table, topic, order of the first row that belongs here; none in a topic's first leaf
//!   → (order length u8, order, row length u32, row)*
//! ```

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use weir_plugin::{Key, Range, Space, StoreFailure, Time, state};

use crate::batch::unreadable;
use crate::rows;

/// Most rows of a leaf that is written.
const ROWS: usize = 32;
/// Bytes of rows of a leaf, of which the last one may have more.
const BYTES: usize = 8 * 1024;
/// How long lines of a log are kept.
pub(crate) const LOGS_KEPT: Duration = Duration::from_secs(8 * 7 * 86_400);

/// What rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Measurements,
    Logs,
}

impl Table {
    /// What all keys of a topic begin with.
    pub(crate) fn prefix(self, topic: &str) -> Vec<u8> {
        let name = if self == Self::Measurements { "m" } else { "l" };
        Key::new(name).text(topic).as_bytes().to_vec()
    }

    /// When a row is gone. None: never.
    fn expires(self, order: &[u8]) -> Option<Time> {
        (self == Self::Logs).then(|| rows::received(order).unwrap_or_default().after(LOGS_KEPT))
    }
}

/// Rows by their order.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a batch changes, by key.
#[derive(Default)]
pub(crate) struct Leaves(BTreeMap<Vec<u8>, Leaf>);

struct Leaf {
    table: Table,
    /// Bytes of the key that are the topic's prefix.
    prefix: usize,
    /// The next leaf's key; none: it is the topic's last one.
    end: Option<Vec<u8>>,
    rows: Rows,
}

impl Leaves {
    /// The place of a row, to be filled.
    pub(crate) fn row(
        &mut self,
        table: Table,
        topic: &str,
        order: Vec<u8>,
    ) -> Result<Entry<'_, Vec<u8>, Vec<u8>>, StoreFailure> {
        let prefix = table.prefix(topic);
        let key = [prefix.as_slice(), &order].concat();
        let holds = |(at, leaf): &(&Vec<u8>, &Leaf)| {
            at.starts_with(&prefix) && leaf.end.as_ref().is_none_or(|end| key < *end)
        };
        let open = self.0.range(..=key.clone()).next_back().filter(holds).map(|(at, _)| at.clone());
        let (at, leaf) = match open {
            Some(at) => (at, None),
            None => Leaf::of(table, &prefix, &key).map(|(at, leaf)| (at, Some(leaf)))?,
        };
        let leaf = match (self.0.entry(at), leaf) {
            (Entry::Occupied(open), _) => open.into_mut(),
            (Entry::Vacant(place), Some(leaf)) => place.insert(leaf),
            (Entry::Vacant(_), None) => return Err(unreadable()),
        };
        Ok(leaf.rows.entry(order))
    }

    /// Writes all, but for rows that are gone by then; how many writes that makes.
    pub(crate) fn write(self, now: Time, space: &mut Space) -> usize {
        let mut writes = 0;
        for (at, Leaf { table, prefix, mut rows, .. }) in self.0 {
            rows.retain(|order, _| table.expires(order).is_none_or(|expires| expires > now));
            if rows.is_empty() {
                space.delete(&at);
                writes += 1;
            }
            for (number, piece) in pieces(rows).into_iter().enumerate() {
                let first = piece.first().filter(|_| number > 0);
                let key = match (first, at.get(..prefix)) {
                    (Some((order, _)), Some(prefix)) => [prefix, order].concat(),
                    _ => at.clone(),
                };
                match piece.iter().filter_map(|(order, _)| table.expires(order)).max() {
                    Some(expires) => space.put_until(key, encode(&piece), expires),
                    None => space.put(key, encode(&piece)),
                }
                writes += 1;
            }
        }
        writes
    }
}

impl Leaf {
    /// The leaf to which a row of this key belongs, as it was before this batch, and its key.
    fn of(table: Table, prefix: &[u8], key: &[u8]) -> Result<(Vec<u8>, Self), StoreFailure> {
        let next = state::scan(Range::between(key, end(prefix)).beyond(key), 1)?.pop();
        let (at, rows) = match before(prefix, key)? {
            Some((at, value)) => (at, decode(&value).ok_or_else(unreadable)?),
            None => (prefix.to_vec(), Vec::new()),
        };
        let (prefix, end) = (prefix.len(), next.map(|(key, _)| key));
        Ok((at, Self { table, prefix, end, rows: rows.into_iter().collect() }))
    }
}

/// The last leaf whose key is not behind `key`.
pub(crate) fn before(prefix: &[u8], key: &[u8]) -> Result<Option<state::Pair>, state::StateError> {
    Ok(state::scan(Range::between(prefix, [key, &[0]].concat()).reversed(), 1)?.pop())
}

/// Behind all keys of a topic: its prefix ends with 0, 1.
pub(crate) fn end(prefix: &[u8]) -> Vec<u8> {
    match prefix.split_last() {
        Some((last, rest)) => [rest, &[last.saturating_add(1)]].concat(),
        None => Vec::new(),
    }
}

/// Parts of equal size, so that there is room in each.
fn pieces(rows: Rows) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let bytes: usize = rows.values().map(Vec::len).sum();
    let wanted = rows.len().div_ceil(ROWS).max(bytes.div_ceil(BYTES)).max(1);
    let (most_rows, most_bytes) = (rows.len().div_ceil(wanted), bytes.div_ceil(wanted));
    let mut pieces: Vec<Vec<_>> = Vec::new();
    let mut filled = usize::MAX;
    for (order, row) in rows {
        let is_full = pieces.last().is_none_or(|piece| piece.len() >= most_rows || filled >= most_bytes);
        if is_full {
            pieces.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(row.len());
        if let Some(piece) = pieces.last_mut() {
            piece.push((order, row));
        }
    }
    pieces
}

fn encode(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (order, row) in rows {
        out.push(u8::try_from(order.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(order);
        out.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(row);
    }
    out
}

/// Orders and rows of a leaf. None: it is none.
pub(crate) fn decode(mut from: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut rows = Vec::new();
    while let Some((length, rest)) = from.split_first() {
        let (order, rest) = rest.split_at_checked(usize::from(*length))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (row, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        rows.push((order.to_vec(), row.to_vec()));
        from = rest;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_back_only_whole() {
        let rows = vec![(vec![1, 2], b"row".to_vec()), (Vec::new(), Vec::new())];
        let value = encode(&rows);
        assert_eq!(decode(&value), Some(rows));
        assert!((1..value.len()).any(|end| decode(&value[..end]).is_none()));
        assert_eq!(decode(&[1]), None);
    }

    #[test]
    fn leaves_are_cut_into_equal_parts() {
        let sizes = |rows: usize, bytes: usize| -> Vec<usize> {
            let rows = (0..rows).map(|n| (n.to_be_bytes().to_vec(), vec![0; bytes])).collect();
            pieces(rows).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(1, 0), [1]);
        assert_eq!(sizes(32, 10), [32]);
        assert_eq!(sizes(33, 10), [17, 16]);
        assert_eq!(sizes(4, 4_096), [2, 2]);
        assert_eq!(sizes(3, 66_000), [1, 1, 1]);
        assert_eq!(sizes(5_000, 10).len(), 157);
        assert!(sizes(0, 0).is_empty());
    }
}

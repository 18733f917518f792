//! What one pass has read and written in one space, until it is committed or forgotten.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{KEY_BYTES, Pairs, SCAN_BYTES, SCAN_PAIRS, Space, VALUE_BYTES, Value, expired};
use crate::message::now_us;

/// Writes of one call.
const CALL_WRITES: usize = 1_000;

/// A write: none = delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// 1 to 512 bytes.
    pub key: Vec<u8>,
    /// None deletes.
    pub value: Option<Value>,
}

/// Why the state refused a plugin's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateFault {
    /// The quota, in bytes.
    Quota(u64),
    /// Key or value over its limit, empty key, or too many writes in one call.
    TooLarge,
    /// Written where only reading is allowed.
    ReadOnly,
    /// `increment` on something that is not 8 bytes long.
    NotANumber,
}

/// The reads and writes of one pass in one space.
#[derive(Debug, Default)]
pub struct Transaction {
    reads: Vec<(Vec<u8>, u64)>,
    ranges: Vec<(Vec<u8>, Vec<u8>, Vec<u64>)>,
    changes: Vec<Change>,
    latest: BTreeMap<Vec<u8>, usize>,
    grown: isize,
    /// Number of changes and growth when the current call began.
    call: (usize, isize),
    kept: Vec<Range<usize>>,
}

impl Transaction {
    /// Whether the pass has looked at or changed anything here.
    pub fn touched(&self) -> bool {
        !(self.reads.is_empty() && self.ranges.is_empty() && self.changes.is_empty())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        if self.touched() {
            *self = Self::default();
        }
    }

    /// A call of the plugin begins.
    pub fn begin_call(&mut self) {
        self.call = (self.changes.len(), self.grown);
    }

    /// This call stopped its message by its own decision: its writes stay, whatever becomes of the others'.
    pub fn keep_call(&mut self) {
        if self.call.0 < self.changes.len() {
            self.kept.push(self.call.0..self.changes.len());
        }
    }

    /// This call failed: its writes go, its reads stay, since they led to the failure.
    pub fn discard_call(&mut self) {
        self.changes.truncate(self.call.0);
        self.grown = self.call.1;
        self.latest = self.changes.iter().enumerate().map(|(at, c)| (c.key.clone(), at)).collect();
    }

    /// What the keys that this call has written held before it, as the pass saw them.
    pub fn before_call(&self, space: &Space) -> Vec<Change> {
        let (before, written) = self.changes.split_at(self.call.0.min(self.changes.len()));
        let pairs = space.lock();
        let mut found: BTreeMap<&[u8], Option<Value>> = BTreeMap::new();
        for Change { key, .. } in written {
            found.entry(key).or_insert_with(|| match before.iter().rfind(|change| change.key == *key) {
                Some(change) => change.value.clone(),
                None => pairs.map.get(key).map(|entry| entry.value.clone()),
            });
        }
        found.into_iter().map(|(key, value)| Change { key: key.to_vec(), value }).collect()
    }

    /// One that sees these pairs in place of what is committed. For reading only: its writes are never to be committed.
    pub fn over(pairs: Vec<Change>) -> Self {
        let latest = pairs.iter().enumerate().map(|(at, change)| (change.key.clone(), at)).collect();
        Self { changes: pairs, latest, ..Self::default() }
    }

    /// The writes to commit: all of them, or those of calls that stopped their message.
    pub fn into_changes(self, accepted: bool) -> Vec<Change> {
        if accepted {
            return self.changes;
        }
        let kept = self.kept;
        let within = |at: &usize| kept.iter().any(|range| range.contains(at));
        self.changes.into_iter().enumerate().filter(|(at, _)| within(at)).map(|(_, c)| c).collect()
    }

    /// Whether everything read is still as it was, where it was.
    pub fn holds(&self, pairs: &Pairs) -> bool {
        if pairs.sealed {
            return false;
        }
        let now = now_us();
        self.reads.iter().all(|(key, version)| pairs.get(key, now).1 == *version)
            && self.ranges.iter().all(|(start, end, seen)| {
                pairs.range(start, end).map(|(_, _, version)| version).eq(seen.iter().copied())
            })
    }

    /// Reads a key: the pass's own write, else what is committed.
    pub fn get(&mut self, space: &Space, key: &[u8]) -> Result<Option<Value>, StateFault> {
        check_key(key)?;
        if let Some(change) = self.latest.get(key).and_then(|at| self.changes.get(*at)) {
            return Ok(change.value.clone());
        }
        let (value, version) = space.lock().get(key, now_us());
        self.reads.push((key.to_vec(), version));
        Ok(value)
    }

    /// Writes a key; none deletes.
    pub fn set(&mut self, space: &Space, key: Vec<u8>, value: Option<Value>) -> Result<(), StateFault> {
        check_key(&key)?;
        let size = value.as_ref().map_or(0, |v| v.bytes.len());
        if size > VALUE_BYTES || self.changes.len() - self.call.0 >= CALL_WRITES {
            return Err(StateFault::TooLarge);
        }
        let (before, committed) = self.size_before(space, &key);
        let after = if value.is_some() { key.len() + size } else { 0 };
        let grown = self.grown + signed(after) - signed(before);
        let quota = space.quota();
        if after > before && signed(committed) + grown > signed(quota) {
            return Err(StateFault::Quota(quota as u64));
        }
        self.grown = grown;
        self.latest.insert(key.clone(), self.changes.len());
        self.changes.push(Change { key, value });
        Ok(())
    }

    /// Bytes that the key takes now, as this pass sees it, and bytes of the whole committed space.
    fn size_before(&self, space: &Space, key: &[u8]) -> (usize, usize) {
        let pairs = space.lock();
        let size = |value: &Value| key.len() + value.bytes.len();
        let before = match self.latest.get(key).and_then(|at| self.changes.get(*at)) {
            Some(change) => change.value.as_ref().map_or(0, size),
            None => pairs.map.get(key).map_or(0, |entry| size(&entry.value)),
        };
        (before, pairs.bytes)
    }

    /// Adds to a counter; an absent one counts as 0. The expiry stays.
    pub fn increment(&mut self, space: &Space, key: Vec<u8>, delta: i64) -> Result<i64, StateFault> {
        let old = self.get(space, &key)?;
        let number = match &old {
            None => 0,
            Some(value) => {
                i64::from_le_bytes(value.bytes.as_ref().try_into().map_err(|_| StateFault::NotANumber)?)
            }
        };
        let new = number.wrapping_add(delta);
        let value =
            Value { bytes: Arc::from(new.to_le_bytes()), expires_us: old.and_then(|value| value.expires_us) };
        self.set(space, key, Some(value))?;
        Ok(new)
    }

    /// Pairs of a range in order; the pass's own writes laid over what is committed. The whole range counts
    /// as read, since a key that is new in it would have changed the answer.
    pub fn scan(
        &mut self,
        space: &Space,
        start: &[u8],
        end: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Vec<(Vec<u8>, Value)> {
        let now = now_us();
        let mut found: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
        let mut seen = Vec::new();
        for (key, value, version) in space.lock().range(start, end) {
            seen.push(version);
            if !expired(value, now) {
                found.insert(key.to_vec(), value.clone());
            }
        }
        self.ranges.push((start.to_vec(), end.to_vec(), seen));
        for (key, at) in &self.latest {
            if key.as_slice() < start || (!end.is_empty() && key.as_slice() >= end) {
                continue;
            }
            match self.changes.get(*at).and_then(|change| change.value.clone()) {
                Some(value) => found.insert(key.clone(), value),
                None => found.remove(key),
            };
        }
        if reverse { bounded(found.into_iter().rev(), limit) } else { bounded(found.into_iter(), limit) }
    }
}

fn bounded(pairs: impl Iterator<Item = (Vec<u8>, Value)>, limit: usize) -> Vec<(Vec<u8>, Value)> {
    let mut bytes = 0;
    pairs
        .take(limit.min(SCAN_PAIRS))
        .take_while(|(key, value)| {
            bytes += key.len() + value.bytes.len();
            bytes <= SCAN_BYTES
        })
        .collect()
}

fn check_key(key: &[u8]) -> Result<(), StateFault> {
    if key.is_empty() || key.len() > KEY_BYTES { Err(StateFault::TooLarge) } else { Ok(()) }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> Space {
        Space::new("t".into(), 100, [])
    }

    fn value(bytes: &[u8]) -> Option<Value> {
        Some(Value { bytes: bytes.into(), expires_us: None })
    }

    fn commit(space: &Space, transaction: Transaction) -> bool {
        let mut pairs = space.lock();
        if !transaction.holds(&pairs) {
            return false;
        }
        let swept = pairs.sweep(now_us());
        pairs.apply(swept.into_iter().chain(transaction.into_changes(true)));
        true
    }

    #[test]
    fn a_read_that_changed_is_a_conflict() {
        let space = space();
        let (mut a, mut b) = (Transaction::default(), Transaction::default());
        assert_eq!(a.increment(&space, b"n".to_vec(), 1), Ok(1));
        assert_eq!(b.increment(&space, b"n".to_vec(), 1), Ok(1));
        assert!(commit(&space, a));
        assert!(!commit(&space, b));
        let mut again = Transaction::default();
        assert_eq!(again.increment(&space, b"n".to_vec(), 1), Ok(2));
        assert!(commit(&space, again));
    }

    #[test]
    fn nothing_is_committed_to_a_sealed_space() {
        let space = space();
        let mut writer = Transaction::default();
        writer.set(&space, b"a".to_vec(), value(b"1")).unwrap();
        assert!(space.seal().is_empty());
        assert!(!commit(&space, writer));
        space.unseal();
        let mut writer = Transaction::default();
        writer.set(&space, b"a".to_vec(), value(b"1")).unwrap();
        assert!(commit(&space, writer));
        assert_eq!(space.pairs().len(), 1);
    }

    #[test]
    fn a_new_key_in_a_scanned_range_is_a_conflict() {
        let space = space();
        let mut reader = Transaction::default();
        assert!(reader.scan(&space, b"a", b"c", false, 10).is_empty());
        let mut writer = Transaction::default();
        writer.set(&space, b"b".to_vec(), value(b"1")).unwrap();
        assert!(commit(&space, writer));
        assert!(!commit(&space, reader));
    }

    #[test]
    fn scans_see_own_writes_in_order() {
        let space = space();
        let mut base = Transaction::default();
        for key in [b"a", b"b", b"c"] {
            base.set(&space, key.to_vec(), value(key)).unwrap();
        }
        assert!(commit(&space, base));
        let mut t = Transaction::default();
        t.set(&space, b"b".to_vec(), None).unwrap();
        t.set(&space, b"bb".to_vec(), value(b"new")).unwrap();
        let keys: Vec<_> = t.scan(&space, b"a", b"", true, 10).into_iter().map(|(k, _)| k).collect();
        assert_eq!(keys, [b"c".to_vec(), b"bb".to_vec(), b"a".to_vec()]);
    }

    #[test]
    fn quota_counts_growth_and_lets_shrink() {
        let space = space();
        let mut t = Transaction::default();
        t.set(&space, b"k".to_vec(), value(&[0; 99])).unwrap();
        assert_eq!(t.set(&space, b"l".to_vec(), value(b"x")), Err(StateFault::Quota(100)));
        t.set(&space, b"k".to_vec(), value(b"x")).unwrap();
        t.set(&space, b"l".to_vec(), value(b"x")).unwrap();
        assert!(commit(&space, t));
        assert_eq!(space.bytes(), 4);
    }

    #[test]
    fn only_the_stopping_calls_writes_survive_a_stop() {
        let space = space();
        let mut t = Transaction::default();
        t.begin_call();
        t.set(&space, b"first".to_vec(), value(b"1")).unwrap();
        t.begin_call();
        t.set(&space, b"stopper".to_vec(), value(b"2")).unwrap();
        t.keep_call();
        let keys: Vec<_> = t.into_changes(false).into_iter().map(|c| c.key).collect();
        assert_eq!(keys, [b"stopper".to_vec()]);
    }

    #[test]
    fn a_failed_calls_writes_are_forgotten() {
        let space = space();
        let mut t = Transaction::default();
        t.begin_call();
        t.set(&space, b"a".to_vec(), value(b"1")).unwrap();
        t.begin_call();
        t.set(&space, b"a".to_vec(), value(b"2")).unwrap();
        t.discard_call();
        assert_eq!(t.get(&space, b"a").unwrap(), value(b"1"));
    }

    #[test]
    fn what_a_call_has_overwritten_can_be_seen_again() {
        let space = space();
        let mut base = Transaction::default();
        base.set(&space, b"a".to_vec(), value(b"old")).unwrap();
        assert!(commit(&space, base));
        let mut t = Transaction::default();
        t.begin_call();
        t.set(&space, b"b".to_vec(), value(b"first call")).unwrap();
        t.begin_call();
        for key in [b"a", b"b", b"c"] {
            t.set(&space, key.to_vec(), value(b"new")).unwrap();
        }
        let before = t.before_call(&space);
        assert!(commit(&space, t));
        let mut again = Transaction::over(before);
        assert_eq!(again.get(&space, b"a").unwrap(), value(b"old"));
        assert_eq!(again.get(&space, b"b").unwrap(), value(b"first call"));
        assert_eq!(again.get(&space, b"c").unwrap(), None);
        again.begin_call();
        again.set(&space, b"a".to_vec(), value(b"own")).unwrap();
        assert_eq!(again.get(&space, b"a").unwrap(), value(b"own"));
    }

    #[test]
    fn expired_pairs_are_absent_and_swept() {
        let space = space();
        let mut t = Transaction::default();
        let past = Value { bytes: b"x".as_slice().into(), expires_us: Some(1) };
        t.set(&space, b"k".to_vec(), Some(past)).unwrap();
        t.set(&space, b"live".to_vec(), value(b"y")).unwrap();
        assert!(commit(&space, t));
        let mut reader = Transaction::default();
        assert_eq!(reader.get(&space, b"k").unwrap(), None);
        assert!(commit(&space, reader));
        assert_eq!(space.bytes(), 5, "the next commit swept the expired pair and left the live one");
    }
}

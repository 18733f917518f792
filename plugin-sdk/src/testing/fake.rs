//! The host's functions natively: what `state`, `accounts` and `log` reach while a [`super::Host`] calls.

use crate::accounts::AccountsError;
use crate::host::Value;
use crate::state::{MAX_KEY, MAX_SCAN, MAX_SCAN_BYTES, MAX_VALUE, MAX_WRITES, Pair, StateError};
use crate::{Account, Attribute, Level, Range, Time};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Default quota of a binding's state, in bytes of keys and values.
const QUOTA: usize = 64 * 1024 * 1024;

/// Which rules hold for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    ReadOnly,
    Call,
    Migration,
}

#[derive(Debug, Clone)]
struct Stored {
    value: Vec<u8>,
    expires_us: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) accounts: Vec<Account>,
    pub(crate) logs: Vec<(Level, String)>,
    pub(crate) level: Level,
    /// A limit that the call broke and that no error tells: the real host traps.
    pub(crate) trap: Option<&'static str>,
    committed: BTreeMap<Vec<u8>, Stored>,
    pending: BTreeMap<Vec<u8>, Option<Stored>>,
    read: BTreeSet<Vec<u8>>,
    scanned: Vec<(Vec<u8>, Vec<u8>)>,
    phase: Phase,
    writes: usize,
    pub(crate) quota: usize,
    now: Time,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            logs: Vec::new(),
            level: Level::Info,
            trap: None,
            committed: BTreeMap::new(),
            pending: BTreeMap::new(),
            read: BTreeSet::new(),
            scanned: Vec::new(),
            phase: Phase::ReadOnly,
            writes: 0,
            quota: QUOTA,
            now: Time::default(),
        }
    }
}

impl Fake {
    /// A new transaction; what was pending is gone.
    pub(crate) fn begin(&mut self, phase: Phase, now: Time) {
        self.pending.clear();
        self.read.clear();
        self.scanned.clear();
        (self.phase, self.writes, self.trap) = (phase, 0, None);
        self.advance(now);
    }

    pub(crate) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(crate) fn commit(&mut self) {
        for (key, value) in std::mem::take(&mut self.pending) {
            match value {
                Some(stored) => self.committed.insert(key, stored),
                None => self.committed.remove(&key),
            };
        }
    }

    /// A write from outside the transaction: the test's, or another shard's.
    pub(crate) fn overwrite(&mut self, key: &[u8], value: &[u8]) {
        self.committed.insert(key.to_vec(), Stored { value: value.to_vec(), expires_us: None });
    }

    pub(crate) fn has_read(&self, key: &[u8]) -> bool {
        let within = |(start, end): &(Vec<u8>, Vec<u8>)| {
            start.as_slice() <= key && (end.is_empty() || key < end.as_slice())
        };
        self.read.contains(key) || self.scanned.iter().any(within)
    }

    pub(crate) fn committed(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.committed.get(key).filter(|stored| self.lives(stored)).map(|stored| stored.value.clone())
    }

    /// Bytes of all committed keys and values.
    pub(crate) fn committed_bytes(&self) -> usize {
        self.committed.iter().map(|(key, stored)| key.len() + stored.value.len()).sum()
    }

    pub(crate) fn live(&self) -> usize {
        self.committed.values().filter(|stored| self.lives(stored)).count()
    }

    fn lives(&self, stored: &Stored) -> bool {
        stored.expires_us.is_none_or(|at| at > self.now.micros())
    }

    fn stored(&self, key: &[u8]) -> Option<&Stored> {
        let newest = match self.pending.get(key) {
            Some(pending) => pending.as_ref(),
            None => self.committed.get(key),
        };
        newest.filter(|stored| self.lives(stored))
    }

    pub(crate) fn write(
        &mut self,
        key: &[u8],
        value: Option<(&[u8], Option<u64>)>,
    ) -> Result<(), StateError> {
        if self.phase == Phase::ReadOnly {
            return Err(StateError::ReadOnly);
        }
        check_key(key)?;
        if value.is_some_and(|(value, _)| value.len() > MAX_VALUE) {
            return Err(StateError::TooLarge);
        }
        self.writes += 1;
        if self.writes > MAX_WRITES && self.phase == Phase::Call {
            self.trap = Some("more than 1,000 writes in one call");
        }
        let stored = value.map(|(value, expires_us)| Stored { value: value.to_vec(), expires_us });
        let before = self.stored(key).map_or(0, |stored| key.len() + stored.value.len());
        let after = stored.as_ref().map_or(0, |stored| key.len() + stored.value.len());
        if after > before && self.bytes() + after - before > self.quota {
            return Err(StateError::Quota(self.quota as u64));
        }
        self.pending.insert(key.to_vec(), stored);
        Ok(())
    }

    fn bytes(&self) -> usize {
        let fresh = self.pending.iter().filter_map(|(key, stored)| Some((key, stored.as_ref()?)));
        let old = self.committed.iter().filter(|(key, _)| !self.pending.contains_key(*key));
        fresh.chain(old).map(|(key, stored)| key.len() + stored.value.len()).sum()
    }

    fn scan(&mut self, range: &Range, limit: usize) -> Vec<Pair> {
        self.scanned.push((range.start.clone(), range.end.clone()));
        let keys: BTreeSet<&Vec<u8>> = self.committed.keys().chain(self.pending.keys()).collect();
        let inside = keys.into_iter().filter(|key| {
            range.start <= **key && (range.end.is_empty() || key.as_slice() < range.end.as_slice())
        });
        let mut pairs: Vec<Pair> =
            inside.filter_map(|key| Some((key.clone(), self.stored(key)?.value.clone()))).collect();
        if range.reverse {
            pairs.reverse();
        }
        let mut bytes = 0;
        pairs.truncate(limit.min(MAX_SCAN));
        let fits = pairs.iter().take_while(|(key, value)| {
            bytes += key.len() + value.len();
            bytes <= MAX_SCAN_BYTES
        });
        let fits = fits.count();
        pairs.truncate(fits);
        pairs
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Fake>>>> = const { RefCell::new(None) };
}

/// Runs something with this fake as the host, also when it panics.
pub(crate) fn with<R>(fake: &Rc<RefCell<Fake>>, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<Rc<RefCell<Fake>>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.with(|current| current.replace(self.0.take()));
        }
    }
    let _restore = Restore(CURRENT.with(|current| current.replace(Some(Rc::clone(fake)))));
    run()
}

fn current<R>(use_it: impl FnOnce(&mut Fake) -> R) -> Option<R> {
    CURRENT.with(|current| current.borrow().as_ref().map(|fake| use_it(&mut fake.borrow_mut())))
}

fn state<R>(use_it: impl FnOnce(&mut Fake) -> Result<R, StateError>) -> Result<R, StateError> {
    let nobody = || StateError::Unavailable("no host here: call the plugin through testing::Host".to_owned());
    current(use_it).unwrap_or_else(|| Err(nobody()))
}

fn check_key(key: &[u8]) -> Result<(), StateError> {
    if key.is_empty() || key.len() > MAX_KEY { Err(StateError::TooLarge) } else { Ok(()) }
}

pub(crate) fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
    state(|fake| {
        check_key(key)?;
        fake.read.insert(key.to_vec());
        Ok(fake.stored(key).map(|stored| stored.value.clone()))
    })
}

pub(crate) fn set(key: &[u8], value: Value<'_>) -> Result<(), StateError> {
    state(|fake| fake.write(key, value))
}

pub(crate) fn increment(key: &[u8], delta: i64) -> Result<i64, StateError> {
    state(|fake| {
        check_key(key)?;
        fake.read.insert(key.to_vec());
        let (old, expires) = match fake.stored(key) {
            None => (0, None),
            Some(stored) => {
                let bytes = stored.value.as_slice().try_into().map_err(|_| StateError::NotANumber)?;
                (i64::from_le_bytes(bytes), stored.expires_us)
            }
        };
        let new = old.wrapping_add(delta);
        fake.write(key, Some((&new.to_le_bytes(), expires)))?;
        Ok(new)
    })
}

pub(crate) fn scan(range: &Range, limit: u32) -> Result<Vec<Pair>, StateError> {
    state(|fake| Ok(fake.scan(range, usize::try_from(limit).unwrap_or(usize::MAX))))
}

pub(crate) fn lookup(realm: &str, id: &str) -> Result<Option<Account>, AccountsError> {
    let find = |fake: &mut Fake| {
        if !fake.accounts.iter().any(|account| account.realm == realm) {
            return Err(AccountsError::NotGranted);
        }
        let now = fake.now.micros();
        let known = fake.accounts.iter().find(|account| account.realm == realm && account.id == id);
        Ok(known.filter(|account| account.expires_us.is_none_or(|at| at > now)).cloned())
    };
    current(find).unwrap_or_else(|| Err(AccountsError::Unavailable("no host here".to_owned())))
}

pub(crate) fn threshold() -> Level {
    current(|fake| fake.level).unwrap_or(Level::Error)
}

pub(crate) fn log(level: Level, text: &str, fields: &[Attribute]) {
    current(|fake| {
        let mut line = text.to_owned();
        for field in fields {
            line.push_str(&format!(" {}={}", field.name, field.value));
        }
        fake.logs.push((level, line));
    });
}

//! Which device has which key. One that comes takes the key over at once: it asks nothing of the one before, which may
//! be long gone without a word.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use crate::session::Session;

/// Devices of one key come in one after the other; so many of other keys do so at once.
const TURNS: usize = 64;

/// The devices that are there.
#[derive(Debug)]
pub(super) struct Devices {
    by_key: Mutex<HashMap<Arc<str>, Arc<Session>>>,
    turns: [tokio::sync::Mutex<()>; TURNS],
}

/// A device that comes in, while no other does so with its key.
pub(super) struct Turn<'a> {
    devices: &'a Arc<Devices>,
    key: Arc<str>,
    _turn: Option<MutexGuard<'a, ()>>,
}

/// A device's place; it goes with this, if no other device has taken it.
#[derive(Debug)]
pub(super) struct Place {
    devices: Arc<Devices>,
    key: Arc<str>,
    session: Arc<Session>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { by_key: Mutex::default(), turns: std::array::from_fn(|_| tokio::sync::Mutex::default()) }
    }
}

impl Devices {
    /// Waits until no other device comes in with this key.
    pub(super) async fn turn<'a>(self: &'a Arc<Self>, key: &Arc<str>) -> Turn<'a> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or(0);
        let turn = match self.turns.get(number) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        Turn { devices: self, key: Arc::clone(key), _turn: turn }
    }
}

impl Turn<'_> {
    /// The device that has the key now.
    pub(super) fn former(&self) -> Option<Arc<Session>> {
        self.devices.by_key.lock().get(&self.key).cloned()
    }

    /// From now on the key is this one's.
    pub(super) fn take(self, session: &Arc<Session>) -> Place {
        self.devices.by_key.lock().insert(Arc::clone(&self.key), Arc::clone(session));
        Place { devices: Arc::clone(self.devices), key: self.key, session: Arc::clone(session) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_key = self.devices.by_key.lock();
        if by_key.get(&self.key).is_some_and(|holder| Arc::ptr_eq(holder, &self.session)) {
            by_key.remove(&self.key);
        }
    }
}

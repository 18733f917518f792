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

/// A device that comes in, while no other does so with its key. When this ends, the one that had the key is closed: also
/// if the newcomer vanished half way, for the router may have given the key to it already.
pub(super) struct Turn<'a> {
    devices: &'a Arc<Devices>,
    key: Arc<str>,
    former: Option<Arc<Session>>,
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
        let former = self.by_key.lock().get(key).cloned();
        Turn { devices: self, key: Arc::clone(key), former, _turn: turn }
    }
}

impl Turn<'_> {
    /// The device that has the key now.
    pub(super) fn former(&self) -> Option<&Arc<Session>> {
        self.former.as_ref()
    }

    /// From now on the key is this one's.
    pub(super) fn take(self, session: &Arc<Session>) -> Place {
        let (key, session) = (Arc::clone(&self.key), Arc::clone(session));
        self.devices.by_key.lock().insert(Arc::clone(&key), Arc::clone(&session));
        Place { devices: Arc::clone(self.devices), key, session }
    }

    /// The newcomer was refused, and all is as before.
    pub(super) fn give_up(mut self) {
        self.former = None;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(former) = &self.former {
            former.outbound.close(1000, "");
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Grant, Principal};
    use crate::session::OutboundLimits;

    fn session(id: &str) -> Arc<Session> {
        let grant =
            Grant { tenant: "main".into(), name: "d".into(), origin: "device".into(), ..Grant::default() };
        let principal = Principal::new(grant, "gateway:paikea".into(), "paikea", id).unwrap();
        let limits = OutboundLimits { messages: 1, bytes: 1 };
        Arc::new(Session::new(id.into(), principal, "paikea", String::new(), limits, None))
    }

    #[tokio::test]
    async fn who_had_the_key_is_closed_unless_the_newcomer_was_refused() {
        let (devices, key) = (Arc::<Devices>::default(), Arc::<str>::from("/iam1"));
        let [one, two] = ["1", "2"].map(session);
        let first = devices.turn(&key).await.take(&one);
        let refused = devices.turn(&key).await;
        assert!(Arc::ptr_eq(refused.former().unwrap(), &one));
        refused.give_up();
        assert!(!one.outbound.is_closed());
        // It vanished before it was answered.
        drop(devices.turn(&key).await);
        assert!(one.outbound.is_closed());
        let second = devices.turn(&key).await.take(&two);
        // The place is another's by now.
        drop(first);
        assert!(Arc::ptr_eq(devices.turn(&key).await.former().unwrap(), &two));
        drop(second);
        assert!(devices.turn(&key).await.former().is_none() && devices.by_key.lock().is_empty());
    }
}

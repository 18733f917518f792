//! Sessions that outlive their connections, as MQTT has them: whose they are, what they are subscribed to, and what of
//! their messages of QoS 2 is under way.
//!
//! What such a session reads of the logs is its durable consumers' affair; here stands what must be known to go on
//! with them: after a disconnect, a restart or a crash.
//!
//! - [`Registry`]: all of them. [`Persistent`]: one.
//! - `packets`: identifiers of QoS 2. `record`: what is on the disk, but for identifiers that came in ([`Received`]).

mod packets;
mod record;

pub use record::{Outgoing, Subscription};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::durable::Refused;
use crate::message::now_us;
use crate::received::{self, Received};
use crate::store::{OnDurable, StateValue, Store, StoreError, SubmitError};
use record::Record;

/// The space in the store.
const SPACE: &str = "$sessions";
/// After a restart nobody can have come back for a while: a session is kept for so long at least.
const GRACE: Duration = Duration::from_secs(60);

/// Whose session: a client of a principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The principal's name.
    pub principal: Arc<str>,
    /// The client identifier.
    pub client: Arc<str>,
}

/// All sessions that are kept.
pub struct Registry {
    disk: Arc<Disk>,
    all: Mutex<HashMap<Owner, Arc<Persistent>>>,
}

/// One session.
pub struct Persistent {
    /// Letters and digits, never reused: its key on the disk.
    id: Arc<str>,
    owner: Owner,
    disk: Arc<Disk>,
    state: Mutex<State>,
}

struct State {
    subscriptions: BTreeMap<String, Subscription>,
    outgoing: BTreeMap<u16, Outgoing>,
    /// Identifiers of messages of QoS 2 that came in and are not released.
    received: HashSet<u16>,
    expires_after: Duration,
    /// When its connection ended, Unix microseconds; none: there is one.
    ended_us: Option<u64>,
    /// Deleted: nothing is written any more.
    gone: bool,
}

struct Disk {
    store: Store,
    space: Arc<str>,
    received: Arc<Received>,
}

type Change = (Vec<u8>, Option<Vec<u8>>);

impl Disk {
    fn submit(&self, changes: Vec<Change>, done: Option<OnDurable>) -> Result<(), SubmitError> {
        self.store.writer().submit(|queue| {
            for (key, value) in changes {
                let value = value.map(|value| StateValue { bytes: Bytes::from(value), expires_us: None });
                queue.state(&self.space, key, value);
            }
            if let Some(done) = done {
                queue.on_durable(done);
            }
        })
    }
}

/// What the store has of a session.
#[derive(Default)]
struct Found {
    record: Option<Record>,
    outgoing: BTreeMap<u16, Outgoing>,
}

impl Found {
    fn take(&mut self, key: &str, value: &[u8]) -> serde_json::Result<()> {
        if key.is_empty() {
            self.record = Some(serde_json::from_slice(value)?);
        } else if let Ok(packet) = key.parse() {
            self.outgoing.insert(packet, serde_json::from_slice(value)?);
        }
        Ok(())
    }
}

impl Registry {
    /// Those that the store has kept.
    pub fn load(
        store: Store,
        received: Arc<Received>,
        mut identifiers: received::Found,
    ) -> Result<Arc<Self>, StoreError> {
        let pairs = store.load_space(SPACE)?;
        let disk = Arc::new(Disk { store, space: SPACE.into(), received });
        let mut found: HashMap<String, Found> = HashMap::new();
        for pair in pairs {
            let key = String::from_utf8_lossy(&pair.key).into_owned();
            let (id, packet) = key.split_once('/').unwrap_or((&key, ""));
            if let Err(error) = found.entry(id.to_owned()).or_default().take(packet, &pair.value) {
                tracing::error!(key, %error, "the record of a session cannot be read");
            }
        }
        let mut all = HashMap::new();
        for (id, found) in found {
            let received = identifiers.remove(&*id).unwrap_or_default();
            // Without its record, it is what is left of a session that was deleted.
            if let Some(session) = Persistent::restored(&disk, id.into(), found, received) {
                all.insert(session.owner.clone(), Arc::new(session));
            }
        }
        for (id, packets) in identifiers {
            if let Err(error) = disk.received.erase(&id, packets) {
                tracing::warn!(%id, %error, "what is left of a session that was deleted stays on the disk");
            }
        }
        Ok(Arc::new(Self { disk, all: Mutex::new(all) }))
    }

    /// The session of this client, which is in use from now on.
    pub fn resume(&self, owner: &Owner) -> Option<Arc<Persistent>> {
        let session = Arc::clone(self.all.lock().get(owner)?);
        let mut state = session.state.lock();
        if state.gone {
            return None;
        }
        state.ended_us = None;
        drop(state);
        Some(session)
    }

    /// A new session, unless there are `most`.
    pub fn begin(&self, owner: Owner, most: usize) -> Result<Arc<Persistent>, Refused> {
        let mut all = self.all.lock();
        if all.len() >= most && !all.contains_key(&owner) {
            return Err(Refused::Invalid(format!(
                "{most} sessions are kept beyond their connections, and no more are: connect with one that ends"
            )));
        }
        let session = Arc::new(Persistent {
            id: ulid::Ulid::generate().to_string().into(),
            owner: owner.clone(),
            disk: Arc::clone(&self.disk),
            state: Mutex::new(State {
                subscriptions: BTreeMap::new(),
                outgoing: BTreeMap::new(),
                received: HashSet::new(),
                expires_after: Duration::ZERO,
                ended_us: None,
                gone: false,
            }),
        });
        all.insert(owner, Arc::clone(&session));
        Ok(session)
    }

    /// Deletes a session. Returns what it was subscribed to.
    pub fn end(&self, session: &Arc<Persistent>) -> Vec<Subscription> {
        let mut all = self.all.lock();
        if all.get(&session.owner).is_some_and(|there| Arc::ptr_eq(there, session)) {
            all.remove(&session.owner);
        }
        drop(all);
        session.erase(&mut session.state.lock())
    }

    /// Those whose clients have stayed away for too long. To be called every second or so.
    pub fn expired(&self) -> Vec<Arc<Persistent>> {
        let (all, now) = (self.all.lock(), now_us());
        let expired = |session: &&Arc<Persistent>| {
            let mut state = session.state.lock();
            let most = u64::try_from(state.expires_after.as_micros()).unwrap_or(u64::MAX);
            let expired = state.ended_us.is_some_and(|at| now.saturating_sub(at) >= most);
            // From here on nobody resumes it.
            state.gone |= expired;
            expired
        };
        all.values().filter(expired).cloned().collect()
    }

    /// How many have no connection, and how many subscriptions these have.
    pub fn away(&self) -> (usize, usize) {
        let all = self.all.lock();
        let states = all.values().map(|session| session.state.lock());
        let away = states.filter(|state| state.ended_us.is_some()).map(|state| state.subscriptions.len());
        away.fold((0, 0), |(sessions, subscriptions), more| (sessions + 1, subscriptions + more))
    }

    /// Bounds what a start after a crash reads of the logs. To be called every second or so.
    pub fn follow(&self) {
        self.disk.received.follow();
    }

    /// Whether a session of the tenant has this very subscription.
    pub fn is_subscribed(&self, tenant: &str, filter: &str) -> bool {
        let all = self.all.lock();
        let mut own = all.values().filter(|session| &*session.owner.tenant == tenant);
        own.any(|session| {
            let state = session.state.lock();
            !state.gone && state.subscriptions.contains_key(filter)
        })
    }
}

impl Persistent {
    fn restored(disk: &Arc<Disk>, id: Arc<str>, found: Found, received: HashSet<u16>) -> Option<Self> {
        let Found { record, outgoing } = found;
        let record = record?;
        let expires_after = Duration::from_secs(record.expires_after_s);
        let late = now_us().saturating_sub(micros(expires_after.saturating_sub(GRACE)));
        let subscriptions = record.subscriptions.into_iter();
        let state = State {
            subscriptions: subscriptions.map(|one| (one.filter.clone(), one)).collect(),
            outgoing,
            received,
            expires_after,
            // A connection that there was has ended with the router.
            ended_us: Some(record.ended_us.unwrap_or_else(now_us).max(late)),
            gone: false,
        };
        let owner = Owner {
            tenant: record.tenant.into(),
            principal: record.principal.into(),
            client: record.client.into(),
        };
        Some(Self { id, owner, disk: Arc::clone(disk), state: Mutex::new(state) })
    }

    /// Letters and digits, never reused.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What it is subscribed to.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        self.state.lock().subscriptions.values().cloned().collect()
    }

    /// Keeps a subscription; it is on the disk when this is done.
    pub async fn subscribe(&self, subscription: Subscription) -> Result<(), Refused> {
        let saved = {
            let mut state = self.state.lock();
            state.subscriptions.insert(subscription.filter.clone(), subscription);
            self.save(&state)?
        };
        wait(saved).await
    }

    /// Forgets a subscription; also the disk has when this is done. None: there was none.
    pub async fn unsubscribe(&self, filter: &str) -> Result<Option<Subscription>, Refused> {
        let (removed, saved) = {
            let mut state = self.state.lock();
            let Some(removed) = state.subscriptions.remove(filter) else { return Ok(None) };
            (removed, self.save(&state)?)
        };
        wait(saved).await.map(|()| Some(removed))
    }

    /// It is in use, and will be kept for so long once that ends.
    pub fn keep(&self, expires_after: Duration) {
        self.note(expires_after, None);
    }

    /// Its connection has ended: it is kept for so long.
    pub fn park(&self, expires_after: Duration) {
        self.note(expires_after, Some(now_us()));
    }

    fn note(&self, expires_after: Duration, ended_us: Option<u64>) {
        let mut state = self.state.lock();
        (state.expires_after, state.ended_us) = (expires_after, ended_us);
        if let Err(error) = self.save(&state) {
            tracing::warn!(id = %self.id, %error, "how long a session is kept is not written");
        }
    }

    /// To be called under the lock, so that no record is overtaken by an older one.
    fn save(&self, state: &State) -> Result<oneshot::Receiver<Result<(), StoreError>>, Refused> {
        if state.gone {
            return Err(Refused::Invalid("the session has ended".into()));
        }
        let Owner { tenant, principal, client } = &self.owner;
        let record = Record {
            tenant: tenant.to_string(),
            principal: principal.to_string(),
            client: client.to_string(),
            subscriptions: state.subscriptions.values().cloned().collect(),
            expires_after_s: state.expires_after.as_secs(),
            ended_us: state.ended_us,
        };
        let value = serde_json::to_vec(&record).unwrap_or_default();
        let (done, saved) = oneshot::channel();
        let done: OnDurable = Box::new(move |result| drop(done.send(result)));
        self.disk.submit(vec![(self.id.as_bytes().to_vec(), Some(value))], Some(done))?;
        Ok(saved)
    }

    fn erase(&self, state: &mut State) -> Vec<Subscription> {
        state.gone = true;
        let mut changes = vec![(self.id.as_bytes().to_vec(), None)];
        changes.extend(state.outgoing.keys().map(|packet| (self.packet_key(*packet), None)));
        let received = self.disk.received.erase(&self.id, state.received.drain());
        if let Err(error) = received.and_then(|()| self.disk.submit(changes, None)) {
            tracing::warn!(id = %self.id, %error, "the record of a session that has ended stays on the disk");
        }
        state.outgoing.clear();
        std::mem::take(&mut state.subscriptions).into_values().collect()
    }
}

async fn wait(saved: oneshot::Receiver<Result<(), StoreError>>) -> Result<(), Refused> {
    let result = saved.await.map_err(|_| Refused::ShuttingDown)?;
    result.map_err(|error| Refused::Unavailable(error.to_string()))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl From<&Outgoing> for crate::durable::Ack {
    /// The acknowledgement that the message waits for.
    fn from(outgoing: &Outgoing) -> Self {
        Self {
            name: outgoing.consumer.clone(),
            shared: outgoing.shared,
            log: outgoing.log.clone(),
            epoch: outgoing.epoch,
            offsets: vec![outgoing.offset],
            up_to: false,
        }
    }
}

#[cfg(test)]
mod tests;

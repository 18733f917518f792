//! Who gets a message: the index of subscriptions, and the hand-over to session queues.

mod index;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::message::Routed;
use crate::session::{Offer, Pushed, Session, Subscription};
use index::Index;

/// Topics whose readers a [`Readers`] remembers; beyond it the memory starts anew.
const REMEMBERED: usize = 4_096;

/// The subscriptions of all sessions.
#[derive(Default)]
pub struct Router {
    index: RwLock<Index>,
    generation: AtomicU64,
}

/// The readers of recent topics, valid until any subscription changes. One per log, under its lock.
#[derive(Default)]
pub struct Readers {
    generation: u64,
    by_topic: HashMap<Arc<str>, Arc<[Reader]>>,
}

/// A session that reads a topic.
#[derive(Debug)]
struct Reader {
    session: Arc<Session>,
    /// Empty: it gets messages as they are published. Else all of its matching subscriptions began with a replay,
    /// which may not have come to the present.
    replays: Box<[Arc<Subscription>]>,
}

/// One line of `weir subscription list`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SubscriptionInfo {
    /// The pattern.
    pub pattern: Arc<str>,
    /// Sessions that hold it.
    pub sessions: usize,
}

impl Router {
    /// Adds a subscription; it takes the place of one of the same pattern, which has ended. False: there was one.
    pub fn subscribe(&self, session: &Arc<Session>, subscription: &Arc<Subscription>) -> bool {
        let mut index = self.index.write();
        let replaced = session.note_subscribed(subscription);
        index.insert(session, subscription);
        self.generation.fetch_add(1, Ordering::Release);
        replaced.is_none()
    }

    /// A replay has come to the present: readers that are remembered are looked up again.
    pub fn caught_up(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes a subscription away. False: the session did not have it.
    pub fn unsubscribe(&self, session: &Session, pattern: &str) -> bool {
        let mut index = self.index.write();
        let had = session.note_unsubscribed(pattern);
        if had {
            index.remove(pattern, &session.id);
            self.generation.fetch_add(1, Ordering::Release);
        }
        had
    }

    /// Takes all of a session's subscriptions away.
    pub fn remove(&self, session: &Session) {
        for pattern in session.subscriptions() {
            self.unsubscribe(session, &pattern);
        }
    }

    /// Enqueues to every session that has a matching subscription, once each. `log`: the position of the log that
    /// the message went to, under whose lock this is called. Returns how many sessions got it.
    pub fn dispatch(&self, readers: &mut Readers, routed: &Arc<Routed>, log: Option<usize>) -> usize {
        let readers = self.readers(readers, &routed.message.topic);
        let push = |reader: &&Reader| {
            reader.is_live(log, routed) && reader.session.outbound.push_message(routed) == Pushed::Queued
        };
        readers.iter().filter(push).count()
    }

    fn readers<'a>(&self, readers: &'a mut Readers, topic: &Arc<str>) -> &'a [Reader] {
        let generation = self.generation.load(Ordering::Acquire);
        if readers.generation != generation || readers.by_topic.len() >= REMEMBERED {
            readers.by_topic.clear();
            readers.generation = generation;
        }
        readers.by_topic.entry(Arc::clone(topic)).or_insert_with(|| self.index.read().matching(topic).into())
    }

    /// All patterns with their number of sessions, in order.
    pub fn list(&self) -> Vec<SubscriptionInfo> {
        self.index.read().list()
    }
}

impl Reader {
    /// Whether the message goes to the session now. Else it is held or comes from the log.
    fn is_live(&self, log: Option<usize>, routed: &Arc<Routed>) -> bool {
        let Some(log) = log.filter(|_| !self.replays.is_empty()) else { return true };
        // Of one session's replays only one may hold messages, or have come to the present in some logs.
        let taken = self.replays.iter().map(|replay| replay.offer(log, routed));
        taken.into_iter().find(|offer| *offer != Offer::Later) == Some(Offer::Live)
    }
}

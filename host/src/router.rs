//! Who gets a message: the index of subscriptions, and the hand-over to session queues. And who is present:
//! subscribed to just one topic.

mod index;
mod presence;

pub use presence::{Present, PresentMember};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::message::{Routed, Run};
use crate::session::{Offer, Overflow, Pushed, Session, Subscription};
use index::Index;
use presence::Presence;
use weir_contract::topic::Pattern;

/// Topics whose readers a [`Readers`] remembers; beyond it the memory starts anew.
const REMEMBERED: usize = 4_096;

/// The subscriptions of all sessions.
#[derive(Default)]
pub struct Router {
    index: RwLock<Index>,
    generation: AtomicU64,
    /// Locked while the index is.
    presence: Mutex<Presence>,
    delivery: Vec<(Pattern, Overflow)>,
}

/// The readers of recent topics, valid until any subscription changes. One per log, under its lock.
#[derive(Default)]
pub struct Readers {
    generation: u64,
    by_topic: HashMap<Arc<str>, OfTopic>,
}

/// The readers of one topic.
struct OfTopic {
    overflow: Overflow,
    readers: Arc<[Reader]>,
}

/// A session that reads a topic.
#[derive(Debug)]
struct Reader {
    session: Arc<Session>,
    /// Empty: it gets messages as they are published. Else all of its matching subscriptions began with a replay,
    /// which may not have come to the present.
    replays: Box<[Arc<Subscription>]>,
    /// Those of its matching subscriptions whose retained messages are on their way.
    retained: Box<[Arc<Subscription>]>,
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
    /// No subscriptions yet. `delivery`: the overflow policies of topics, the first pattern that matches wins, else
    /// it is `disconnect`.
    pub fn new(delivery: Vec<(Pattern, Overflow)>) -> Self {
        Self { delivery, ..Self::default() }
    }

    /// Adds a subscription; it takes the place of one of the same pattern, which has ended. False: there was one.
    /// `instead_of`: a session that gives the pattern up in the same step, so that every message goes to one of them.
    pub fn subscribe(
        &self,
        session: &Arc<Session>,
        subscription: &Arc<Subscription>,
        instead_of: Option<&Session>,
    ) -> bool {
        let pattern = subscription.pattern().as_str();
        let mut index = self.index.write();
        let new = session.note_subscribed(subscription).is_none();
        index.insert(session, subscription);
        let former = instead_of.filter(|former| former.id != session.id && former.note_unsubscribed(pattern));
        if let Some(former) = former {
            index.remove(pattern, &former.id);
        }
        self.generation.fetch_add(1, Ordering::Release);
        if new || former.is_some() {
            let mut presence = self.presence.lock();
            drop(index);
            if new {
                presence.subscribed(session, &pattern.into());
            }
            if let Some(former) = former {
                presence.unsubscribed(former, pattern);
            }
        }
        new
    }

    /// Readers that are remembered are looked up again: a replay has come to the present, or retained messages begin
    /// or end their way.
    pub fn readers_changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Takes a subscription away. False: the session did not have it.
    pub fn unsubscribe(&self, session: &Session, pattern: &str) -> bool {
        let mut index = self.index.write();
        let had = session.note_unsubscribed(pattern);
        if had {
            index.remove(pattern, &session.id);
            self.generation.fetch_add(1, Ordering::Release);
            let mut presence = self.presence.lock();
            drop(index);
            presence.unsubscribed(session, pattern);
        }
        had
    }

    /// Takes all of a session's subscriptions away.
    pub fn remove(&self, session: &Session) {
        for pattern in session.subscriptions() {
            self.unsubscribe(session, &pattern);
        }
    }

    /// Whether the session is told who joins and leaves the topics that this pattern of its matches. To be
    /// said before it subscribes: then it hears of itself, too.
    pub fn watch(&self, session: &Arc<Session>, pattern: &str, watch: bool) {
        self.presence.lock().watch(session, &pattern.into(), watch);
    }

    /// Whether [`watch`](Self::watch) was said of this pattern.
    pub fn watches(&self, session: &Session, pattern: &str) -> bool {
        self.presence.lock().watches(session, pattern)
    }

    /// Shows `see` who is present at a topic. Nobody joins or leaves meanwhile, so what `see` puts into a
    /// session's queue stands there among the session's events in the order in which it happened.
    pub fn present<R>(&self, topic: &str, see: impl FnOnce(&Present) -> R) -> R {
        let presence = self.presence.lock();
        see(&presence.at(topic))
    }

    /// Enqueues to every session that has a matching subscription, once each. `log`: the position of the log that
    /// the message went to, under whose lock this is called. Returns how many sessions got it.
    pub fn dispatch(&self, readers: &mut Readers, routed: &Arc<Routed>, log: Option<usize>) -> usize {
        let OfTopic { overflow, readers } = self.readers(readers, &routed.message.topic);
        readers.iter().filter(|reader| reader.push(routed, *overflow, log)).count()
    }

    /// As [`dispatch`](Self::dispatch), for messages that go together. `woken` gets the sessions whose writers are to be
    /// woken.
    pub fn dispatch_run(
        &self,
        readers: &mut Readers,
        run: &Arc<Run>,
        log: Option<usize>,
        woken: &mut Vec<Arc<Session>>,
    ) {
        let Some(first) = run.messages().first() else { return };
        let OfTopic { overflow, readers } = self.readers(readers, &first.message.topic);
        for reader in readers.iter() {
            if !reader.replays.is_empty() || !reader.retained.is_empty() {
                for routed in run.messages() {
                    reader.push(routed, *overflow, log);
                }
            } else if reader.session.outbound.push_run(run, *overflow) {
                woken.push(Arc::clone(&reader.session));
            }
        }
    }

    /// What is done with a message of this topic when its reader's queue is full.
    pub fn overflow(&self, topic: &str) -> Overflow {
        let rule = self.delivery.iter().find(|(pattern, _)| pattern.matches(topic));
        rule.map(|(_, overflow)| *overflow).unwrap_or_default()
    }

    fn readers<'a>(&self, readers: &'a mut Readers, topic: &Arc<str>) -> &'a OfTopic {
        let generation = self.generation.load(Ordering::Acquire);
        if readers.generation != generation || readers.by_topic.len() >= REMEMBERED {
            readers.by_topic.clear();
            readers.generation = generation;
        }
        let find = || {
            let readers = self.index.read().matching(topic).into();
            OfTopic { overflow: self.overflow(topic), readers }
        };
        readers.by_topic.entry(Arc::clone(topic)).or_insert_with(find)
    }

    /// All patterns with their number of sessions, in order.
    pub fn list(&self) -> Vec<SubscriptionInfo> {
        self.index.read().list()
    }
}

impl Reader {
    /// Enqueues a message. False: it does not come now, or is lost.
    fn push(&self, routed: &Arc<Routed>, overflow: Overflow, log: Option<usize>) -> bool {
        self.is_live(log, routed) && {
            let outbound = &self.session.outbound;
            self.retained.iter().for_each(|held| held.send_before(routed, outbound, overflow));
            outbound.push_message(routed, overflow) == Pushed::Queued
        }
    }

    /// Whether the message goes to the session now. Else it is held or comes from the log.
    fn is_live(&self, log: Option<usize>, routed: &Arc<Routed>) -> bool {
        let Some(log) = log.filter(|_| !self.replays.is_empty()) else { return true };
        // Of one session's replays only one may hold messages, or have come to the present in some logs.
        let mut offers = self.replays.iter().map(|replay| replay.offer(log, routed));
        offers.find(|offer| *offer != Offer::Later) == Some(Offer::Live)
    }
}

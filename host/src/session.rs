//! One connection of a principal: its bounded outbound queue and what it subscribed to.
//!
//! The gateway's writer drains the queue; the sequencer and the shards fill it and never wait. A reader
//! that falls behind its bounds is cut off, or loses messages and is told which, as the policy of their topics
//! says; so it delays nobody.

mod gap;
mod outbound;
mod permissions;
mod queue;
mod registry;
mod sending;
mod subscription;

pub use crate::config::Overflow;
pub use gap::{Gap, Span};
pub use outbound::{Backlog, Item, Load, Outbound, OutboundLimits, Pushed};
pub use registry::{ConnectionInfo, Lost, Sessions};
pub use sending::Sent;
pub use subscription::{Gated, Offer, Subscription};

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::Principal;
use crate::metrics::GatewayMetrics;
use permissions::Permissions;

/// Something that the router has to say to a connection, unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// A standing subscription was ended, since the principal may no longer have it.
    Unsubscribed {
        /// The pattern.
        pattern: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A principal joined a topic that the session watches, or left it.
    Presence {
        /// Else it left.
        joined: bool,
        /// The topic.
        topic: &'a str,
        /// The principal's name.
        name: &'a str,
        /// Its origin.
        origin: &'a str,
        /// When, Unix microseconds.
        time_us: u64,
        /// Some: with this one the topic has more members than anybody is told of (true), or has not any
        /// more (false).
        more: Option<bool>,
    },
    /// The connection does not read a durable consumer any more.
    ConsumerEnded {
        /// Its name.
        name: &'a str,
        /// It is a group.
        shared: bool,
        /// What it reads.
        pattern: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The replay of a subscription has come to the present.
    CaughtUp {
        /// The pattern.
        pattern: &'a str,
    },
    /// All retained messages that a subscription begins with are before this. For gateways whose clients come back
    /// by themselves and have to say whether they have them.
    RetainedSent,
    /// A replay found messages gone, since retention was quicker or the disk is damaged.
    Missing {
        /// The log.
        log: &'a str,
        /// The life of the log.
        epoch: u64,
        /// The first offset that is gone.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// A consumer's messages were gone from the log before they were delivered.
    ConsumerGap {
        /// Its name.
        name: &'a str,
        /// It is a group.
        shared: bool,
        /// The log.
        log: &'a str,
        /// The life of the log in which `to` was given.
        epoch: u64,
        /// The first offset.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Messages were not delivered.
    Gap(&'a Gap),
}

/// How a gateway writes a [`Notice`]; nothing, if its protocol has no such thing.
pub type NoticeEncoder = fn(Notice<'_>) -> bytes::Bytes;

/// An open connection, or the span of one HTTP request.
#[derive(Debug)]
pub struct Session {
    /// 1 to 32 bytes of `A-Za-z0-9`, never reused.
    pub id: Arc<str>,
    /// Who.
    pub principal: Principal,
    /// Sessions with the same number are one publisher: served by one shard, so that it keeps its order, and
    /// counted together against its rate.
    pub affinity: u64,
    /// The gateway that speaks its protocol.
    pub gateway: &'static str,
    /// Peer address, after trusted proxies.
    pub address: String,
    /// Since when, Unix microseconds.
    pub opened_us: u64,
    /// What waits to be written to the peer.
    pub outbound: Outbound,
    /// Writes the router's notices in the gateway's encoding; none for HTTP requests.
    pub notices: Option<NoticeEncoder>,
    /// Held by the replay that is under way: those of one session come one after the other.
    pub replaying: tokio::sync::Mutex<()>,
    metrics: Option<Arc<GatewayMetrics>>,
    subscriptions: Mutex<BTreeMap<Arc<str>, Arc<Subscription>>>,
    permissions: Permissions,
}

impl Session {
    /// A session that nobody routes to yet.
    pub fn new(
        id: Arc<str>,
        principal: Principal,
        gateway: &'static str,
        address: String,
        limits: OutboundLimits,
        notices: Option<NoticeEncoder>,
    ) -> Self {
        Self {
            id,
            affinity: hash(&(&principal.tenant, &principal.name)),
            principal,
            gateway,
            address,
            opened_us: crate::message::now_us(),
            outbound: Outbound::new(limits),
            notices,
            replaying: tokio::sync::Mutex::default(),
            metrics: None,
            subscriptions: Mutex::default(),
            permissions: Permissions::default(),
        }
    }

    /// Of a client that names itself: several that share a key are several publishers.
    pub fn of_client(mut self, client_id: Option<&str>) -> Self {
        if let Some(client_id) = client_id {
            self.affinity = hash(&(&self.principal.tenant, &self.principal.name, client_id));
        }
        self
    }

    /// Also counted among all sessions of its gateway.
    pub fn counted(mut self, metrics: Arc<GatewayMetrics>) -> Self {
        self.outbound.count_in(Arc::clone(&metrics));
        self.metrics = Some(metrics);
        self
    }

    /// Counters of its gateway; none: it is not [`counted`](Self::counted).
    pub fn metrics(&self) -> Option<&Arc<GatewayMetrics>> {
        self.metrics.as_ref()
    }

    /// Patterns that this session holds, in order.
    pub fn subscriptions(&self) -> Vec<Arc<str>> {
        self.subscriptions.lock().keys().cloned().collect()
    }

    /// Number of patterns held.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.lock().len()
    }

    /// Whether this very pattern is held.
    pub fn is_subscribed(&self, pattern: &str) -> bool {
        self.subscriptions.lock().contains_key(pattern)
    }

    /// The subscription of this very pattern.
    pub fn held(&self, pattern: &str) -> Option<Arc<Subscription>> {
        self.subscriptions.lock().get(pattern).cloned()
    }

    /// Whether a replay is under way or waits for its turn.
    pub fn is_replaying(&self) -> bool {
        self.subscriptions.lock().values().any(|held| !held.is_live())
    }

    /// The other subscriptions by which messages of a replay may have come.
    pub fn others(&self, than: &Arc<Subscription>) -> Vec<Arc<Subscription>> {
        let held = self.subscriptions.lock();
        let meets = |other: &&Arc<Subscription>| {
            !Arc::ptr_eq(other, than) && other.pattern().overlaps(than.pattern())
        };
        held.values().filter(meets).cloned().collect()
    }

    /// Notes a subscription; returns the one of the same pattern that it replaces, which has ended.
    pub(crate) fn note_subscribed(&self, subscription: &Arc<Subscription>) -> Option<Arc<Subscription>> {
        let pattern = subscription.pattern().as_str().into();
        let replaced = self.subscriptions.lock().insert(pattern, Arc::clone(subscription));
        replaced.inspect(|replaced| replaced.end())
    }

    /// Forgets a pattern, whose replay ends. False: it was not there.
    pub(crate) fn note_unsubscribed(&self, pattern: &str) -> bool {
        let removed = self.subscriptions.lock().remove(pattern);
        removed.inspect(|removed| removed.end()).is_some()
    }

    /// What `authorize` answered for this topic before, under the same authority.
    pub(crate) fn may_publish(&self, authority: (u64, u64), topic: &str) -> Option<bool> {
        self.permissions.may_publish(authority, topic)
    }

    /// Remembers what `authorize` answered for `publish`.
    pub fn remember_publish(&self, authority: (u64, u64), topic: &str, allowed: bool) {
        self.permissions.remember(authority, topic, allowed);
    }

    /// Keeps what waits for the peer from going out until the answer is dropped.
    pub fn hold(self: &Arc<Self>) -> Held {
        self.outbound.hold();
        Held(Arc::clone(self))
    }

    /// Tells the peer, if it can be told and the gateway has words for it.
    pub fn notify(&self, notice: Notice<'_>) {
        let frame = self.notices.map(|encode| encode(notice));
        if let Some(frame) = frame.filter(|frame| !frame.is_empty()) {
            self.outbound.push_control(frame);
        }
    }
}

/// A session to whose peer nothing is written: what comes for it waits, in its order and within its bounds.
#[derive(Debug)]
pub struct Held(Arc<Session>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.outbound.release();
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

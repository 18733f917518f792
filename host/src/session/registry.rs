//! All open sessions, for listing, revocation and shutdown.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Session;

/// The open sessions by id. HTTP requests are not in it.
#[derive(Debug, Default)]
pub struct Sessions {
    open: RwLock<HashMap<Arc<str>, Arc<Session>>>,
}

/// One line of `weir connection list`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConnectionInfo {
    /// Session id.
    pub id: Arc<str>,
    /// Principal's name.
    pub name: Arc<str>,
    /// Principal's origin.
    pub origin: Arc<str>,
    /// Gateway.
    pub gateway: &'static str,
    /// Peer address.
    pub address: String,
    /// Account id, if any.
    pub account: Option<Arc<str>>,
    /// Since when, Unix microseconds.
    pub opened_us: u64,
    /// Patterns subscribed to.
    pub subscriptions: Vec<Arc<str>>,
    /// Messages and answers waiting for the peer.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Messages sent.
    pub delivered: u64,
    /// Messages left out because they had expired while they waited.
    pub expired: u64,
    /// Messages lost because the peer read too slowly.
    pub lost: u64,
    /// The same by the policy of their topics.
    pub lost_by: Lost,
}

/// Lost messages by overflow policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lost {
    /// Lost under `drop-oldest`.
    pub drop_oldest: u64,
    /// Lost under `drop-new`.
    pub drop_new: u64,
    /// Lost under `latest-only`.
    pub latest_only: u64,
}

impl Sessions {
    /// Adds an open session.
    pub fn insert(&self, session: &Arc<Session>) {
        self.open.write().insert(Arc::clone(&session.id), Arc::clone(session));
    }

    /// Removes a session that ended.
    pub fn remove(&self, id: &str) -> bool {
        self.open.write().remove(id).is_some()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.read().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A snapshot.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.open.read().values().cloned().collect()
    }

    /// Closes every session that `doomed` picks; returns how many. The gateways end them.
    pub fn close_where(&self, doomed: impl Fn(&Session) -> bool, code: u16, reason: &str) -> usize {
        let chosen: Vec<_> = self.open.read().values().filter(|s| doomed(s)).cloned().collect();
        for session in &chosen {
            session.outbound.close(code, reason);
        }
        chosen.len()
    }

    /// What `weir connection list` shows, oldest first.
    pub fn list(&self) -> Vec<ConnectionInfo> {
        let mut all: Vec<_> = self.all().iter().map(|session| info(session)).collect();
        all.sort_by(|a, b| (a.opened_us, &a.id).cmp(&(b.opened_us, &b.id)));
        all
    }
}

fn info(session: &Session) -> ConnectionInfo {
    let backlog = session.outbound.backlog();
    let [drop_oldest, drop_new, latest_only] = backlog.lost;
    ConnectionInfo {
        id: Arc::clone(&session.id),
        name: Arc::clone(&session.principal.name),
        origin: Arc::clone(&session.principal.origin),
        gateway: session.gateway,
        address: session.address.clone(),
        account: session.principal.account.clone(),
        opened_us: session.opened_us,
        subscriptions: session.subscriptions(),
        queued: backlog.items,
        queued_bytes: backlog.bytes,
        delivered: backlog.delivered,
        expired: backlog.expired,
        lost: backlog.lost.iter().sum(),
        lost_by: Lost { drop_oldest, drop_new, latest_only },
    }
}

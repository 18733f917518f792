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
    let (queued, queued_bytes) = session.outbound.backlog();
    ConnectionInfo {
        id: Arc::clone(&session.id),
        name: Arc::clone(&session.principal.name),
        origin: Arc::clone(&session.principal.origin),
        gateway: session.gateway,
        address: session.address.clone(),
        account: session.principal.account.clone(),
        opened_us: session.opened_us,
        subscriptions: session.subscriptions(),
        queued,
        queued_bytes,
    }
}

//! Tasks that carry news from one part to another.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::accounts::{LOGIN_CHANGED, is_login};
use crate::durable::{KEEP_EVERY, Registry};
use crate::ingress::Ingress;
use crate::message::now_us;
use crate::metrics::Readiness;
use crate::plugin::AuthSlot;
use crate::sequencer::Sequencer;
use crate::session::Session;

/// How often expired sessions are ended, the rates of quiet publishers forgotten, and readiness looked at.
const LOOK: Duration = Duration::from_secs(1);

/// All of them.
pub(super) struct Background {
    tasks: tokio::task::JoinSet<()>,
}

impl Background {
    pub(super) fn start(parts: &Parts, ready: &Arc<Readiness>, closing: &CancellationToken) -> Self {
        let mut tasks = tokio::task::JoinSet::new();
        for log in parts.store.logs() {
            let (mut durable, consumers) = (log.durable_watch(), Arc::clone(&parts.consumers));
            let gauge = parts.metrics.log(log.name()).durable;
            tasks.spawn(until(closing.clone(), async move {
                while durable.changed().await.is_ok() {
                    gauge.set(i64::try_from(*durable.borrow_and_update()).unwrap_or(i64::MAX));
                    consumers.wake();
                }
            }));
        }
        tasks.spawn(until(closing.clone(), chain_changes(parts)));
        tasks.spawn(until(closing.clone(), account_changes(parts)));
        tasks.spawn(until(closing.clone(), departures(parts)));
        tasks.spawn(until(closing.clone(), expiries(parts.ingress.clone())));
        tasks.spawn(until(closing.clone(), consumers(Arc::clone(&parts.durable))));
        tasks.spawn(until(closing.clone(), sessions(parts.ingress.clone())));
        tasks.spawn(until(closing.clone(), retained(Arc::clone(&parts.sequencer))));
        tasks.spawn(until(closing.clone(), readiness(parts, Arc::clone(ready))));
        Self { tasks }
    }

    pub(super) async fn end(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn until(closing: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = closing.cancelled() => {}
        () = task => {}
    }
}

/// A new chain: storage threads follow it, and permissions are asked for again if its auth part changed.
fn chain_changes(parts: &Parts) -> impl Future<Output = ()> + use<> {
    let mut changes = parts.plugins.changes();
    let chain = Arc::clone(parts.plugins.chain());
    let (consumers, ingress) = (Arc::clone(&parts.consumers), parts.ingress.clone());
    async move {
        let mut authority = chain.load().authority;
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            let now = chain.load_full();
            let (consumers, adopted) = (Arc::clone(&consumers), Arc::clone(&now));
            drop(tokio::task::spawn_blocking(move || consumers.adopt(&adopted)).await);
            if std::mem::replace(&mut authority, now.authority) != now.authority {
                ingress.recheck().await;
            }
        }
    }
}

/// A key was revoked, or a login changed: its sessions end, the others' subscriptions are asked for again.
fn account_changes(parts: &Parts) -> impl Future<Output = ()> + use<> {
    let mut changes = parts.accounts.changes();
    let ingress = parts.ingress.clone();
    async move {
        while changes.changed().await.is_ok() {
            changes.borrow_and_update();
            let of_login = |session: &Session| session.principal.account.as_deref().is_some_and(is_login);
            let fallen = |session: &Session| !ingress.stands(&session.principal) && of_login(session);
            ingress.sessions().close_where(fallen, 1008, LOGIN_CHANGED);
            end_fallen(&ingress, "key revoked");
            ingress.recheck().await;
        }
    }
}

/// Endpoints of rooms were deleted: the sessions that rest on them end. Nobody else's rights change.
fn departures(parts: &Parts) -> impl Future<Output = ()> + use<> {
    let mut departures = parts.accounts.departures();
    let ingress = parts.ingress.clone();
    async move {
        while departures.changed().await.is_ok() {
            departures.borrow_and_update();
            end_fallen(&ingress, "endpoint deleted");
        }
    }
}

fn end_fallen(ingress: &Ingress, reason: &str) {
    ingress.sessions().close_where(|session| !ingress.stands(&session.principal), 1008, reason);
}

/// Sessions end when their grant does.
async fn expiries(ingress: Ingress) {
    loop {
        tokio::time::sleep(LOOK).await;
        let now = now_us();
        let expired = |session: &Session| session.principal.expires_us.is_some_and(|at| at <= now);
        ingress.sessions().close_where(expired, 1008, "key expired");
        ingress.prune();
    }
}

/// Writes down where durable consumers stand, and deletes those that nobody reads any more.
async fn consumers(durable: Arc<Registry>) {
    let mut swept = tokio::time::Instant::now();
    loop {
        tokio::select! {
            // What changes meanwhile is written together.
            () = durable.behind() => tokio::time::sleep(KEEP_EVERY).await,
            () = tokio::time::sleep(LOOK) => {}
        }
        let sweep = swept.elapsed() >= LOOK;
        if sweep {
            swept = tokio::time::Instant::now();
        }
        let durable = Arc::clone(&durable);
        // There may be thousands: no worker of a socket shall wait for them.
        let kept = tokio::task::spawn_blocking(move || {
            durable.keep();
            if sweep {
                durable.sweep();
            }
        });
        drop(kept.await);
    }
}

/// Ends sessions that nobody came back to.
async fn sessions(ingress: Ingress) {
    loop {
        tokio::time::sleep(LOOK).await;
        ingress.sweep_persistent();
    }
}

/// Takes away retained messages that have expired.
async fn retained(sequencer: Arc<Sequencer>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let sequencer = Arc::clone(&sequencer);
        // It may wait for the lock of a log that has many readers.
        drop(tokio::task::spawn_blocking(move || sequencer.tend_retained()).await);
    }
}

/// Keeps `/readyz` true: a store that takes nothing, or a door that nobody can pass, is not ready.
fn readiness(parts: &Parts, ready: Arc<Readiness>) -> impl Future<Output = ()> + use<> {
    let (store, chain) = (parts.store.clone(), Arc::clone(parts.plugins.chain()));
    async move {
        loop {
            match store.writer().unavailable() {
                Some(error) => ready.wait("store", error.to_string()),
                None => ready.done("store"),
            }
            let auth = &chain.load().auth;
            if !auth.is_empty() && !auth.iter().any(|slot| matches!(slot, AuthSlot::Live(_))) {
                ready.wait("plugins", "no auth plugin is live: everybody is refused");
            } else {
                ready.done("plugins");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

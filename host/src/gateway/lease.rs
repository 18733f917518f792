//! A socket's place among the open connections of its listener.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::BasePath;

/// Request extension: the client's address, after trusted proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Request extension: the client's port; 0 = its proxy does not say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port(pub(crate) u16);

/// Request extension: whether the client spoke TLS, with us or with a trusted proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secure(pub(crate) bool);

/// Request extension: the name in the client's certificate, which was verified; there only where it has one, and where no
/// trusted proxy stands between.
#[derive(Clone, Debug)]
pub(crate) struct TlsName(pub(crate) Arc<str>);

/// Request extension: the listener's own path, which the request's has lost; there only where it has one.
#[derive(Clone, Debug)]
pub(crate) struct Base(pub(crate) BasePath);

/// How a listener ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// Finish what is begun, take nothing new.
    pub(super) shutdown: CancellationToken,
    /// The time for finishing is over.
    pub(super) abort: CancellationToken,
    /// Everything that must have ended before the listener has.
    pub(super) tasks: TaskTracker,
    /// Tasks whose peers take nothing.
    pub(super) stuck: Arc<AtomicUsize>,
}

impl Ending {
    /// Whether nothing is waited for but peers that take nothing.
    pub(super) fn only_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) >= self.tasks.len()
    }
}

/// A peer that takes nothing, until this is dropped.
pub(crate) struct Stuck(Arc<AtomicUsize>);

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Request extension: held by the connection, and by what the connection was upgraded to. The last one to
/// drop it frees the place.
#[derive(Clone, Debug)]
pub(crate) struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    ending: Ending,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    pub(super) fn new(place: OwnedSemaphorePermit, ending: Ending) -> Self {
        Self(Arc::new(Held { ending, _place: place }))
    }

    /// Waits until the listener is shut down.
    pub(crate) async fn shutdown(&self) {
        self.0.ending.shutdown.cancelled().await;
    }

    /// The peer takes nothing: a listener that ends does not wait for such peers alone.
    pub(crate) fn stuck(&self) -> Stuck {
        self.0.ending.stuck.fetch_add(1, Ordering::Relaxed);
        Stuck(Arc::clone(&self.0.ending.stuck))
    }

    /// Runs the rest of the connection. The listener waits for it when it shuts down, as long as it waits
    /// for anything.
    pub(crate) fn spawn(&self, rest: impl Future<Output = ()> + Send + 'static) {
        let lease = self.clone();
        // Boxed, because `select!` would make room for it twice.
        let rest = Box::pin(rest);
        self.0.ending.tasks.spawn(async move {
            tokio::select! {
                () = rest => {}
                () = lease.0.ending.abort.cancelled() => {}
            }
        });
    }
}

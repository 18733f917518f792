//! Posts to the world outside: of storage plugins, and webhooks. At least once, in order per destination.
//!
//! A storage plugin's post is committed with its writes and its cursor ([`Queue`]), and leaves the store after the
//! receiver has answered. A webhook needs no queue of its own: it reads the log, and its cursor is what it has
//! sent ([`Webhooks`]). A gateway's posts are queued as they come ([`Direct`]).

mod address;
mod client;
mod deliver;
mod direct;
mod post;
mod queue;
mod share;
mod told;
mod webhook;

pub use direct::Direct;
pub use post::{Post, RefusedPost};
pub use queue::{Grants, Queue};
pub use webhook::{WebhookError, WebhookInfo, Webhooks};

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Endpoint};
use crate::dead_letters::DeadLetters;
use crate::metrics::Metrics;
use client::Client;
use told::Told;

/// At a stop, answers to requests under way are awaited for so long: what is cut off is sent again after the start.
const GRACE: Duration = Duration::from_secs(2);

/// Pause before the store is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What all queues and webhooks share.
pub struct Outbox {
    options: config::Outbox,
    client: Client,
    dead_letters: Arc<DeadLetters>,
    metrics: Arc<Metrics>,
    runtime: Handle,
    tasks: TaskTracker,
    /// No attempt begins any more.
    closing: CancellationToken,
    /// Attempts under way end.
    aborting: CancellationToken,
}

impl Outbox {
    /// Nothing is sent yet. Err: TLS cannot be set up. Requests are made on `runtime`.
    pub fn new(
        options: config::Outbox,
        dead_letters: Arc<DeadLetters>,
        metrics: Arc<Metrics>,
        runtime: Handle,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            client: Client::new(&options)?,
            options,
            dead_letters,
            metrics,
            runtime,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            aborting: CancellationToken::new(),
        })
    }

    /// Whether a post may go there that nobody has granted: never to an address that is neither public nor in one
    /// of the operator's networks. Host names are checked when they are resolved.
    pub fn may_reach(&self, endpoint: &Endpoint) -> bool {
        endpoint.literal().is_none_or(|address| address::allows(&self.options.networks, address))
    }

    /// Stops sending; what was not answered stays in the store. Blocks: not on an async thread.
    pub fn stop(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.runtime.block_on(async {
            if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
                self.aborting.cancel();
                self.tasks.wait().await;
            }
        });
    }
}

/// Does something with the store, off the async threads, until it works. None: `closing`.
async fn insist<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    told: &Told,
    closing: &CancellationToken,
    work: Arc<impl Fn() -> Result<T, E> + Send + Sync + 'static>,
) -> Option<T> {
    loop {
        let work = Arc::clone(&work);
        match tokio::task::spawn_blocking(move || work()).await.ok()? {
            Ok(done) => return Some(done),
            Err(error) => told.waits(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(STORE_PAUSE) => {}
            () = closing.cancelled() => return None,
        }
    }
}

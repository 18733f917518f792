//! Posts that a gateway makes for its clients: the webhooks of rooms. Whoever makes one never waits. A task writes
//! them into a key space of the store, from where they are sent as those of storage plugins are: at least once, in
//! order per destination, with backoff, over restarts, and only where the operator lets posts go.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::post::Post;
use super::queue::{Grants, Queue};
use super::{Outbox, insist};
use crate::config::Endpoint;
use crate::metrics::OutboxMetrics;
use crate::store::{StorageSpace, Store, StoreError};

/// In metrics and dead letters. No plugin can be called so.
const NAME: &str = "gateway:rooms";
/// Its key space.
const SPACE: &str = "$gateway.rooms";
/// Posts that may wait for the store.
const HASTE: usize = 256;
/// Of all posts that may wait, those to one destination take so large a part at most: a dead receiver shall not take
/// the place of the others.
const SHARE: usize = 4;
/// Posts that are written at once.
const BATCH: usize = 64;

/// Takes posts. Clones share the queue.
#[derive(Clone)]
pub struct Direct {
    outbox: Arc<Outbox>,
    posts: Sender<Post>,
    metrics: OutboxMetrics,
    /// Kept until the store takes posts no more.
    waiting: Arc<Mutex<Option<Receiver<Post>>>>,
    queue: Arc<Queue>,
    space: Arc<StorageSpace>,
}

impl Direct {
    /// Takes up what waits, and begins to send it. Blocks.
    pub fn open(outbox: &Arc<Outbox>, store: &Store) -> Result<Self, StoreError> {
        let space = Arc::new(store.storage_space(SPACE)?);
        let grants = Grants { to: Vec::new(), elsewhere: true };
        let queue = Arc::new(Queue::open(outbox, &NAME.into(), &space, grants)?);
        let (posts, waiting) = channel(HASTE);
        let metrics = outbox.metrics.outbox(NAME);
        let waiting = Arc::new(Mutex::new(Some(waiting)));
        Ok(Self { outbox: Arc::clone(outbox), posts, metrics, waiting, queue, space })
    }

    /// Begins to take posts, until the outbox stops.
    pub fn run(&self) {
        if let Some(posts) = self.waiting.lock().take() {
            let direct = self.clone();
            self.outbox.tasks.spawn_on(async move { direct.take_all(posts).await }, &self.outbox.runtime);
        }
    }

    /// Whether posts may go there. Host names are checked when they are resolved.
    pub fn may_reach(&self, endpoint: &Endpoint) -> bool {
        self.outbox.may_reach(endpoint)
    }

    /// Takes a post, or counts and tells that there is no room for it. Never blocks.
    pub fn post(&self, post: Post) {
        match self.posts.try_send(post) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(post)) => self.lose(&post, "more come than the store takes"),
        }
    }

    async fn take_all(self, mut posts: Receiver<Post>) {
        let closing = self.outbox.closing.clone();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                _ = posts.recv_many(&mut batch, BATCH) => {}
                () = closing.cancelled() => return,
            }
            if batch.is_empty() || self.write(batch).await.is_none() {
                return;
            }
        }
    }

    /// None: the outbox is stopped.
    async fn write(&self, batch: Vec<Post>) -> Option<()> {
        let mut taken = Vec::with_capacity(batch.len());
        for post in batch {
            let most = (self.outbox.options.max_posts / SHARE).max(1);
            let destination = post.endpoint.destination();
            let same = taken.iter().filter(|one: &&Post| one.endpoint.destination() == destination).count();
            if self.queue.bound_for(&destination) + same >= most {
                self.lose(&post, "its receiver does not keep up");
                continue;
            }
            taken.push(post);
            if !self.queue.fits(&taken)
                && let Some(post) = taken.pop()
            {
                self.lose(&post, "too many wait to be sent");
            }
        }
        let mut numbered = self.queue.number(&taken);
        let (space, writes) = (Arc::clone(&self.space), numbered.take_writes());
        let commit = Arc::new(move || space.commit(&writes, &[]));
        insist(NAME, &self.outbox.closing, commit).await?;
        self.queue.committed(numbered);
        Some(())
    }

    fn lose(&self, post: &Post, reason: &str) {
        self.metrics.full.inc();
        tracing::warn!(outbox = NAME, destination = %post.endpoint, reason, "a post of a room is not sent");
    }
}

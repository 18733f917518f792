//! Posts that a gateway makes for its clients: the webhooks of rooms. Whoever makes one never waits. A task writes
//! them into a key space of the store, from where they are sent as those of storage plugins are: at least once, in
//! order per destination, with backoff, over restarts, and only where the operator lets posts go. Each owner and each
//! destination has a share of what may wait.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::post::Post;
use super::queue::{Grants, Queue};
use super::share::{Amount, Owner, Shares, leaves_room};
use super::told::Refusal;
use super::{Outbox, insist};
use crate::accounts::{self, Accounts};
use crate::config::Endpoint;
use crate::store::{StorageSpace, Store, StoreError};

/// In metrics and dead letters. No plugin can be called so.
const NAME: &str = "gateway:rooms";
/// Its key space.
const SPACE: &str = "$gateway.rooms";
/// What may wait for the store.
const HASTE: Amount = Amount { posts: 1_024, bytes: 64 << 20 };
/// Posts that are written at once.
const BATCH: usize = 64;

/// Takes posts. Clones share the queue.
#[derive(Clone)]
pub struct Direct {
    outbox: Arc<Outbox>,
    posts: Sender<Post>,
    /// Kept until the store takes posts no more.
    waiting: Arc<Mutex<Option<Receiver<Post>>>>,
    /// What waits for the store, by whom.
    haste: Arc<Mutex<Shares>>,
    queue: Arc<Queue>,
    space: Arc<StorageSpace>,
}

impl Direct {
    /// Takes up what waits, and begins to send it; what was made for an endpoint that `accounts` have no more is not sent.
    /// Blocks.
    pub fn open(outbox: &Arc<Outbox>, store: &Store, accounts: &Arc<Accounts>) -> Result<Self, StoreError> {
        let space = Arc::new(store.storage_space(SPACE)?);
        let grants = Grants { to: Vec::new(), elsewhere: true };
        let queue = Arc::new(Queue::open_for(outbox, NAME, &space, grants, Some(Arc::clone(accounts)))?);
        let (posts, waiting) = channel(HASTE.posts);
        let waiting = Arc::new(Mutex::new(Some(waiting)));
        let (outbox, haste) = (Arc::clone(outbox), Arc::default());
        Ok(Self { outbox, posts, waiting, haste, queue, space })
    }

    /// Begins to take posts, until the outbox stops.
    pub fn run(&self) {
        if let Some(posts) = self.waiting.lock().take() {
            let direct = self.clone();
            self.outbox.tasks.spawn_on(async move { direct.take_all(posts).await }, &self.outbox.runtime);
        }
    }

    /// Takes JSON that is to be posted for an endpoint, or counts and tells that there is no room for it. Never blocks.
    pub fn post(&self, endpoint: &accounts::Endpoint, url: Endpoint, body: Vec<u8>) {
        let owner = Owner::of(&endpoint.room.tenant, &endpoint.room.owner);
        let post = Post::json(url, &owner.key(&endpoint.id), body);
        // Host names are checked when they are resolved.
        if !self.outbox.may_reach(&post.endpoint) {
            return self.lose(&post, Refusal::Private);
        }
        if !self.hurry(owner, post.body.len()) {
            return self.lose(&post, Refusal::Store);
        }
        let (post, reason) = match self.posts.try_send(post) {
            Ok(()) => return,
            Err(TrySendError::Full(post)) => (post, Refusal::Store),
            Err(TrySendError::Closed(post)) => (post, Refusal::Stopping),
        };
        self.haste.lock().remove(owner, post.body.len());
        self.lose(&post, reason);
    }

    /// Whether one more of an owner may wait for the store, where it is counted then. What waits there takes memory: the
    /// first of an owner has what the others leave, and no more.
    fn hurry(&self, owner: Owner, bytes: usize) -> bool {
        let mut haste = self.haste.lock();
        let (own, all) = (haste.of(owner), haste.all());
        let fits = match own.posts {
            0 => all.posts == 0 || all.and(bytes).is_within(HASTE),
            _ => leaves_room(own, all, bytes, HASTE),
        };
        if fits {
            haste.add(owner, bytes);
        }
        fits
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
            if let Some(owner) = post.owner() {
                self.haste.lock().remove(owner, post.body.len());
            }
            if let Some(reason) = self.beyond_its_share(&post, &taken) {
                self.lose(&post, reason);
                continue;
            }
            taken.push(post);
        }
        let mut numbered = self.queue.number(&taken);
        let (space, writes) = (Arc::clone(&self.space), numbered.take_writes());
        let commit = Arc::new(move || space.commit(&writes, &[]));
        insist(self.queue.told(), &self.outbox.closing, commit).await?;
        self.queue.committed(numbered);
        Some(())
    }

    /// Why a post may not wait beside those that do, and those that were `taken` before it. The first of an owner always
    /// may: owners are the operator's to make.
    fn beyond_its_share(&self, post: &Post, taken: &[Post]) -> Option<Refusal> {
        let owner = post.owner()?;
        let with = |sum: Amount, one: &Post| sum.and(one.body.len());
        let own = taken.iter().filter(|one| one.owner() == Some(owner));
        let own = own.fold(self.queue.waiting_of(owner), with);
        if own.posts == 0 {
            return None;
        }
        let options = &self.outbox.options;
        let most = Amount { posts: options.max_posts, bytes: options.max_bytes };
        let destination = post.endpoint.destination();
        let same = taken.iter().filter(|one| one.endpoint.destination() == destination).count();
        if self.queue.bound_for(&destination) + same >= most.share().posts {
            return Some(Refusal::Receiver);
        }
        let all = taken.iter().fold(self.queue.waiting(), with);
        (!leaves_room(own, all, post.body.len(), most)).then_some(Refusal::Owner)
    }

    fn lose(&self, post: &Post, reason: Refusal) {
        self.queue.told().refused(&post.endpoint, reason);
    }
}

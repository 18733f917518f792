//! The posts of one storage plugin that wait in its key space, and who sends them: one task for each destination,
//! so that a dead one delays no other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use parking_lot::{Condvar, Mutex};
use tokio_util::sync::CancellationToken;
use weir_contract::packed::{put_text, tag};

use super::deliver::{Delivered, Sender};
use super::post::Post;
use super::share::{Amount, Owner, Shares};
use super::told::{Refusal, Told};
use super::{Outbox, insist};
use crate::accounts::Accounts;
use crate::config::{Endpoint, Grant};
use crate::dead_letters::{About, NotKept};
use crate::message::Message;
use crate::store::{StorageSpace, StoreError, Write};

/// The outbox of one storage plugin. One thread puts posts in; dropping it ends the sending.
pub struct Queue(Arc<Inner>);

struct Inner {
    outbox: Arc<Outbox>,
    space: Arc<StorageSpace>,
    grants: ArcSwap<Grants>,
    /// Has the endpoints that posts are made for; none = the posts are not made for any.
    accounts: Option<Arc<Accounts>>,
    told: Told,
    closing: CancellationToken,
    waiting: Mutex<Waiting>,
    room: Condvar,
}

/// Where posts may go.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// There, and below.
    pub to: Vec<Grant>,
    /// Elsewhere, too: what is not granted is only counted.
    pub elsewhere: bool,
}

/// What the store holds, without what is in it.
#[derive(Default)]
struct Waiting {
    next: u64,
    posts: usize,
    bytes: usize,
    shares: Shares,
    /// By destination, oldest first; each has its task.
    lanes: HashMap<String, VecDeque<Waiter>>,
}

#[derive(Clone, Copy)]
struct Waiter {
    number: u64,
    bytes: usize,
    attempts: u64,
    owner: Option<Owner>,
}

/// Posts on their way into the store.
pub struct Numbered {
    waiters: Vec<(String, Waiter)>,
    writes: Vec<Write>,
}

impl Numbered {
    /// What commits them, together with whatever they belong to.
    pub fn take_writes(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.writes)
    }
}

impl Queue {
    /// Takes up what waits in a binding's key space, and begins to send it.
    pub fn open(
        outbox: &Arc<Outbox>,
        name: &str,
        space: &Arc<StorageSpace>,
        grants: Grants,
    ) -> Result<Self, StoreError> {
        Self::open_for(outbox, name, space, grants, None)
    }

    /// The same; a post that was made for an endpoint is sent while these accounts have it.
    pub(super) fn open_for(
        outbox: &Arc<Outbox>,
        name: &str,
        space: &Arc<StorageSpace>,
        grants: Grants,
        accounts: Option<Arc<Accounts>>,
    ) -> Result<Self, StoreError> {
        // A post that cannot be read has a queue of its own, where it is set aside.
        let waiters = space.posts(|post| {
            let (destination, owner) = Post::address(post.beginning).unwrap_or_default();
            (destination, Waiter { number: post.number, bytes: post.bytes, attempts: post.attempts, owner })
        })?;
        let next = waiters.last().map_or(0, |(_, waiter)| waiter.number + 1);
        let queue = Self(Arc::new(Inner {
            outbox: Arc::clone(outbox),
            space: Arc::clone(space),
            grants: ArcSwap::from_pointee(grants),
            accounts,
            told: Told::new(name, outbox.metrics.outbox(name)),
            closing: outbox.closing.child_token(),
            waiting: Mutex::new(Waiting { next, ..Waiting::default() }),
            room: Condvar::new(),
        }));
        if !waiters.is_empty() {
            tracing::info!(outbox = %name, posts = waiters.len(), "posts from before wait to be sent");
        }
        queue.add(waiters);
        Ok(queue)
    }

    /// What tells of its posts.
    pub(super) fn told(&self) -> &Told {
        &self.0.told
    }

    /// Whether it is the queue of this key space.
    pub fn is_of(&self, space: &StorageSpace) -> bool {
        self.0.space.is_same(space)
    }

    /// From now on posts may go there, those that wait included; others that wait become dead letters.
    pub fn set_grants(&self, grants: Grants) {
        self.0.grants.store(Arc::new(grants));
    }

    /// Whether so many more fit. An empty queue takes any batch, so that none is too large for ever.
    pub fn fits(&self, posts: &[Post]) -> bool {
        let waiting = self.0.waiting.lock();
        self.0.fits(&waiting, posts)
    }

    /// How many posts wait for a destination.
    pub fn bound_for(&self, destination: &str) -> usize {
        self.0.waiting.lock().lanes.get(destination).map_or(0, VecDeque::len)
    }

    /// What waits.
    pub fn waiting(&self) -> Amount {
        let waiting = self.0.waiting.lock();
        Amount { posts: waiting.posts, bytes: waiting.bytes }
    }

    /// What of an owner waits.
    pub fn waiting_of(&self, owner: Owner) -> Amount {
        self.0.waiting.lock().shares.of(owner)
    }

    /// Waits until they fit, or the time is over. False: they do not.
    pub fn wait_until_fits(&self, posts: &[Post], time: Duration) -> bool {
        let mut waiting = self.0.waiting.lock();
        if !self.0.fits(&waiting, posts) {
            self.0.room.wait_for(&mut waiting, time);
        }
        self.0.fits(&waiting, posts)
    }

    /// Notes that its plugin stands still because posts do not fit.
    pub fn note_full(&self) {
        self.0.told.metrics.full.inc();
        tracing::warn!(outbox = %self.0.told.name, posts = self.0.waiting.lock().posts, "outbox full: its plugin stands still");
    }

    /// Numbers posts and encodes them, to be committed and then [added](Self::committed).
    pub fn number(&self, posts: &[Post]) -> Numbered {
        let next = self.0.waiting.lock().next;
        let mut numbered = Numbered { waiters: Vec::new(), writes: Vec::new() };
        for (number, post) in (next..).zip(posts) {
            let bytes = post.encode();
            let waiter = Waiter { number, bytes: bytes.len(), attempts: 0, owner: post.owner() };
            numbered.waiters.push((post.endpoint.destination(), waiter));
            numbered.writes.push(Write::Post { number, bytes });
        }
        numbered
    }

    /// They are in the store: sends them.
    pub fn committed(&self, posts: Numbered) {
        self.add(posts.waiters);
    }

    fn add(&self, waiters: Vec<(String, Waiter)>) {
        let mut waiting = self.0.waiting.lock();
        for (destination, waiter) in waiters {
            waiting.next = waiting.next.max(waiter.number + 1);
            waiting.posts += 1;
            waiting.bytes += waiter.bytes;
            if let Some(owner) = waiter.owner {
                waiting.shares.add(owner, waiter.bytes);
            }
            match waiting.lanes.get_mut(&destination) {
                Some(lane) => lane.push_back(waiter),
                None => {
                    waiting.lanes.insert(destination.clone(), VecDeque::from([waiter]));
                    let lane = Arc::clone(&self.0).run(destination);
                    self.0.outbox.tasks.spawn_on(lane, &self.0.outbox.runtime);
                }
            }
        }
        self.0.show(&waiting);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.closing.cancel();
        self.0.told.metrics.waiting.set(0);
        self.0.told.metrics.waiting_bytes.set(0);
    }
}

impl Inner {
    fn fits(&self, waiting: &Waiting, posts: &[Post]) -> bool {
        let options = &self.outbox.options;
        let bytes: usize = posts.iter().map(|post| post.body.len()).sum();
        waiting.posts == 0
            || (waiting.posts + posts.len() <= options.max_posts
                && waiting.bytes + bytes <= options.max_bytes)
            || posts.is_empty()
    }

    fn show(&self, waiting: &Waiting) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.told.metrics.waiting.set(number(waiting.posts));
        self.told.metrics.waiting_bytes.set(number(waiting.bytes));
    }

    /// Sends what waits for one destination, until nothing does.
    async fn run(self: Arc<Self>, destination: String) {
        let mut before = None;
        while let Some(waiter) = self.next(&destination, before) {
            let Some(()) = self.send(waiter).await else { return };
            before = Some(waiter);
        }
    }

    /// The oldest post of a destination, after `before` is gone. None: no more, and the lane is closed.
    fn next(&self, destination: &str, before: Option<Waiter>) -> Option<Waiter> {
        let mut waiting = self.waiting.lock();
        let lane = waiting.lanes.get_mut(destination)?;
        if before.is_some() {
            lane.pop_front();
        }
        let next = lane.front().copied();
        if next.is_none() {
            waiting.lanes.remove(destination);
        }
        if let Some(gone) = before {
            waiting.posts -= 1;
            waiting.bytes -= gone.bytes;
            if let Some(owner) = gone.owner {
                waiting.shares.remove(owner, gone.bytes);
            }
            self.show(&waiting);
            self.room.notify_all();
        }
        next
    }

    fn may_send(&self, endpoint: &Endpoint) -> bool {
        let grants = self.grants.load();
        grants.to.iter().any(|grant| grant.covers(endpoint))
            || (grants.elsewhere && self.outbox.may_reach(endpoint))
    }

    /// Whether what it was made for is still there.
    fn is_wanted(&self, post: &Post) -> bool {
        match (&self.accounts, post.made_for()) {
            (Some(accounts), Some(endpoint)) => accounts.endpoint_of_id(endpoint).is_some(),
            _ => true,
        }
    }

    /// Sends one post, or sets it aside, and removes it. None: stopped, it stays.
    async fn send(self: &Arc<Self>, waiter: Waiter) -> Option<()> {
        let number = waiter.number;
        let blob = self.insist(move |inner| inner.space.post(number)).await?.unwrap_or_default();
        let Some(post) = Post::decode(&blob) else {
            let letter = Letter { body: blob.into(), ..Letter::default() };
            return self.give_up(number, letter, "it cannot be read from the store".into()).await;
        };
        let delivered = if !self.is_wanted(&post) {
            Delivered::Unwanted
        } else if self.may_send(&post.endpoint) {
            let sender = Sender {
                outbox: &self.outbox,
                told: &self.told,
                wanted: &|| self.is_wanted(&post),
                closing: &self.closing,
                max_attempts: self.outbox.options.max_attempts.into(),
            };
            let failed = |attempts| {
                let inner = Arc::clone(self);
                async move { inner.insist(move |inner| inner.space.set_attempts(number, attempts)).await }
            };
            sender.deliver(&post, waiter.attempts, failed).await
        } else if self.closing.is_cancelled() {
            Delivered::Stopped
        } else {
            Delivered::Dead(format!("its binding does not let it post to {} any more", post.endpoint))
        };
        match delivered {
            Delivered::Stopped => None,
            Delivered::Sent => self.insist(move |inner| inner.space.remove_post(number)).await,
            Delivered::Unwanted => {
                self.told.refused(&post.endpoint, Refusal::Deleted);
                self.insist(move |inner| inner.space.remove_post(number)).await
            }
            Delivered::Dead(reason) => self.give_up(number, Letter::from(&post), reason).await,
        }
    }

    /// The letter first: a crash in between makes two of it, never none.
    async fn give_up(self: &Arc<Self>, number: u64, letter: Letter, reason: String) -> Option<()> {
        self.told.given_up(&letter.destination, &letter.key, &reason);
        self.insist(move |inner| inner.keep(&letter, &reason)).await?;
        self.insist(move |inner| inner.space.remove_post(number)).await
    }

    fn keep(&self, letter: &Letter, reason: &str) -> Result<(), NotKept> {
        let mut meta = Vec::new();
        if !letter.content_type.is_empty() {
            put_text(&mut meta, tag::CONTENT_TYPE, &letter.content_type);
        }
        let topic = format!("$outbox/{}", self.told.name).into();
        let message = Message { topic, meta: meta.into(), payload: letter.body.clone() };
        let (plugin, url, key, again) = (&*self.told.name, &letter.url, &letter.key, &letter.again);
        let about = About { stage: "outbox", plugin, reason, url, key, again, ..About::default() };
        self.outbox.dead_letters.keep_durably(&message, &about)
    }

    /// Does something with the store until it works. None: the sender is stopped.
    async fn insist<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Self) -> Result<T, E> + Send + Sync + 'static,
    ) -> Option<T> {
        let inner = Arc::clone(self);
        insist(&self.told, &self.closing, Arc::new(move || work(&inner))).await
    }
}

/// What is kept of a post that is given up. Its headers, which may hold passwords, are in `again` alone.
#[derive(Default)]
struct Letter {
    destination: String,
    url: String,
    key: String,
    content_type: String,
    body: Bytes,
    again: Vec<u8>,
}

impl From<&Post> for Letter {
    fn from(post: &Post) -> Self {
        let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        Self {
            destination: post.endpoint.destination(),
            url: post.endpoint.uri().to_string(),
            key: text(&post.key),
            content_type: post
                .headers
                .get(CONTENT_TYPE)
                .map(text)
                .filter(|t| t.len() <= 255)
                .unwrap_or_default(),
            body: post.body.clone(),
            again: post.for_letter(),
        }
    }
}

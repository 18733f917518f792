//! Webhooks: each message of some topics is posted to a URL, in the order of its log. The cursor moves on when a
//! message is sent or set aside. Each log that its topics meet is read for itself, so that no other message waits, nor
//! is kept from retention, while one waits for an answer; sent is one at a time.

mod again;
mod list;

pub use list::WebhookInfo;

use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::sync::{Mutex, Semaphore};
use weir_contract::packed::{named, tag};
use weir_contract::topic::Pattern;

use super::deliver::{Delivered, Sender};
use super::post::Post;
use super::told::Told;
use super::{Outbox, insist};
use crate::config::{self, Endpoint};
use crate::dead_letters::{About, NotKept, Reader};
use crate::message::{Stored, now_us};
use crate::metrics::ConsumerMetrics;
use crate::sequencer::Sequencer;
use crate::store::{Cursor, Log, ReadPage, StorageSpace, Store, StoreError};

/// Messages that are read at once.
const PAGE: usize = 64;
/// Their bytes.
const PAGE_BYTES: usize = 1 << 20;
/// How often its lag is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What stands as `%XX` in a header.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Why webhooks cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A header of its configuration; never shows its value.
    #[error("{0}")]
    Header(String),
    /// Its place in the logs.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The configured webhooks, ready to run. Their logs are held for them from now on.
#[derive(Clone)]
pub struct Webhooks(Vec<Arc<Webhook>>);

struct Webhook {
    /// `webhook:NAME`, as in metrics and holds: no plugin can be called so.
    name: String,
    told: Told,
    outbox: Arc<Outbox>,
    /// Those that its topics meet.
    logs: Vec<Log>,
    space: StorageSpace,
    topics: Vec<Pattern>,
    /// Whose message is being sent.
    turn: Mutex<()>,
    /// Letters that may wait for their turn.
    again: Arc<Semaphore>,
    url: Endpoint,
    headers: HeaderMap,
    max_attempts: u64,
    progress: ConsumerMetrics,
}

impl Webhooks {
    /// Reads secrets and cursors. A new webhook begins with the next message. Blocks.
    pub fn open(
        outbox: &Arc<Outbox>,
        store: &Store,
        sequencer: &Sequencer,
        configured: &[config::Webhook],
    ) -> Result<Self, WebhookError> {
        let open = |configured| Ok(Arc::new(Webhook::open(outbox, store, sequencer, configured)?));
        Ok(Self(configured.iter().map(open).collect::<Result<_, WebhookError>>()?))
    }

    /// Begins to send, until the outbox stops.
    pub fn run(&self) {
        for webhook in &self.0 {
            let Outbox { tasks, runtime, .. } = &*webhook.outbox;
            tasks.spawn_on(Arc::clone(webhook).watch(), runtime);
            for log in &webhook.logs {
                tasks.spawn_on(Arc::clone(webhook).run(log.clone()), runtime);
            }
        }
    }
}

impl Webhook {
    fn open(
        outbox: &Arc<Outbox>,
        store: &Store,
        sequencer: &Sequencer,
        configured: &config::Webhook,
    ) -> Result<Self, WebhookError> {
        let headers = configured.headers().map_err(WebhookError::Header)?;
        let name = format!("webhook:{}", configured.name);
        let space = store.storage_space(&format!("$webhook.{}", configured.name))?;
        let topics: Vec<_> =
            configured.topics.iter().filter_map(|topic| Pattern::parse(topic).ok()).collect();
        let logs = sequencer.meet(&topics);
        for log in &logs {
            let cursor = match space.cursor(log.name())? {
                Some(cursor) => cursor,
                None => {
                    let now = Cursor { epoch: log.epoch(), next: log.durable() };
                    space.commit(&[], &[(log.name(), now)])?;
                    now
                }
            };
            log.set_hold(&name, Some(cursor.next));
        }
        space.flush()?;
        Ok(Self {
            outbox: Arc::clone(outbox),
            logs,
            space,
            topics,
            turn: Mutex::default(),
            again: Arc::new(Semaphore::new(again::LETTERS)),
            url: configured.url.clone(),
            headers,
            max_attempts: configured.max_attempts.unwrap_or(outbox.options.max_attempts).into(),
            told: Told::new(&name, outbox.metrics.outbox(&name)),
            progress: outbox.metrics.consumer(&name),
            name,
        })
    }

    /// Sends what one log has for it.
    async fn run(self: Arc<Self>, log: Log) {
        let mut mark = log.durable_watch();
        loop {
            drop(mark.borrow_and_update());
            match self.advance(&log).await {
                Some(true) => {}
                Some(false) => tokio::select! {
                    // A mark whose log is gone would be ready for ever; then the store is closed.
                    moved = mark.changed() => if moved.is_err() { return },
                    () = self.outbox.closing.cancelled() => return,
                },
                None => return,
            }
        }
    }

    /// Shows how far behind it is, also while it waits for an answer.
    async fn watch(self: Arc<Self>) {
        loop {
            let webhook = Arc::clone(&self);
            drop(tokio::task::spawn_blocking(move || webhook.show_lag()).await);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.outbox.closing.cancelled() => return,
            }
        }
    }

    fn show_lag(&self) {
        let lag: u64 = self.places().iter().map(|(log, next)| log.durable().saturating_sub(*next)).sum();
        self.progress.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Sends one page of a log. False: there was none. None: stopped.
    async fn advance(self: &Arc<Self>, log: &Log) -> Option<bool> {
        let reading = log.clone();
        let page = self.insist(move |webhook| webhook.read(&reading)).await?;
        let Some(page) = page else { return Some(false) };
        let mut reached = None;
        for stored in &page.messages {
            self.send(stored).await?;
            reached = Some(stored.place.offset + 1);
            self.reach(log, stored.place.offset + 1).await?;
        }
        if reached != Some(page.next) {
            self.reach(log, page.next).await?;
        }
        Some(true)
    }

    /// The next page; none when there is nothing new. Gaps are told of.
    fn read(&self, log: &Log) -> Result<Option<ReadPage>, Failed> {
        let cursor = self.space.cursor(log.name())?;
        let from = log.take_up(cursor);
        log.set_hold(&self.name, Some(from));
        if from >= log.durable() {
            return Ok(None);
        }
        let takes = |topic: &str| self.topics.iter().any(|pattern| pattern.matches(topic));
        let page = log.read(from, &takes, PAGE, PAGE_BYTES)?;
        let reader = Reader { consumer: &self.name, metrics: &self.progress, log, cursor };
        self.outbox.dead_letters.keep_gaps(&reader, from, &page)?;
        Ok(Some(page))
    }

    /// Everything before `next` is sent or set aside.
    async fn reach(self: &Arc<Self>, log: &Log, next: u64) -> Option<()> {
        let log = log.clone();
        let reach = move |webhook: &Self| {
            webhook.space.commit(&[], &[(log.name(), Cursor { epoch: log.epoch(), next })])?;
            log.set_hold(&webhook.name, Some(next));
            Ok::<(), StoreError>(())
        };
        self.insist(reach).await
    }

    /// Sends a message, or sets it aside. None: stopped.
    async fn send(self: &Arc<Self>, stored: &Stored) -> Option<()> {
        let _turn = self.turn.lock().await;
        if stored.message.expires_us().is_some_and(|at| at <= now_us()) {
            return Some(());
        }
        let post = self.post(stored);
        let sender = self.sender(self.max_attempts);
        match sender.deliver(&post, 0, |_| std::future::ready(())).await {
            Delivered::Sent | Delivered::Unwanted => Some(()),
            Delivered::Stopped => None,
            Delivered::Dead(reason) => {
                let key = place_key(stored);
                self.told.given_up(&self.url.destination(), &key, &reason);
                let (message, url) = (stored.message.clone(), self.url.uri().to_string());
                let keep = move |webhook: &Self| {
                    let (reason, url, key) = (&*reason, &*url, &*key);
                    let plugin = &webhook.name;
                    let about = About { stage: "webhook", plugin, reason, url, key, ..About::default() };
                    webhook.outbox.dead_letters.keep_durably(&message, &about)
                };
                self.insist(keep).await
            }
        }
    }

    fn sender(&self, max_attempts: u64) -> Sender<'_> {
        Sender {
            outbox: &self.outbox,
            told: &self.told,
            wanted: &|| true,
            closing: &self.outbox.closing,
            max_attempts,
        }
    }

    /// The payload as it was published, and everything else in headers.
    fn post(&self, stored: &Stored) -> Post {
        let (message, place) = (&stored.message, &stored.place);
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, text: &str| {
            let escaped = utf8_percent_encode(text, ESCAPED).to_string();
            headers.extend(HeaderValue::from_str(&escaped).ok().map(|value| (name, value)));
        };
        put(HeaderName::from_static("x-weir-topic"), &message.topic);
        put(HeaderName::from_static("x-weir-log"), &place.log);
        put(HeaderName::from_static("x-weir-epoch"), &place.epoch.to_string());
        put(HeaderName::from_static("x-weir-offset"), &place.offset.to_string());
        put(HeaderName::from_static("x-weir-time-us"), &message.received_us().to_string());
        put(HeaderName::from_static("x-weir-from"), message.publisher());
        if let Some(id) = message.message_id().and_then(|id| std::str::from_utf8(id).ok()) {
            put(HeaderName::from_static("x-weir-message-id"), id);
        }
        for (name, value) in named(&message.meta, tag::HEADER) {
            if let Ok(name) = HeaderName::try_from(format!("x-weir-header-{name}")) {
                put(name, value);
            }
        }
        if let Some(kind) = message.content_type().and_then(|kind| HeaderValue::from_str(kind).ok()) {
            headers.insert(CONTENT_TYPE, kind);
        }
        // The operator's own win.
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        let key = HeaderValue::from_str(&place_key(stored)).unwrap_or(HeaderValue::from_static("-"));
        Post { endpoint: self.url.clone(), headers, key, body: message.payload.clone() }
    }

    /// Does something with the store until it works. None: the outbox is stopped.
    async fn insist<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Self) -> Result<T, E> + Send + Sync + 'static,
    ) -> Option<T> {
        let webhook = Arc::clone(self);
        insist(&self.told, &self.outbox.closing, Arc::new(move || work(&webhook))).await
    }
}

/// Why a page was not read.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotKept(#[from] NotKept),
}

/// `LOG:EPOCH:OFFSET`: no other message has it, and this one has it with every attempt.
fn place_key(stored: &Stored) -> String {
    let place = &stored.place;
    format!("{}:{}:{}", place.log, place.epoch, place.offset)
}

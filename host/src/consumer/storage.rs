//! One storage binding's thread: read a batch, call `store`, commit writes and cursor in one step. It reads the logs
//! that its topics meet, and holds no other.

mod again;
mod call;
mod follow;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub(super) use again::{TASKS, Task, Work};

use super::effects::Effects;
use super::progress::Progress;
use super::rebuild::Fence;
use super::{Consumer, Consumers};
use crate::dead_letters::NotKept;
use crate::metrics::{ConsumerMetrics, StageMetrics};
use crate::outbox::{Grants, Post, Queue};
use crate::plugin::guest::StateAccess;
use crate::plugin::{Binding, CallError, Instance};
use crate::store::{Cursor, Log, StorageSpace, StoreError};

/// Messages of one batch.
const BATCH: usize = 64;
/// Bytes of one batch; a larger message comes alone.
const BATCH_BYTES: usize = 256 * 1024;
/// First pause after a failure; doubled up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A thread with nothing to do looks this often whether somebody's patience has run out.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// Keys of dead generations that are deleted between two batches.
const CLEARED: usize = 256;

/// Starts the thread of a binding.
pub fn start(consumers: &Arc<Consumers>, source: &Arc<Binding>) -> Result<Consumer, StartError> {
    let StateAccess::Storage(loaded) = &source.shared.state else { return Err(StartError::Space) };
    // Since it was loaded, another generation may have gone live.
    let space = Arc::new(loaded.live()?);
    let binding = Arc::new(ArcSwap::new(source.over(&space)));
    let holder = source.name().to_string();
    let logs = consumers.met(source);
    let mut writer = Writer::new(consumers, Arc::clone(&binding), holder, logs, false);
    writer.follow(&binding.load(), &space);
    let (progress, stop) = (Arc::clone(&writer.progress), Arc::clone(&writer.stop));
    let (fence, again) = (Arc::clone(&writer.fence), Arc::clone(&writer.again));
    let name = format!("storage-{}", source.name());
    let thread = std::thread::Builder::new().name(name).spawn(move || writer.run())?;
    let (source, idle) = (Arc::clone(source), Arc::new(Mutex::default()));
    Ok(Consumer { source, space, binding, progress, stop, idle, fence, again, rebuild: None, thread })
}

/// Why a binding's thread does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("its state is no storage space")]
    Space,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Thread(#[from] std::io::Error),
}

pub(super) struct Writer {
    consumers: Arc<Consumers>,
    current: Arc<ArcSwap<Binding>>,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    fence: Arc<Fence>,
    /// What operators want to be done again.
    again: Arc<Mutex<VecDeque<Task>>>,
    /// It fills a generation that is not live yet: what it does must have no effect elsewhere.
    rebuilds: bool,
    /// A rebuild: what serves meanwhile. It is never overtaken, for only it sends posts and keeps dead letters.
    pub(super) ahead: Option<StorageSpace>,
    /// A rebuild may go on although messages are gone from the logs.
    pub(super) partial: bool,
    /// Under which name it holds segments of logs.
    holder: String,
    /// Those that it reads.
    logs: Vec<Log>,
    live: Option<Live>,
    queue: Option<Queue>,
    metrics: ConsumerMetrics,
    /// Messages of the next batch: one, while the message that fails is being found.
    size: usize,
    /// What the batch in hand leaves out: offsets, and why.
    aside: Vec<(u64, String)>,
    pause: Duration,
}

struct Live {
    binding: Arc<Binding>,
    instance: Instance,
    metrics: StageMetrics,
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("message {index} of a batch of {of} is called unprocessable: no such message")]
    Index { index: u32, of: usize },
    #[error(transparent)]
    NotKept(#[from] NotKept),
    #[error("its state is no storage space")]
    Space,
    #[error("{0}")]
    Gone(String),
    #[error("{0}")]
    Again(String),
}

impl Writer {
    /// Stores what `current` says and `logs` hold, into its space, and holds segments of them as `holder`.
    pub(super) fn new(
        consumers: &Arc<Consumers>,
        current: Arc<ArcSwap<Binding>>,
        holder: String,
        logs: Vec<Log>,
        rebuilds: bool,
    ) -> Self {
        let name = Arc::clone(current.load().name());
        let metrics = consumers.metrics.consumer(&name);
        let progress = Arc::new(Progress::new(name));
        Self {
            consumers: Arc::clone(consumers),
            current,
            progress,
            stop: Arc::default(),
            fence: Arc::default(),
            again: Arc::default(),
            rebuilds,
            ahead: None,
            partial: false,
            holder,
            logs,
            live: None,
            queue: None,
            metrics,
            size: BATCH,
            aside: Vec::new(),
            pause: Duration::ZERO,
        }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let fence = Arc::clone(&self.fence);
            let turn = fence.turn.lock();
            self.do_again();
            let step = self.step().and_then(|worked| Ok(worked | self.clear()?));
            drop(turn);
            match step {
                Ok(true) => self.pause = Duration::ZERO,
                Ok(false) => std::thread::park_timeout(LOOK),
                Err(error) => self.rest(&error),
            }
            self.look();
        }
        self.let_go();
    }

    /// From now on retention waits for it, whatever it begins with.
    pub(super) fn hold(&self) {
        self.logs.iter().for_each(|log| log.set_hold(&self.holder, Some(log.oldest())));
    }

    /// Unbound, rebuilt, or the router stops: retention need not wait for it.
    pub(super) fn let_go(&self) {
        self.consumers.store.logs().iter().for_each(|log| log.set_hold(&self.holder, None));
    }

    /// Deletes a part of what earlier generations have left behind.
    fn clear(&self) -> Result<bool, Failed> {
        if !self.fence.litter.load(Ordering::Acquire) {
            return Ok(false);
        }
        let binding = self.current.load();
        let StateAccess::Storage(space) = &binding.shared.state else { return Err(Failed::Space) };
        let more = space.clear_dead(*self.fence.building.lock(), CLEARED)?;
        self.fence.litter.fetch_and(more, Ordering::AcqRel);
        Ok(more)
    }

    /// Waits after a failure, with its cursor where it was.
    fn rest(&mut self, error: &Failed) {
        self.pause = (self.pause * 2).clamp(PAUSE, LONGEST_PAUSE);
        let binding = self.current.load_full();
        let (plugin, version) = (binding.name(), &binding.shared.version);
        tracing::error!(%plugin, %version, %error, pause_s = self.pause.as_secs(), "storage stands still");
        let until = Instant::now() + self.pause;
        while Instant::now() < until && !self.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(LOOK);
            let fence = Arc::clone(&self.fence);
            let _turn = fence.turn.lock();
            if !Arc::ptr_eq(&binding, &self.current.load()) {
                return;
            }
            self.do_again();
            self.pass_over(&binding);
            self.look();
        }
    }

    /// What is done now and then, also while it stands still.
    fn look(&self) {
        self.consumers.settle();
        let lag = self.progress.lag(&self.logs);
        self.metrics.lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// One batch of each log. False: there was nothing.
    pub(super) fn step(&mut self) -> Result<bool, Failed> {
        let binding = self.current.load_full();
        let StateAccess::Storage(space) = &binding.shared.state else { return Err(Failed::Space) };
        self.come_up(&binding, space)?;
        let mut worked = false;
        for at in 0..self.logs.len() {
            if let Some(log) = self.logs.get(at).cloned() {
                worked |= self.advance(&binding, space, &log)?;
            }
        }
        Ok(worked)
    }

    /// Goes over to the binding, unless it runs already.
    fn come_up(&mut self, binding: &Arc<Binding>, space: &Arc<StorageSpace>) -> Result<(), Failed> {
        if self.live.as_ref().is_none_or(|live| !Arc::ptr_eq(&live.binding, binding)) {
            if !self.rebuilds {
                self.follow(binding, space);
            }
            // What waits is sent, also when the plugin itself does not come up.
            self.open_queue(binding, space)?;
            let instance = binding.instance()?;
            let version = &binding.shared.version;
            let stage = if self.rebuilds { "rebuild" } else { "storage" };
            let metrics = self.consumers.metrics.stage(stage, binding.name(), version);
            self.live = Some(Live { binding: Arc::clone(binding), instance, metrics });
        }
        Ok(())
    }

    fn open_queue(&mut self, binding: &Binding, space: &Arc<StorageSpace>) -> Result<(), StoreError> {
        let grants = Grants { to: binding.spec.post.clone(), elsewhere: binding.spec.count_only };
        match &self.queue {
            // Nothing is sent.
            _ if self.rebuilds => {}
            Some(queue) if queue.is_of(space) => queue.set_grants(grants),
            _ => {
                let outbox = &self.consumers.outbox;
                self.queue = Some(Queue::open(outbox, binding.name(), space, grants)?);
            }
        }
        Ok(())
    }

    fn advance(&mut self, binding: &Arc<Binding>, space: &StorageSpace, log: &Log) -> Result<bool, Failed> {
        let cursor = Some(super::begin(space, log)?);
        let from = log.take_up(cursor);
        self.progress.reached(log.name(), from);
        log.set_hold(&self.holder, Some(from));
        let end = self.end(log)?;
        if from >= end {
            return Ok(false);
        }
        let mut page = log.read(from, &|topic| binding.spec.takes(topic), self.size, BATCH_BYTES)?;
        page.next = page.next.min(end);
        page.messages.retain(|stored| stored.place.offset < end);
        let Some(effects) = self.store(binding, &page.messages)? else { return Ok(true) };
        if !self.wait_for_room(binding, &effects.posts) {
            return Ok(true);
        }
        self.tell_gaps(binding, log, cursor, from, &page)?;
        let cursor = Cursor { epoch: log.epoch(), next: page.next };
        self.commit(space, effects, &[(&**log.name(), cursor)])?;
        self.aside
            .drain(..)
            .for_each(|(at, reason)| self.progress.set_aside(log.name(), at..at + 1, &reason));
        self.progress.reached(log.name(), page.next);
        Ok(true)
    }

    /// A full outbox stops the plugin, with its cursor where it was. False: stopped or swapped meanwhile, so the
    /// batch is to be made again.
    fn wait_for_room(&self, binding: &Arc<Binding>, posts: &[Post]) -> bool {
        let Some(queue) = &self.queue else { return posts.is_empty() };
        if queue.fits(posts) {
            return true;
        }
        queue.note_full();
        while !queue.wait_until_fits(posts, LOOK) {
            self.pass_over(binding);
            self.look();
            if self.stop.load(Ordering::Acquire) || !Arc::ptr_eq(binding, &self.current.load()) {
                return false;
            }
        }
        true
    }

    /// Writes, posts and cursor in one step; then the posts go out.
    fn commit(
        &self,
        space: &StorageSpace,
        effects: Effects,
        cursors: &[(&str, Cursor)],
    ) -> Result<(), StoreError> {
        let Effects { mut writes, posts } = effects;
        let Some(queue) = &self.queue else { return space.commit(&writes, cursors) };
        let mut numbered = queue.number(&posts);
        writes.append(&mut numbered.take_writes());
        space.commit(&writes, cursors)?;
        queue.committed(numbered);
        Ok(())
    }
}

//! One OS thread that owns one instance of every auth, filter and transform plugin: it takes commands from
//! its bounded queue in order, runs each publish through the pipeline, commits it and answers.

mod burst;
mod commit;
mod enrol;
mod explain;
mod recheck;
mod reply;

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use burst::{Arrived, Burst, Published};
pub use explain::{Explained, WouldBe};
pub use reply::{Reply, Requeue};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::accounts::Accounts;
use crate::consumer::Consumers;
use crate::dead_letters::DeadLetters;
use crate::durable::Registry;
use crate::message::{Message, Outcome, is_inbox_of};
use crate::metrics::Metrics;
use crate::pipeline::{self, Stages};
use crate::plugin::{Chain, Engine, Fence};
use crate::router::Router;
use crate::sequencer::{Joined, Sequencer, Wanted};
use crate::session::Session;
use burst::Passed;

/// Commands that may wait in a shard's queue. A gateway that meets a full one stops reading its socket.
const QUEUE: usize = 1_024;
/// Bytes of messages that may wait in a shard's queue, in units of 1 KiB: 32 MiB.
const QUEUE_KIB: usize = 32 * 1024;
/// Commands taken at once: one chain snapshot and one epoch guard serve them all.
const BATCH: usize = 64;

/// What a shard is asked to do.
pub enum Command {
    /// Run messages through the pipeline.
    Publish {
        /// Who publishes.
        session: Arc<Session>,
        /// In order.
        published: Vec<Published>,
        /// Their share of the queue's bytes.
        permit: OwnedSemaphorePermit,
    },
    /// Say what would become of a message.
    Explain {
        /// Who asks.
        session: Arc<Session>,
        /// Stamped and admitted.
        message: Message,
        /// The steps show payloads.
        payloads: bool,
        /// What it would become; Err: the session may not know.
        answer: oneshot::Sender<Result<Explained, Outcome>>,
        /// Its share of the queue's bytes.
        permit: OwnedSemaphorePermit,
    },
    /// Authorize, then subscribe.
    Subscribe {
        /// Who.
        session: Arc<Session>,
        /// What to.
        wanted: Wanted,
        /// What it got, or why not.
        answer: oneshot::Sender<Result<Joined, Outcome>>,
    },
    /// Authorize only.
    Authorize {
        /// Who.
        session: Arc<Session>,
        /// `history`, `query`, ...
        action: &'static str,
        /// Topic or pattern, valid.
        topic: String,
        /// Ok, or why not.
        answer: oneshot::Sender<Result<(), Outcome>>,
    },
    /// The auth part of the chain or the accounts changed: ask again for what the session holds.
    Recheck(Arc<Session>),
    /// Nothing after this is done: its answer is `shutting-down`.
    Stop,
}

/// A shard's queue, from the outside.
#[derive(Clone)]
pub struct ShardQueue {
    commands: Sender<Command>,
    bytes: Arc<Semaphore>,
}

impl ShardQueue {
    /// Waits for room. None: the router is stopping.
    pub async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = (bytes / 1024 + 1).min(QUEUE_KIB);
        Arc::clone(&self.bytes).acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX)).await.ok()
    }

    /// Ends the shard after what is queued now. Blocks while the queue is full.
    pub fn stop(&self) {
        // A shard that is gone has stopped.
        drop(self.commands.blocking_send(Command::Stop));
    }

    /// Enqueues, waiting while the queue is full. Err: the router is stopping; the command comes back.
    pub async fn send(&self, command: Command) -> Result<(), Box<Command>> {
        self.commands.send(command).await.map_err(|error| Box::new(error.0))
    }
}

/// What all shards share.
#[derive(Clone)]
pub struct ShardContext {
    /// The live chain.
    pub chain: Arc<ArcSwap<Chain>>,
    /// The engine, for its clock.
    pub engine: Engine,
    /// Where a pass waits whose plugin's state is being migrated.
    pub fence: Arc<Fence>,
    /// Offsets, logs, routing.
    pub sequencer: Arc<Sequencer>,
    /// Subscriptions.
    pub router: Arc<Router>,
    /// Storage plugins' progress, for level `stored`.
    pub consumers: Arc<Consumers>,
    /// Durable consumers, whose readers' rights may end.
    pub durable: Arc<Registry>,
    /// For the revision.
    pub accounts: Arc<Accounts>,
    /// Messages set aside.
    pub dead_letters: Arc<DeadLetters>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Longest pass.
    pub pass_deadline: Duration,
    /// Most messages of one pass.
    pub pass_messages: usize,
    /// Subscriptions that a session may hold.
    pub subscriptions: usize,
}

/// A running shard.
pub struct Shard {
    context: ShardContext,
    stages: Stages,
    /// Auth generation of the chain, revision of the accounts.
    authority: (u64, u64),
    /// When the last pass ended, more or less.
    now: Instant,
    /// Where the connections live.
    runtime: Option<Handle>,
    /// Passed, and not accepted yet.
    passed: Passed,
}

/// Starts a shard's thread.
pub fn start(number: usize, context: ShardContext) -> std::io::Result<(ShardQueue, JoinHandle<()>)> {
    let (commands, queue) = channel(QUEUE);
    let (stages, passed) = Default::default();
    let (authority, now, runtime) = ((0, 0), Instant::now(), Handle::try_current().ok());
    let shard = Shard { context, stages, authority, now, runtime, passed };
    let thread =
        std::thread::Builder::new().name(format!("shard-{number}")).spawn(move || shard.run(queue))?;
    Ok((ShardQueue { commands, bytes: Arc::new(Semaphore::new(QUEUE_KIB)) }, thread))
}

impl Shard {
    /// Until it is told to stop: what was accepted into the queue before is done.
    fn run(mut self, mut queue: Receiver<Command>) {
        let engine = self.context.engine.clone();
        let mut batch = Vec::with_capacity(BATCH);
        while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
            let _clock = engine.running();
            self.now = Instant::now();
            for command in batch.drain(..) {
                self.adopt();
                if !matches!(command, Command::Publish { .. }) {
                    self.accept_passed();
                    self.now = Instant::now();
                }
                if matches!(command, Command::Stop) {
                    return;
                }
                self.execute(command);
            }
            self.accept_passed();
        }
    }

    /// Goes over to the live chain.
    fn adopt(&mut self) {
        let chain = self.context.chain.load_full();
        self.stages.adopt(&chain, &self.context.metrics);
        self.authority = (chain.authority, self.context.accounts.revision());
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Publish { session, published, permit } => {
                published.into_iter().for_each(|published| self.publish(&session, published));
                drop(permit);
            }
            Command::Explain { session, message, payloads, answer, permit } => {
                drop(answer.send(self.explain(&session, message, payloads)));
                drop(permit);
            }
            Command::Subscribe { session, wanted, answer } => {
                let allowed = self.may_subscribe(&session, wanted.pattern.as_str(), wanted.presence);
                let result = allowed.and_then(|()| {
                    self.context.router.watch(&session, wanted.pattern.as_str(), wanted.presence);
                    self.context.sequencer.join(&session, wanted)
                });
                // A session that closed meanwhile must not stay in the index.
                if session.outbound.is_closed() {
                    self.context.router.remove(&session);
                }
                drop(answer.send(result));
            }
            Command::Authorize { session, action, topic, answer } => {
                drop(answer.send(self.authorize(&session, action, &topic)));
            }
            Command::Recheck(session) => self.recheck(&session),
            Command::Stop => {}
        }
    }

    fn may_subscribe(&mut self, session: &Session, pattern: &str, presence: bool) -> Result<(), Outcome> {
        if is_inbox_of(pattern, &session.id) {
            return Ok(());
        }
        self.authorize(session, "subscribe", pattern)?;
        if presence { self.authorize(session, "presence", pattern) } else { Ok(()) }
    }

    /// Asks the session's auth plugin; its state changes are a transaction of their own.
    fn authorize(&mut self, session: &Session, action: &'static str, topic: &str) -> Result<(), Outcome> {
        let clock = Cell::new(Instant::now());
        let answer = pipeline::ask(&mut self.stages, session, &clock, action, topic, |_, _| {});
        self.commit_alone();
        match answer {
            Ok(true) => Ok(()),
            Ok(false) => Err(Outcome::Denied { reason: format!("not allowed: {action} {topic:?}") }),
            Err(stop) => Err(stop.outcome()),
        }
    }
}

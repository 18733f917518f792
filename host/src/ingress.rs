//! The one door: every gateway's commands come in here. It admits (size, rate, syntax), stamps, and puts the
//! command into the queue of the shard that serves this publisher, so that one publisher's messages keep
//! their order.

mod admission;
mod announce;
mod command;
mod consume;
mod enter;
mod explain;
mod history;
mod login;
mod persist;
mod presence;
mod proof;
mod query;
mod rate;
mod replay;
mod request;
mod requeue;
mod waiting;

pub use crate::router::{Present, PresentMember};
pub use crate::shard::{Burst, Explained, WouldBe};
pub use admission::admit;
pub use command::{
    Credential, HistoryPage, HistoryRequest, Publish, Query, QueryFailure, QueryPage, Rejected, Subscribe,
    Subscribed,
};
pub use consume::refused;
pub use enter::Entrant;
pub use login::{Login, LoginContext};
pub use rate::Rate;
pub use request::{Asked, Unanswered};
pub use requeue::{RequeueLetters, Requeued};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::oneshot;
use weir_contract::topic::Pattern;

use replay::Replays;
use waiting::Waiting;

use crate::accounts::Accounts;
use crate::config::Limits;
use crate::consumer::Consumers;
use crate::dead_letters::DeadLetters;
use crate::durable::Registry;
use crate::message::{Outcome, Principal, Refusal, Responder};
use crate::metrics::{Decision, GatewayMetrics, Metrics};
use crate::outbox::{Direct, Webhooks};
use crate::persistent::Registry as Persistence;
use crate::pipeline::trace::Traces;
use crate::plugin::Chain;
use crate::recorded::Recorder;
use crate::router::Router;
use crate::sequencer::{Joined, Sequencer, Wanted};
use crate::session::{NoticeEncoder, Session, Sessions};
use crate::shard::{Command, Published, Reply, ShardQueue};
use crate::store::Store;

/// The door. Clone freely.
#[derive(Clone)]
pub struct Ingress(Arc<Inner>);

struct Inner {
    parts: IngressParts,
    rate: Rate,
    waiting: Arc<Waiting>,
    replays: Arc<Replays>,
    gateways: parking_lot::RwLock<HashMap<&'static str, Arc<GatewayMetrics>>>,
}

/// What the door leads to.
pub struct IngressParts {
    /// Queues of all shards.
    pub shards: Vec<ShardQueue>,
    /// The authenticator.
    pub login: Login,
    /// Keys, to see that they still hold.
    pub accounts: Arc<Accounts>,
    /// Open connections.
    pub sessions: Arc<Sessions>,
    /// Subscriptions.
    pub router: Arc<Router>,
    /// Which log a topic belongs to.
    pub sequencer: Arc<Sequencer>,
    /// Logs, for history.
    pub store: Store,
    /// Storage plugins, for queries and their dead letters.
    pub consumers: Arc<Consumers>,
    /// Webhooks, for their dead letters.
    pub webhooks: Webhooks,
    /// Posts of gateways; none: no gateway makes any.
    pub direct: Option<Direct>,
    /// Messages that were set aside.
    pub dead_letters: Arc<DeadLetters>,
    /// Keeps messages as they come in, if a log wants that.
    pub recorder: Option<Recorder>,
    /// The live chain.
    pub chain: Arc<ArcSwap<Chain>>,
    /// Durable consumers.
    pub durable: Arc<Registry>,
    /// Sessions that outlive their connections.
    pub persistent: Arc<Persistence>,
    /// Who watches messages on their way.
    pub traces: Arc<Traces>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Limits of sizes and rates.
    pub limits: Limits,
}

impl Ingress {
    /// Opens the door.
    pub fn new(parts: IngressParts) -> Self {
        let rate = Rate::new(parts.limits.publishes_per_s);
        let waiting = Arc::new(Waiting::new(&parts.limits, parts.metrics.requests.clone()));
        let replays =
            Replays::new(Arc::clone(&parts.sequencer), Arc::clone(&parts.router), parts.store.clone());
        Self(Arc::new(Inner { parts, rate, waiting, replays, gateways: parking_lot::RwLock::default() }))
    }

    /// Authenticates. `notices`: Some = a connection, which is listed and must be ended with
    /// [`close`](Self::close); None = one HTTP request.
    pub async fn open(
        &self,
        credential: Credential,
        notices: Option<NoticeEncoder>,
    ) -> Result<Arc<Session>, Rejected> {
        let metrics = self.gateway(credential.gateway);
        let opened = self.0.parts.login.open(credential, notices).await;
        metrics.authenticated(match &opened {
            Ok(_) => Decision::Allow,
            Err(Rejected::Unauthenticated) => Decision::Unauthenticated,
            Err(Rejected::Denied) => Decision::Deny,
            Err(Rejected::Busy | Rejected::ShuttingDown) => Decision::Busy,
        });
        let session = Arc::new(opened?.counted(metrics));
        if notices.is_some() {
            self.0.parts.sessions.insert(&session);
        }
        // A key that was revoked between its proof and this line found no session to close; a tenant likewise.
        if !self.stands(&session.principal) {
            self.close(&session);
            return Err(Rejected::Unauthenticated);
        }
        Ok(session)
    }

    /// Whether there is still what the principal rests on: its account, and its tenant.
    pub fn stands(&self, principal: &Principal) -> bool {
        let accounts = &self.0.parts.accounts;
        principal.account.as_deref().is_none_or(|id| accounts.holds(id))
            && accounts.has_tenant(&principal.tenant)
    }

    /// Publishes. Waits while the shard's queue is full: that is the back-pressure. The responder is always
    /// answered exactly once, from any thread, maybe before this returns.
    pub async fn publish(&self, session: &Arc<Session>, publish: Publish, responder: Responder) {
        let mut burst = Burst::default();
        self.publish_with(session, publish, responder, &mut burst);
        self.hand_over(session, &mut burst).await;
    }

    /// As [`publish`](Self::publish), together with others of the same session that follow at once: it is on its way
    /// after [`hand_over`](Self::hand_over), which is due when the burst is full or nothing follows for now.
    pub fn publish_with(
        &self,
        session: &Arc<Session>,
        publish: Publish,
        responder: Responder,
        burst: &mut Burst,
    ) {
        let arrived = burst.arrived().at;
        let reply = self.reply(session, &publish.topic, &publish.payload, responder, arrived);
        match request::check(&publish) {
            Ok(()) => self.admit(session, publish, reply, burst),
            Err(outcome) => reply.answer(outcome),
        }
    }

    /// Hands the burst over to the session's shard. Waits while its queue is full, and may be tried again where that is
    /// given up.
    pub async fn hand_over(&self, session: &Arc<Session>, burst: &mut Burst) {
        if burst.is_empty() {
            return;
        }
        // Above half full, the log's queue stops its publishers before it refuses anybody.
        let writer = self.0.parts.store.writer();
        if writer.half_full() {
            writer.room().await;
        }
        // A burst or a queue that is dropped answers `shutting-down`.
        let Some(shard) = self.shard(session) else { return burst.clear() };
        let Some(permit) = shard.room(burst.room()).await else { return burst.clear() };
        let (session, published) = (Arc::clone(session), burst.take());
        drop(shard.send(Command::Publish { session, published, permit }).await);
    }

    fn reply(
        &self,
        session: &Session,
        topic: &str,
        payload: &Bytes,
        responder: Responder,
        arrived: Instant,
    ) -> Reply {
        let (from, gateway) = (&session.principal.name, session.gateway);
        let trace = self.0.parts.traces.begin(topic, payload, from, gateway);
        let metrics = session.metrics().map_or_else(|| self.gateway(gateway), Arc::clone);
        Reply { responder, metrics, arrived, trace, requeue: None }
    }

    async fn submit(&self, session: &Arc<Session>, publish: Publish, responder: Responder) {
        let mut burst = Burst::default();
        let arrived = burst.arrived().at;
        let reply = self.reply(session, &publish.topic, &publish.payload, responder, arrived);
        self.admit(session, publish, reply, &mut burst);
        self.hand_over(session, &mut burst).await;
    }

    /// Admits into a burst. A reply goes to whoever waits for it, and no further.
    fn admit(&self, session: &Arc<Session>, publish: Publish, reply: Reply, burst: &mut Burst) {
        let (level, limits, now_us) = (publish.level, &self.0.parts.limits, burst.arrived().us);
        let message = match admission::admit(session, publish, limits, &self.0.rate, now_us) {
            Ok(message) => message,
            Err(outcome) => return reply.answer(outcome),
        };
        if waiting::is_reply(&message.topic) {
            return reply.answer(self.0.waiting.hand_over(message, level));
        }
        if let Some(recorder) = &self.0.parts.recorder {
            recorder.record(&session.principal, &message);
        }
        burst.push(Published { message, level, reply });
    }

    /// Subscribes once the session's auth plugin has allowed every topic that the pattern matches.
    /// What it begins with in the past is delivered from when the answer is dropped.
    pub async fn subscribe(
        &self,
        session: &Arc<Session>,
        subscribe: Subscribe,
    ) -> Result<Subscribed, Outcome> {
        let Subscribe { pattern, since, retained, presence, instead_of } = subscribe;
        let pattern = parse_pattern(&pattern)?;
        let most = self.0.parts.limits.subscriptions_per_session;
        if session.subscription_count() >= most && !session.is_subscribed(pattern.as_str()) {
            return Err(invalid(format!("{most} subscriptions are held: unsubscribe from one first")));
        }
        let (answer, answered) = oneshot::channel();
        let wanted = Wanted { pattern, since, retained, presence, instead_of };
        self.send(session, Command::Subscribe { session: Arc::clone(session), wanted, answer }).await?;
        let joined = answered.await.map_err(|_| Outcome::ShuttingDown)??;
        let Joined { new, places, recovered, oldest, replay } = joined;
        let retained = replay.as_ref().is_some_and(|replay| replay.retained);
        let go = replay.map(|replay| self.0.replays.start(session, replay));
        Ok(Subscribed { new, places, recovered, oldest, retained, _go: go })
    }

    /// False: it was not subscribed.
    pub fn unsubscribe(&self, session: &Arc<Session>, pattern: &str) -> bool {
        self.0.parts.router.unsubscribe(session, pattern)
    }

    /// Ends the session: no more deliveries. Idempotent.
    pub fn close(&self, session: &Session) {
        session.outbound.close(1000, "");
        self.0.parts.sessions.remove(&session.id);
        self.0.parts.router.remove(session);
        self.0.parts.durable.close(session);
    }

    /// Asks for the standing subscriptions of all sessions again.
    pub async fn recheck(&self) {
        for session in self.0.parts.sessions.all() {
            let command = Command::Recheck(Arc::clone(&session));
            if self.send(&session, command).await.is_err() {
                return;
            }
        }
    }

    /// Ends all replays of logs.
    pub async fn end_replays(&self) {
        self.0.replays.stop().await;
    }

    /// Ends shards and authenticator after what is queued now; later commands are answered `shutting-down`.
    /// Blocks.
    pub fn shut(&self) {
        self.0.parts.login.stop();
        self.0.parts.shards.iter().for_each(ShardQueue::stop);
    }

    /// Forgets what need not be remembered any more. To be called now and then.
    pub fn prune(&self) {
        self.0.rate.prune();
        self.0.parts.login.prune();
    }

    /// Limits that gateways need for their own caps.
    pub fn limits(&self) -> &Limits {
        &self.0.parts.limits
    }

    /// Tenants, users, rooms, endpoints.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.0.parts.accounts
    }

    /// Takes posts that a gateway makes for its clients.
    pub fn direct(&self) -> Option<&Direct> {
        self.0.parts.direct.as_ref()
    }

    /// The open connections.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.0.parts.sessions
    }

    /// A gateway's counters.
    pub fn gateway(&self, name: &'static str) -> Arc<GatewayMetrics> {
        if let Some(metrics) = self.0.gateways.read().get(name) {
            return Arc::clone(metrics);
        }
        let metrics = self.0.parts.metrics.gateway(name);
        self.0.gateways.write().insert(name, Arc::clone(&metrics));
        metrics
    }

    async fn authorize(
        &self,
        session: &Arc<Session>,
        action: &'static str,
        topic: &str,
    ) -> Result<(), Outcome> {
        parse_pattern(topic)?;
        let (answer, answered) = oneshot::channel();
        let session = Arc::clone(session);
        let command =
            Command::Authorize { session: Arc::clone(&session), action, topic: topic.to_owned(), answer };
        self.send(&session, command).await?;
        answered.await.map_err(|_| Outcome::ShuttingDown)?
    }

    async fn send(&self, session: &Session, command: Command) -> Result<(), Outcome> {
        let shard = self.shard(session).ok_or(Outcome::ShuttingDown)?;
        shard.send(command).await.map_err(|_| Outcome::ShuttingDown)
    }

    fn shard(&self, session: &Session) -> Option<&ShardQueue> {
        let shards = &self.0.parts.shards;
        let at = session.affinity.checked_rem(shards.len() as u64)?;
        shards.get(usize::try_from(at).ok()?)
    }
}

fn parse_pattern(pattern: &str) -> Result<Pattern, Outcome> {
    Pattern::parse(pattern).map_err(|error| invalid(format!("topic pattern {pattern:?}: {error}")))
}

fn invalid(reason: String) -> Outcome {
    Outcome::Invalid(Refusal { reason, ..Refusal::default() })
}

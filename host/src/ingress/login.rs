//! Authentication: one thread, apart from the shards, with instances of the auth plugins of its own. Logging
//! in never waits for messages, and messages never for logins.

mod granted;

use std::cell::Cell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use super::proof::Proofs;
use super::{Credential, Rejected};
use crate::accounts::{Account, Accounts, MAIN};
use crate::config::Limits;
use crate::message::{Grant, Principal, now_us};
use crate::metrics::Metrics;
use crate::pipeline::{AuthStage, Stages};
use crate::plugin::contract::{Attribute, CredentialIn, Decision, GrantOut};
use crate::plugin::{Chain, Engine, imports};
use crate::sequencer::Sequencer;
use crate::session::{NoticeEncoder, OutboundLimits, Session};
use granted::{Authority, Granted, Remembered};

/// Credentials that may wait; more are told that the router is busy.
const QUEUE: usize = 1_024;
/// Without an answer for so long, the client is told that the router is busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// Attributes of a credential.
const ATTRIBUTES: usize = 32;

/// The authenticator's queue, from the outside.
pub struct Login {
    asks: Sender<Option<Ask>>,
    proofs: Proofs,
    granted: Granted,
    chain: Arc<ArcSwap<Chain>>,
    accounts: Arc<Accounts>,
    limits: Limits,
}

/// What the authenticator needs.
pub struct LoginContext {
    /// The live chain.
    pub chain: Arc<ArcSwap<Chain>>,
    /// The engine, for its clock.
    pub engine: Engine,
    /// What secrets prove.
    pub accounts: Arc<Accounts>,
    /// Commits what auth plugins write to their state.
    pub sequencer: Arc<Sequencer>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

struct Ask {
    credential: Credential,
    proven: Option<Arc<Account>>,
    session: Arc<str>,
    answer: oneshot::Sender<Result<Entered, Rejected>>,
}

/// Who was let in.
struct Entered {
    principal: Principal,
    /// The grant, under which authority it was made; none: it is good for once.
    again: Option<(Remembered, Authority)>,
}

impl Login {
    /// Starts the thread.
    pub fn start(context: LoginContext, limits: Limits) -> std::io::Result<(Self, JoinHandle<()>)> {
        let proofs = Proofs::new(Arc::clone(&context.accounts), limits.failed_logins)?;
        let granted = Granted::new()?;
        let (chain, accounts) = (Arc::clone(&context.chain), Arc::clone(&context.accounts));
        let (asks, queue) = channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("login".into())
            .spawn(move || Authenticator { context, stages: Stages::default() }.run(queue))?;
        Ok((Self { asks, proofs, granted, chain, accounts, limits }, thread))
    }

    /// Ends the thread after what is queued now. Blocks while the queue is full.
    pub(super) fn stop(&self) {
        drop(self.asks.blocking_send(None));
    }

    /// Forgets what need not be remembered any more.
    pub(super) fn prune(&self) {
        self.proofs.prune();
        self.granted.prune();
    }

    /// Sees what the secret proves, and asks the auth plugins who this is. `notices`: none for a request, which may be
    /// let in as the one before it was.
    pub(super) async fn open(
        &self,
        credential: Credential,
        notices: Option<NoticeEncoder>,
    ) -> Result<Session, Rejected> {
        let (gateway, address) = (credential.gateway, credential.address.clone());
        let client_id = credential.client_id.clone();
        let session: Arc<str> = ulid::Ulid::generate().to_string().into();
        let (answer, answered) = oneshot::channel();
        let proven = tokio::time::timeout(PATIENCE, self.proofs.of(&credential));
        let proven = proven.await.map_err(|_| Rejected::Busy)??;
        let bounds = OutboundLimits { messages: self.limits.queue_messages, bytes: self.limits.queue_bytes };
        let request = notices.is_none().then(|| self.granted.digest(&credential, proven.as_deref()));
        if let Some(again) = request.as_ref().and_then(|digest| self.granted.find(digest, self.authority())) {
            let Remembered { grant, plugin } = again;
            let principal = Principal::new(grant, plugin, gateway, &session).map_err(|_| Rejected::Denied)?;
            let session = Session::new(session, principal, gateway, address, bounds, notices);
            return Ok(session.of_client(client_id.as_deref()));
        }
        let ask = Ask { credential, proven, session: Arc::clone(&session), answer };
        self.asks.try_send(Some(ask)).map_err(|error| match error {
            tokio::sync::mpsc::error::TrySendError::Full(_) => Rejected::Busy,
            tokio::sync::mpsc::error::TrySendError::Closed(_) => Rejected::ShuttingDown,
        })?;
        let answered = tokio::time::timeout(PATIENCE, answered).await.map_err(|_| Rejected::Busy)?;
        let Entered { principal, again } = answered.map_err(|_| Rejected::ShuttingDown)??;
        let session = Session::new(session, principal, gateway, address, bounds, notices);
        if let Some((digest, (again, authority))) = request.zip(again) {
            self.granted.remember(digest, again, authority);
        }
        Ok(session.of_client(client_id.as_deref()))
    }

    fn authority(&self) -> Authority {
        (self.chain.load().authority, self.accounts.revision())
    }
}

struct Authenticator {
    context: LoginContext,
    stages: Stages,
}

impl Authenticator {
    fn run(mut self, mut queue: Receiver<Option<Ask>>) {
        let engine = self.context.engine.clone();
        while let Some(Some(ask)) = queue.blocking_recv() {
            if ask.answer.is_closed() {
                continue;
            }
            let chain = self.context.chain.load_full();
            self.stages.adopt_auth(&chain, &self.context.metrics);
            let _clock = engine.running();
            let authority = (chain.authority, self.context.accounts.revision());
            let answer = self.authenticate(ask.credential, ask.proven, &ask.session, authority);
            drop(ask.answer.send(answer));
        }
    }

    /// First answer that is no abstention wins; a failure is a no.
    fn authenticate(
        &mut self,
        credential: Credential,
        proven: Option<Arc<Account>>,
        session: &str,
        authority: Authority,
    ) -> Result<Entered, Rejected> {
        let gateway = credential.gateway;
        let asked = shown(credential, proven.as_deref());
        let mut granted = Err(Rejected::Unauthenticated);
        let clock = Cell::new(Instant::now());
        for stage in &mut self.stages.auth {
            let stage = match stage {
                AuthStage::Live(stage) => stage,
                AuthStage::Closed => {
                    granted = Err(Rejected::Denied);
                    break;
                }
            };
            let plugin = Arc::clone(stage.name());
            // Whose credential it is, as far as the router has verified it.
            let tenant = || asked.proven.first().map(|account| account.tenant.as_str());
            match stage.call(&clock, tenant, |instance| instance.authenticate(asked.clone())) {
                Ok(Decision::Abstain) => continue,
                Ok(Decision::Allow(grant)) => granted = Ok((grant, plugin)),
                Ok(Decision::Deny(reason)) => {
                    let reason = imports::logging::cut(&reason, 1024);
                    tracing::info!(%plugin, gateway, address = asked.address, reason, "session denied");
                    granted = Err(Rejected::Denied);
                }
                Err(error) => {
                    tracing::warn!(%plugin, gateway, %error, "auth plugin failed: session denied");
                    granted = Err(Rejected::Denied);
                }
            }
            break;
        }
        let effects = self.stages.take_effects();
        let stateless = effects.is_empty();
        if !stateless && self.context.sequencer.accept(Vec::new(), effects, None).is_err() {
            tracing::debug!("state written by an authenticate call was not committed");
        }
        let (grant, plugin) = granted?;
        let grant = self.checked(grant, &plugin)?;
        let again = stateless.then(|| {
            let (grant, plugin) = (grant.clone(), Arc::clone(&plugin));
            (Remembered { grant, plugin }, authority)
        });
        let principal = Principal::new(grant, Arc::clone(&plugin), gateway, session).map_err(|error| {
            tracing::warn!(%plugin, %error, "auth plugin made an impossible grant: denied");
            Rejected::Denied
        })?;
        Ok(Entered { principal, again })
    }

    /// Guest-controlled: the grant is checked, and never outlives the account that it rests on.
    fn checked(&self, grant: GrantOut, plugin: &Arc<str>) -> Result<Grant, Rejected> {
        let account = grant.account.as_deref().map(|id| self.context.accounts.proven(id));
        let expires_us = match account {
            Some(None) => {
                tracing::warn!(%plugin, "auth plugin granted on an account that does not exist: denied");
                return Err(Rejected::Denied);
            }
            Some(Some(account)) => earliest(grant.expires_us, account.expires_us),
            None => grant.expires_us,
        };
        if let Some(wrong) = self.wrong_tenant(&grant) {
            tracing::warn!(%plugin, tenant = grant.tenant, wrong, "auth plugin granted a tenant: denied");
            return Err(Rejected::Denied);
        }
        if expires_us.is_some_and(|at| at <= now_us()) {
            return Err(Rejected::Denied);
        }
        Ok(Grant {
            tenant: grant.tenant,
            name: grant.name,
            origin: grant.origin,
            account: grant.account,
            expires_us,
            claims: grant.claims,
            attributes: grant.attributes.into_iter().map(|a| (a.name, a.value)).collect(),
        })
    }
}

impl Authenticator {
    /// Why the grant cannot be of this tenant; none if it can. What belongs to a tenant never gets out of it.
    fn wrong_tenant(&self, grant: &GrantOut) -> Option<&'static str> {
        let accounts = &self.context.accounts;
        let account = grant.account.as_deref().and_then(|id| accounts.proven(id));
        if !accounts.has_tenant(&grant.tenant) {
            return Some("it does not exist");
        }
        let other = account.is_some_and(|account| account.tenant != MAIN && account.tenant != grant.tenant);
        other.then_some("the account belongs to another")
    }
}

/// What the plugin is shown. The secret itself stays here: what it proves is shown instead.
fn shown(credential: Credential, proven: Option<&Account>) -> CredentialIn {
    let attributes = credential.attributes.into_iter().take(ATTRIBUTES);
    CredentialIn {
        gateway: credential.gateway.to_owned(),
        address: credential.address,
        tls_name: credential.tls_name,
        user: credential.user,
        client_id: credential.client_id,
        secret_from: credential.secret.map(|(from, _)| from.to_owned()),
        secret: None,
        proven: proven.into_iter().map(Into::into).collect(),
        attributes: attributes.map(|(name, value)| Attribute { name, value }).collect(),
    }
}

fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

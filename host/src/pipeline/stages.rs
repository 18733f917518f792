//! A shard's own instances of the chain's plugins.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::instances::Isolated;
use super::{By, Stop, shadow};
use crate::metrics::{End, Limit, Metrics, StageMetrics};
use crate::plugin::contract::{Decision, Permission, TransformOutcome, Verdict};
use crate::plugin::guest::StateAccess;
use crate::plugin::shadow::Shadow;
use crate::plugin::space::{Change, Transaction};
use crate::plugin::{AuthSlot, Binding, CallError, Chain, Closed, Instance, Policy};
use crate::sequencer::Effect;

/// A failure within this part of the deadline is tried once more.
const CHEAP: u32 = 4;

/// One binding as this shard runs it.
pub struct Stage {
    /// The binding.
    pub binding: Arc<Binding>,
    instance: Option<Instance>,
    /// None: the instance serves everybody.
    isolated: Option<Box<Isolated>>,
    /// What a pass has read and written in an instance that died without a successor.
    stranded: Transaction,
    /// What is called is without consequences, also for the plugin.
    pub(super) rehearses: bool,
    metrics: StageMetrics,
    /// Candidates that see what it sees.
    pub(super) shadows: Box<[Arc<Shadow>]>,
}

/// One place in the auth order.
pub enum AuthStage {
    /// A plugin.
    Live(Box<Stage>),
    /// A plugin was here and vanished: refuse.
    Closed,
}

/// All stages of one chain.
#[derive(Default)]
pub struct Stages {
    /// Generation of the chain that these belong to.
    pub generation: u64,
    /// Auth, in order.
    pub auth: Vec<AuthStage>,
    /// Filters, in order.
    pub filters: Vec<Stage>,
    /// Transforms, in order.
    pub transforms: Vec<Stage>,
    /// Filters and transforms that should be there and do not load.
    closed: Vec<Closed>,
}

impl Stages {
    /// Whether what comes is only a rehearsal: then no failure counts against a plugin, nor is it tried for that whether
    /// it does well again.
    pub fn rehearse(&mut self, rehearses: bool) {
        self.all().for_each(|stage| stage.rehearses = rehearses);
    }

    /// Goes over to a chain: bindings that stay keep their instances.
    pub fn adopt(&mut self, chain: &Chain, metrics: &Arc<Metrics>) {
        if chain.generation == self.generation {
            return;
        }
        let mut kept: HashMap<*const Binding, Stage> = HashMap::new();
        let old = std::mem::take(self);
        let live = old.auth.into_iter().filter_map(|stage| match stage {
            AuthStage::Live(stage) => Some(*stage),
            AuthStage::Closed => None,
        });
        for stage in live.chain(old.filters).chain(old.transforms) {
            kept.insert(Arc::as_ptr(&stage.binding), stage);
        }
        let mut stage = |binding: &Arc<Binding>| {
            kept.remove(&Arc::as_ptr(binding)).unwrap_or_else(|| Stage::new(binding, metrics))
        };
        let auth = chain.auth.iter().map(|slot| match slot {
            AuthSlot::Live(binding) => AuthStage::Live(Box::new(stage(binding))),
            AuthSlot::Closed { .. } => AuthStage::Closed,
        });
        self.auth = auth.collect();
        self.filters = chain.filters.iter().map(&mut stage).collect();
        self.transforms = chain.transforms.iter().map(&mut stage).collect();
        self.closed = chain.closed.clone();
        for stage in self.filters.iter_mut().chain(&mut self.transforms) {
            stage.shadows = shadow::of(chain, stage.binding.name(), metrics);
        }
        self.generation = chain.generation;
    }

    /// As [`adopt`](Self::adopt), for a thread that only authenticates.
    pub fn adopt_auth(&mut self, chain: &Chain, metrics: &Arc<Metrics>) {
        if chain.generation != self.generation {
            let auth_only = Chain { filters: Vec::new(), transforms: Vec::new(), ..chain.clone() };
            self.adopt(&auth_only, metrics);
        }
    }

    /// The auth stage of this name.
    pub fn auth_of(&mut self, name: &str) -> Option<&mut Stage> {
        self.auth.iter_mut().find_map(|stage| match stage {
            AuthStage::Live(stage) if &**stage.name() == name => Some(&mut **stage),
            _ => None,
        })
    }

    /// What becomes of a message that missing filters or transforms should have seen: their policies say it, each of
    /// them, as far as the message comes. `missing` is told of each.
    pub fn check_complete(&self, topic: &str, missing: impl Fn(&Closed, &CallError)) -> Result<(), Stop> {
        let meets = |closed: &&Closed| closed.topics.iter().any(|pattern| pattern.matches(topic));
        for closed in self.closed.iter().filter(meets) {
            let error = CallError::Skipped("it was live and does not load".into());
            missing(closed, &error);
            if closed.policy != Policy::Pass {
                let (plugin, stage) = (Arc::clone(&closed.name), closed.kind.as_str());
                return Err(stop(
                    By { plugin, version: "".into(), stage, digest: None },
                    &error,
                    closed.policy,
                ));
            }
        }
        Ok(())
    }

    /// Filters whose topics match.
    pub fn filters_of(&mut self, topic: &str) -> impl Iterator<Item = &mut Stage> {
        self.filters.iter_mut().filter(move |stage| stage.binding.spec.takes(topic))
    }

    /// What the pass has read and written so far, taken out of the instances.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for stage in self.all() {
            let transaction = match &mut stage.instance {
                Some(instance) => &mut instance.guest().transaction,
                None => &mut stage.stranded,
            };
            if transaction.touched()
                && let StateAccess::Space(space) = &stage.binding.shared.state
            {
                let space = Arc::clone(space);
                effects.push(Effect { space, transaction: std::mem::take(transaction) });
            }
        }
        effects
    }

    /// Forgets what the pass has read and written.
    pub fn clear(&mut self) {
        self.all().for_each(Stage::forget);
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Stage> {
        let auth = self.auth.iter_mut().filter_map(|stage| match stage {
            AuthStage::Live(stage) => Some(&mut **stage),
            AuthStage::Closed => None,
        });
        auth.chain(&mut self.filters).chain(&mut self.transforms)
    }
}

/// How an answer is counted.
pub trait Counted {
    /// The counter.
    fn end(&self) -> End;
}

impl Stage {
    /// A stage that takes its instance when it is first called.
    pub fn new(binding: &Arc<Binding>, metrics: &Metrics) -> Self {
        let metrics = metrics.stage(binding.kind().as_str(), binding.name(), &binding.shared.version);
        // A binding without a waiting instance makes one at its first message, and says what went wrong.
        Self {
            binding: Arc::clone(binding),
            instance: binding.spare().ok(),
            isolated: Isolated::new(binding.spec.isolation),
            stranded: Transaction::default(),
            rehearses: false,
            metrics,
            shadows: Box::default(),
        }
    }

    /// Binding name.
    pub fn name(&self) -> &Arc<str> {
        self.binding.name()
    }

    /// Calls the plugin, unless its breaker is open; once more, on a fresh instance, after a failure that may be the
    /// instance's own.
    /// `clock` is the end of the call before, and becomes the end of this one: one look at the time per call.
    /// `tenant`, for whom it is, is only asked where it makes a difference.
    pub fn call<'t, T: Counted>(
        &mut self,
        clock: &Cell<Instant>,
        tenant: impl FnOnce() -> Option<&'t str>,
        mut call: impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let whom = self.isolated.is_some().then(tenant);
        let began = clock.get();
        match self.call_once(clock, whom, &mut call) {
            Err(error) if error.worth_a_retry() && self.was_cheap(clock.get() - began) => {
                let (plugin, version) = (self.name(), &self.binding.shared.version);
                tracing::debug!(%plugin, %version, %error, "plugin call failed, tried once more");
                self.call_once(clock, None, &mut call)
            }
            answer => answer,
        }
    }

    fn may_be_called(&self) -> Result<(), CallError> {
        let health = &self.binding.health;
        if self.rehearses { health.look() } else { health.check() }
    }

    /// A call that took long to fail is not tried again: the shard has stood still for it once.
    fn was_cheap(&self, took: Duration) -> bool {
        took <= self.binding.shared.limits.deadline / CHEAP
    }

    /// `whom`: the instance must be one that may serve this tenant.
    fn call_once<T: Counted>(
        &mut self,
        clock: &Cell<Instant>,
        whom: Option<Option<&str>>,
        call: &mut impl FnMut(&mut Instance) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let answer = self.may_be_called().and_then(|()| {
            if let (Some(tenant), Some(isolated)) = (whom, &mut self.isolated) {
                isolated.turn_to(tenant, &mut self.instance, || self.binding.fresh())?;
                if let Some(instance) = self.instance.as_mut().filter(|_| self.stranded.touched()) {
                    instance.guest().transaction = std::mem::take(&mut self.stranded);
                }
            }
            let instance = match &mut self.instance {
                Some(instance) => instance,
                none => {
                    let fresh = none.insert(self.binding.spare()?);
                    fresh.guest().transaction = std::mem::take(&mut self.stranded);
                    fresh
                }
            };
            call(instance)
        });
        match &answer {
            _ if self.rehearses => {}
            Ok(_) => self.binding.health.answered(),
            Err(error) => self.binding.failed(error),
        }
        if self.instance.as_ref().is_some_and(Instance::is_dead) {
            self.replace();
        }
        let end = answer.as_ref().map_or_else(End::from, Counted::end);
        let now = Instant::now();
        let took = now.duration_since(clock.replace(now));
        self.metrics.ended(end, took);
        self.binding.shared.used.took(Limit::Deadline, took);
        answer
    }

    /// A dead instance goes; what the pass read and wrote before the failed call stays with its successor.
    fn replace(&mut self) {
        let Some(mut dead) = self.instance.take() else { return };
        let mut transaction = std::mem::take(&mut dead.guest().transaction);
        transaction.discard_call();
        match self.binding.spare() {
            Ok(mut fresh) => {
                fresh.guest().transaction = transaction;
                self.instance = Some(fresh);
            }
            Err(_) => self.stranded = transaction,
        }
    }

    /// What its last call overwrote in `state`, as it was before.
    pub(super) fn before_call(&mut self) -> Vec<Change> {
        match (&mut self.instance, &self.binding.shared.state) {
            (Some(instance), StateAccess::Space(space)) => instance.guest().transaction.before_call(space),
            _ => Vec::new(),
        }
    }

    /// Forgets what it has read and written.
    pub(super) fn forget(&mut self) {
        match &mut self.instance {
            Some(instance) => instance.guest().transaction.clear(),
            None => self.stranded.clear(),
        }
    }

    /// The plugin failed: what its policy makes of it. Ok = the message goes on.
    pub fn apply_policy(&self, error: CallError) -> Result<(), Stop> {
        match self.binding.policy {
            Policy::Pass => {
                self.binding.complain(&error, "message passed on (on-error = pass)");
                Ok(())
            }
            policy => Err(self.failed(error, policy)),
        }
    }

    /// The stop that a failure leads to.
    pub fn failed(&self, error: CallError, policy: Policy) -> Stop {
        let (plugin, version) = (Arc::clone(self.name()), Arc::clone(&self.binding.shared.version));
        self.binding.complain(&error, policy.as_str());
        let (stage, digest) = (self.binding.kind().as_str(), Some(self.binding.loaded.digest));
        stop(By { plugin, version, stage, digest }, &error, policy)
    }
}

/// What a failure leads to, for a policy that lets nothing through.
fn stop(by: By, error: &CallError, policy: Policy) -> Stop {
    let reason = error.to_string();
    match policy {
        Policy::Drop => Stop::Dropped(format!("plugin {} failed; its policy drops the message", by.plugin)),
        Policy::DeadLetter => Stop::DeadLetter { by, reason },
        Policy::Deny | Policy::Disconnect | Policy::Pass => {
            let (By { plugin, version, .. }, disconnect) = (by, policy == Policy::Disconnect);
            Stop::Failed { plugin, version, reason, disconnect }
        }
    }
}

impl Counted for Verdict {
    fn end(&self) -> End {
        match self {
            Self::Keep => End::Keep,
            Self::Drop(_) => End::Drop,
            Self::Refuse(_) => End::Refuse,
        }
    }
}

impl Counted for TransformOutcome {
    fn end(&self) -> End {
        match self {
            Self::Unchanged => End::Unchanged,
            Self::Replace(messages) if messages.is_empty() => End::Consumed,
            Self::SetPayload(_) | Self::SetMeta(_) | Self::Add(_) | Self::Replace(_) => End::Changed,
            Self::Refuse(_) => End::Refuse,
        }
    }
}

impl Counted for Permission {
    fn end(&self) -> End {
        match self {
            Self::Allow => End::Allow,
            Self::Deny(_) => End::Deny,
        }
    }
}

impl Counted for Decision {
    fn end(&self) -> End {
        match self {
            Self::Allow(_) => End::Allow,
            Self::Abstain => End::Abstain,
            Self::Deny(_) => End::Deny,
        }
    }
}

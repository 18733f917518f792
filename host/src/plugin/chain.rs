//! The immutable, ordered snapshot of all bindings. A message uses one chain from end to end.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use weir_contract::topic::Pattern;

use super::binding::{Budget, Policy, Spec};
use super::component::Loaded;
use super::guest::{Shared, StateAccess};
use super::health::Health;
use super::imports::logging::LogGate;
use super::report::Report;
use super::shadow::Shadow;
use super::spares::{Orders, SPARES};
use super::{CallError, Engine, Instance, Kind, LoadError};
use crate::message::now_us;
use crate::store::StorageSpace;

/// Lines a second about the failures of one binding.
const COMPLAINTS_PER_S: u32 = 10;

/// One binding with its compiled component: makes instances.
pub struct Binding {
    /// What its file says.
    pub spec: Spec,
    /// Its configuration with the secrets in it, for `init` alone.
    pub(super) config: String,
    /// Kind, digest and resolved imports.
    pub loaded: Loaded,
    /// What its instances share.
    pub shared: Shared,
    /// What happens when it fails.
    pub policy: Policy,
    /// When it went live, Unix microseconds.
    pub loaded_us: u64,
    pub(super) engine: Engine,
    /// Packed fields 0x20-0x25, for `init`.
    pub(super) context: Vec<u8>,
    /// How a shard says that it fails too often.
    pub report: Arc<Report>,
    /// How it does.
    pub health: Health,
    /// Rate limit of log lines about its failures.
    pub(super) complaints: LogGate,
    /// Where more instances are ordered.
    pub(super) orders: Orders,
    /// Instances made off the message path, for the shards to take.
    pub(super) ready: Mutex<Vec<Instance>>,
    /// Told when one more is ready.
    pub(super) arrived: Condvar,
}

/// What a binding is made of.
pub(super) struct Parts {
    pub spec: Spec,
    pub config: String,
    pub loaded: Loaded,
    pub shared: Shared,
    pub engine: Engine,
    pub context: Vec<u8>,
    pub report: Arc<Report>,
    pub orders: Orders,
}

impl Binding {
    /// Of now, well, and without instances.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { spec, config, loaded, shared, engine, context, report, orders } = parts;
        Self {
            policy: spec.on_error.unwrap_or(Policy::default_for(loaded.kind)),
            health: Health::new(spec.budget),
            loaded_us: now_us(),
            complaints: LogGate::new(COMPLAINTS_PER_S, Arc::default()),
            ready: Mutex::default(),
            arrived: Condvar::new(),
            spec,
            config,
            loaded,
            shared,
            engine,
            context,
            report,
            orders,
        }
    }

    /// Binding name.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.binding
    }

    /// The component's kind.
    pub fn kind(&self) -> Kind {
        self.loaded.kind
    }

    /// The engine, for its clock.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A fresh instance: one that waits, or a new one. For threads that may wait for `init`.
    pub fn instance(&self) -> Result<Instance, CallError> {
        let waiting = self.ready.lock().pop();
        match waiting {
            Some(instance) => Ok(instance),
            None => self.made(self.make()),
        }
    }

    /// A fresh instance that was made elsewhere. Waits at most one deadline, and not at all for a binding that loses
    /// its instances faster than it may.
    pub fn spare(self: &Arc<Self>) -> Result<Instance, CallError> {
        let mut ready = self.ready.lock();
        if ready.len() <= SPARES {
            self.orders.order(self);
        }
        let until = Instant::now() + self.shared.limits.deadline;
        loop {
            if let Some(instance) = ready.pop() {
                return Ok(instance);
            }
            if !self.health.is_renewed() || self.arrived.wait_until(&mut ready, until).timed_out() {
                let why = "no instance is ready: it loses them faster than they are made".to_owned();
                return ready.pop().ok_or(CallError::Skipped(why));
            }
        }
    }

    /// An instance made here and now, for one message or one tenant. Its `init` has no more time than a call, since
    /// messages wait for it.
    pub fn fresh(&self) -> Result<Instance, CallError> {
        let mut shared = self.shared.clone();
        shared.limits.init_deadline = shared.limits.init_deadline.min(shared.limits.deadline);
        self.made(Instance::new(&self.engine, &self.loaded, shared, &self.config, &self.context))
    }

    fn made(&self, made: Result<Instance, LoadError>) -> Result<Instance, CallError> {
        made.map_err(|error| match error {
            LoadError::Init(call) => call,
            other => CallError::Engine(other.to_string().into()),
        })
    }

    /// Whether fewer instances wait than should.
    pub(super) fn spares_missing(&self) -> bool {
        self.ready.lock().len() < SPARES
    }

    /// One more instance waits.
    pub(super) fn keep_ready(&self, instance: Instance) {
        self.ready.lock().push(instance);
        self.arrived.notify_one();
    }

    /// A line of the router's log about a failure: some a second, for a plugin may fail at every message.
    pub fn complain(&self, error: &CallError, policy: &str) {
        let text = error.to_string();
        if let Some(left_out) = self.complaints.pass(&text) {
            let (plugin, version) = (self.name(), &self.shared.version);
            tracing::warn!(%plugin, %version, cause = error.cause(), error = text, policy, left_out, "plugin failed");
        }
    }

    /// A call failed, or was not made.
    pub fn failed(&self, error: &CallError) {
        let (plugin, version) = (self.name(), &self.shared.version);
        match error {
            CallError::Skipped(_) => return,
            // It is well enough to say so.
            CallError::Unavailable(_) | CallError::Internal(_) => self.health.answered(),
            _ => {}
        }
        if self.health.failed(error) {
            let Budget { failures, window } = self.spec.budget;
            tracing::error!(%plugin, %version, failures, window_s = window.as_secs(), "over its error budget");
            self.report.over_budget(format!(
                "more than {failures} failures within {} s after it went live, the last one: {error}",
                window.as_secs()
            ));
        }
    }

    /// The same binding, with nothing of its own: over these data, without instances, and well.
    pub(super) fn beside(&self, state: StateAccess) -> Self {
        let parts = Parts {
            spec: self.spec.clone(),
            config: self.config.clone(),
            loaded: self.loaded.clone(),
            shared: Shared { state, ..self.shared.clone() },
            engine: self.engine.clone(),
            context: self.context.clone(),
            report: Arc::clone(&self.report),
            orders: self.orders.clone(),
        };
        Self { loaded_us: self.loaded_us, ..Self::new(parts) }
    }

    /// The same storage binding over another generation of its key space. Takes the instances that wait, if they
    /// are of that generation.
    pub fn over(&self, space: &Arc<StorageSpace>) -> Arc<Self> {
        let beside = self.beside(StateAccess::Storage(Arc::clone(space)));
        let mut ready = std::mem::take(&mut *self.ready.lock());
        ready.retain_mut(|instance| instance.guest().shared.is_same(&beside.shared));
        *beside.ready.lock() = ready;
        Arc::new(beside)
    }

    pub(super) fn make(&self) -> Result<Instance, LoadError> {
        let _clock = self.engine.running();
        Instance::new(&self.engine, &self.loaded, self.shared.clone(), &self.config, &self.context)
    }
}

/// One place in the auth order.
#[derive(Clone)]
pub enum AuthSlot {
    /// A plugin.
    Live(Arc<Binding>),
    /// An auth plugin was here and its file vanished or does not load: whoever comes so far is refused.
    Closed {
        /// Its binding name.
        name: Arc<str>,
        /// Its order.
        order: i64,
    },
}

impl AuthSlot {
    /// The plugin, if it is there.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Live(binding) => Some(binding),
            Self::Closed { .. } => None,
        }
    }

    /// Order, then name.
    pub fn rank(&self) -> (i64, Arc<str>) {
        match self {
            Self::Live(binding) => (binding.spec.order, Arc::clone(binding.name())),
            Self::Closed { name, order } => (*order, Arc::clone(name)),
        }
    }
}

/// All bindings, each kind in its order.
#[derive(Clone, Default)]
pub struct Chain {
    /// Rises with each swap.
    pub generation: u64,
    /// Rises when the auth part changes: then standing permissions are asked for again.
    pub authority: u64,
    /// Asked in order, first answer that is no abstention wins.
    pub auth: Vec<AuthSlot>,
    /// In order.
    pub filters: Vec<Arc<Binding>>,
    /// In order.
    pub transforms: Vec<Arc<Binding>>,
    /// Consumers of the log; they have no order.
    pub storages: Vec<Arc<Binding>>,
    /// Filters and transforms that were live and do not load: their policies decide on the messages of their topics.
    pub closed: Vec<Closed>,
    /// Candidates that see messages and are no part of their way.
    pub shadows: Vec<Arc<Shadow>>,
}

/// A binding that was live and is not, and must not be passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Binding name.
    pub name: Arc<str>,
    /// What it was.
    pub kind: Kind,
    /// Where it stood.
    pub order: i64,
    /// Whose messages it got.
    pub topics: Vec<Pattern>,
    /// What becomes of them.
    pub policy: Policy,
}

impl Chain {
    /// Sorts bindings into a chain. The generations are the caller's.
    pub fn build(bindings: &[Arc<Binding>], closed: &[Closed]) -> Self {
        let mut sorted = bindings.to_vec();
        sorted.sort_by(|a, b| (a.spec.order, a.name()).cmp(&(b.spec.order, b.name())));
        let of = |kind: Kind| sorted.iter().filter(move |b| b.kind() == kind).cloned().collect::<Vec<_>>();
        let mut auth: Vec<_> = of(Kind::Auth).into_iter().map(AuthSlot::Live).collect();
        let (doors, closed): (Vec<_>, Vec<_>) =
            closed.iter().cloned().partition(|closed| closed.kind == Kind::Auth);
        auth.extend(doors.into_iter().map(|door| AuthSlot::Closed { name: door.name, order: door.order }));
        auth.sort_by_key(AuthSlot::rank);
        Self {
            generation: 0,
            authority: 0,
            auth,
            filters: of(Kind::Filter),
            transforms: of(Kind::Transform),
            storages: of(Kind::Storage),
            closed,
            shadows: Vec::new(),
        }
    }

    /// All live bindings, in pipeline order.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.auth
            .iter()
            .filter_map(AuthSlot::binding)
            .chain(&self.filters)
            .chain(&self.transforms)
            .chain(&self.storages)
    }

    /// Whether the auth part is the same, plugin for plugin.
    pub fn same_auth(&self, other: &Self) -> bool {
        let same = |a: &AuthSlot, b: &AuthSlot| match (a, b) {
            (AuthSlot::Live(a), AuthSlot::Live(b)) => Arc::ptr_eq(a, b),
            (AuthSlot::Closed { .. }, AuthSlot::Closed { .. }) => a.rank() == b.rank(),
            _ => false,
        };
        self.auth.len() == other.auth.len() && self.auth.iter().zip(&other.auth).all(|(a, b)| same(a, b))
    }
}

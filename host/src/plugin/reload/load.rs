//! One version: compiled, checked, tried out, and its instances made.

use std::sync::Arc;

use super::super::binding::{Policy, Secrets, Spec};
use super::super::chain::Parts;
use super::super::component::Loaded;
use super::super::folder::File;
use super::super::guest::{Shared, StateAccess};
use super::super::report::Report;
use super::super::space::{Space, Value};
use super::super::spares::SPARES;
use super::super::{Binding, Engine, Instance, Kind, LoadError, Problem};
use super::loader::{Live, Loader};
use super::migrate::{self, Plan};
use super::schema::Entry;
use super::wanted::{check_isolation, limits};
use crate::metrics::{Granted, Limit};

/// A version that could go live.
pub(super) struct Draft {
    pub binding: Arc<Binding>,
    /// What its state will be, if that is news.
    pub entry: Option<(String, Entry)>,
    /// The space that it leaves, for the one of before the migration.
    pub leaves: Option<Arc<Space>>,
    /// Its state must be migrated first: it has no instances yet.
    pub plan: Option<Plan>,
}

/// What becomes of the state with a version.
#[derive(Default)]
struct State {
    entry: Option<(String, Entry)>,
    leaves: Option<Arc<Space>>,
    plan: Option<Plan>,
}

impl Loader {
    /// Takes a version through every step but the swap. Nothing that serves is touched.
    pub(super) fn load(
        &mut self,
        stem: &str,
        spec: &Spec,
        file: &File,
        secrets: Secrets,
        is_kept: bool,
    ) -> Result<Draft, LoadError> {
        let limits = limits(spec, &self.options.limits, &self.options.ceiling)?;
        let engine = self.engine.with_stack(limits.stack_bytes)?;
        let fits = |live: &&Live| {
            let (known, stack) = (&live.binding.spec, live.binding.shared.limits.stack_bytes);
            live.digest == file.digest
                && stack == limits.stack_bytes
                && (known.count_only, &known.imports) == (spec.count_only, &spec.imports)
        };
        let known = self.live.values().find(fits).map(|live| live.binding.loaded.clone());
        let loaded = self.bench.activation.load(&engine, spec, &limits, file, known)?;
        let kind = loaded.kind;
        check_isolation(spec, kind)?;
        self.check_place(stem, spec, kind)?;
        let secrets = Arc::new(secrets);
        let config = secrets.fill(&spec.config)?;
        let state = self.state(stem, &spec.name, kind, limits.state_bytes)?;
        let held = match &state {
            StateAccess::Space(space) => space.held(),
            StateAccess::Storage(_) => Arc::default(),
        };
        let used = self.options.metrics.plugin_use(&spec.name, &limits, held);
        used.note(Limit::FileBytes, file.bytes.len() as u64);
        let mut shared = Shared {
            accounts: Some(Arc::clone(&self.options.accounts)),
            ..Shared::new(spec, &loaded, limits, secrets, state, used)
        };
        for import in &*loaded.ungranted {
            shared.ungranted.lets_pass(Granted::Imports, import);
        }
        let State { entry, leaves, plan } = self.state_for(stem, &engine, &loaded, &mut shared, is_kept)?;
        let binding = Binding::new(Parts {
            spec: spec.clone(),
            config,
            context: self.bench.context(stem, &spec.name, &loaded.digest, false),
            report: Arc::new(Report::new(self.over_budget_waker())),
            orders: self.bench.orders.clone(),
            engine,
            loaded,
            shared,
        });
        match &plan {
            Some(plan) => self.rehearse_migration(stem, &binding, plan)?,
            None => {
                self.bench.rehearse(stem, &binding)?;
                self.fill_ready(&binding)?;
            }
        }
        self.ledger.note(stem, spec, kind)?;
        Ok(Draft { binding: Arc::new(binding), entry, leaves, plan })
    }

    /// No door may open unseen: not by a failure, nor by another kind under an auth plugin's name.
    fn check_place(&self, stem: &str, spec: &Spec, kind: Kind) -> Result<(), LoadError> {
        let message = match kind {
            Kind::Auth if spec.on_error == Some(Policy::Pass) => {
                "on-error = \"pass\" is refused for auth plugins: a failure would let everybody in".to_owned()
            }
            Kind::Auth => return Ok(()),
            _ if self.ledger.was_auth(&spec.name) => format!(
                "{} was an auth plugin and is now a {kind}: give it another name, so that no door opens unseen",
                spec.name
            ),
            _ => return Ok(()),
        };
        let file = self.folder.path().join(format!("{stem}.toml"));
        Err(LoadError::Binding(Problem { file, line: None, message }))
    }

    /// Which state a version works on: that which is there, a migrated copy, or that of before the migration.
    fn state_for(
        &self,
        stem: &str,
        engine: &Engine,
        loaded: &Loaded,
        shared: &mut Shared,
        is_kept: bool,
    ) -> Result<State, LoadError> {
        let StateAccess::Space(space) = shared.state.clone() else {
            return match loaded.exports.migration {
                Some(_) => Err(LoadError::Migration(
                    "a storage plugin has no `migration`: it is rebuilt from the log".into(),
                )),
                None => Ok(State::default()),
            };
        };
        let _clock = self.engine.running();
        let schema = Instance::schema(engine, loaded, shared.clone())?;
        let key = format!("{stem}.{}", shared.binding);
        let stored = self.schemas.get(&key);
        let is_new =
            !self.schemas.knows(&key) && space.bytes() == 0 && !self.live.contains_key(&*shared.binding);
        if stored.schema == schema {
            return Ok(State::default());
        }
        if is_new {
            let entry = Some((key, Entry { schema, ..stored }));
            return Ok(State { entry, ..State::default() });
        }
        if is_kept && let Some(restored) = migrate::kept(&stored, schema)? {
            shared.state = StateAccess::Space(self.space(&restored.space, space.quota())?);
            return Ok(State { entry: Some((key, restored)), leaves: Some(space), plan: None });
        }
        if loaded.exports.migration.is_none() {
            let why = "and this version, which has no `migration`, knows none";
            return Err(LoadError::Migration(format!("its state has schema {}, {why}", stored.schema)));
        }
        let plan = Plan { from: Arc::clone(&space), stored: stored.schema, schema };
        let copy = stored.migrated(schema, 0).space;
        shared.state = StateAccess::Space(Arc::new(Space::new(copy.as_str().into(), space.quota(), [])));
        Ok(State { plan: Some(plan), ..State::default() })
    }

    /// Instances for whoever will call them.
    pub(super) fn fill_ready(&self, binding: &Binding) -> Result<(), LoadError> {
        let wanted = match binding.kind() {
            // One more, for the thread that authenticates.
            Kind::Auth => self.options.shards + 1 + SPARES,
            Kind::Filter | Kind::Transform => self.options.shards + SPARES,
            // One that stores and one that answers queries.
            Kind::Storage => 2,
        };
        for _ in 0..wanted {
            let made = binding.make()?;
            binding.ready.lock().push(made);
        }
        Ok(())
    }

    fn state(
        &mut self,
        stem: &str,
        binding: &str,
        kind: Kind,
        quota: usize,
    ) -> Result<StateAccess, LoadError> {
        let name = format!("{stem}.{binding}");
        if kind == Kind::Storage {
            let space = self.options.store.storage_space(&name);
            let space = space.map_err(|error| LoadError::State(error.to_string()))?;
            return Ok(StateAccess::Storage(Arc::new(space)));
        }
        let name = self.schemas.get(&name).space;
        if let Some(space) = self.spaces.get(&name) {
            space.set_quota(quota);
            return Ok(StateAccess::Space(Arc::clone(space)));
        }
        let space = self.space(&name, quota)?;
        self.spaces.insert(name, Arc::clone(&space));
        Ok(StateAccess::Space(space))
    }

    /// A space as the store has it.
    fn space(&self, name: &str, quota: usize) -> Result<Arc<Space>, LoadError> {
        let kept = self.options.store.load_space(name);
        let kept = kept.map_err(|error| LoadError::State(error.to_string()))?;
        let pairs = kept
            .into_iter()
            .map(|pair| (pair.key, Value { bytes: pair.value.into(), expires_us: pair.expires_us }));
        Ok(Arc::new(Space::new(name.into(), quota, pairs)))
    }
}

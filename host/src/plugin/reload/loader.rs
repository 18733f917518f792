//! Loads what the folder asks for and builds the next chain.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::super::activation::Activation;
use super::super::binding::{Policy, Secrets, Spec};
use super::super::chain::COMPLAINTS_PER_S;
use super::super::component;
use super::super::folder::{File, Folder, Seal};
use super::super::grants::Ungranted;
use super::super::guest::{Shared, StateAccess};
use super::super::health::Health;
use super::super::imports::logging::LogGate;
use super::super::space::{Space, Value};
use super::super::spares::{Orders, SPARES};
use super::super::{Binding, Chain, Engine, Grants, Kind, LoadError, PluginInfo, Problem};
use super::candidate::Bench;
use super::ledger::Ledger;
use super::shadows::{self, Shadows};
use super::wanted::{Wanted, check_isolation, limits, wanted};
use super::{PluginsOptions, status};
use crate::message::now_us;
use crate::metrics::{Granted, Limit};

/// What is live, what failed, and what the next scan is compared with.
pub struct Loader {
    options: PluginsOptions,
    engine: Engine,
    activation: Arc<Activation>,
    folder: Folder,
    live: BTreeMap<String, Live>,
    failed: BTreeMap<String, Failed>,
    spaces: HashMap<String, Arc<Space>>,
    /// Bindings that were live once.
    ledger: Ledger,
    /// Versions that the last swap took out: their counters go with the next one.
    retired: Vec<(String, Arc<str>)>,
    /// Where bindings order instances.
    orders: Orders,
    /// Where candidates are loaded.
    bench: Bench,
    /// Those that run beside what is live.
    shadows: Shadows,
}

/// A binding in the chain.
struct Live {
    stem: String,
    digest: [u8; 32],
    seal: Seal,
    binding: Arc<Binding>,
}

/// A version that did not go live. It is not tried again until the file, its signature or its binding changes.
struct Failed {
    digest: Option<[u8; 32]>,
    seal: Option<Seal>,
    spec: Option<Spec>,
    /// Digest of the secrets that it was tried with.
    secrets: [u8; 32],
    error: LoadError,
}

impl Loader {
    /// Nothing live yet.
    pub fn new(
        options: PluginsOptions,
        engine: Engine,
        activation: Arc<Activation>,
    ) -> Result<Self, LoadError> {
        let folder = Folder::new(&options.folder, options.limits.most_file_bytes(&options.ceiling));
        let ledger = Ledger::open(&options.store)?;
        let (live, failed, spaces) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        let retired = Vec::new();
        let orders = Orders::start()?;
        let bench = Bench::new(&options, &engine, &activation, &orders);
        let shadows = Shadows::default();
        Ok(Self {
            options,
            engine,
            activation,
            folder,
            live,
            failed,
            spaces,
            ledger,
            retired,
            orders,
            bench,
            shadows,
        })
    }

    /// Reads the folder and swaps the chain if anything changed.
    pub fn reload(
        &mut self,
        chain: &ArcSwap<Chain>,
        status: &Mutex<BTreeMap<String, PluginInfo>>,
        settled: impl Fn(&Path) -> bool,
    ) -> Result<(), LoadError> {
        let entries = self.folder.scan(settled)?;
        let (mut wanted, broken) = wanted(self.folder.path(), &entries, |name| {
            self.live.get(name).map(|live| live.stem.as_str()).or_else(|| self.ledger.stem(name))
        });
        let shadows = shadows::take(&mut wanted);
        let mut changed = self.unbind(&wanted, &broken);
        self.failed.retain(|name, _| wanted.contains_key(name) || broken.contains_key(name));
        let known = |name: &str| wanted.contains_key(name) || self.live.contains_key(name);
        self.options.metrics.retain_plugins(known);
        let asked: BTreeSet<String> = wanted.keys().chain(broken.keys()).cloned().collect();
        for (stem, error) in broken {
            self.fail(&stem, None, None, error);
        }
        for (name, wanted) in wanted {
            changed |= self.bind(&name, wanted);
        }
        changed |= self.shadow(shadows);
        let is_live = |name: &str| self.live.contains_key(name);
        let is_asked = |name: &str, stem: &str| asked.contains(name) || asked.contains(stem);
        self.ledger.let_go(is_live, is_asked);
        let closed = self.ledger.closed(is_live, is_asked);
        let bindings: Vec<_> = self.live.values().map(|live| Arc::clone(&live.binding)).collect();
        let mut next = Chain::build(&bindings, &closed);
        self.shadows.attach(&mut next);
        let old = chain.load();
        let same_auth = next.same_auth(&old);
        if changed || !same_auth || next.closed != old.closed {
            next.generation = old.generation + 1;
            next.authority = old.authority + u64::from(!same_auth);
            self.options.metrics.plugin_swaps.inc();
            self.retire(&old);
            tracing::info!(generation = next.generation, plugins = bindings.len(), "plugin chain is live");
            chain.store(Arc::new(next));
        }
        let failures = self.failed.iter().map(|(name, f)| (name.as_str(), f.spec.as_ref(), &f.error));
        let mut lines = status::list(&bindings, failures, &closed);
        self.shadows.list(&mut lines, status::absent);
        *status.lock() = lines;
        Ok(())
    }

    /// Shards may still be counting calls of what has just gone, so its counters stay until the next swap.
    fn retire(&mut self, old: &Chain) {
        for (name, version) in self.retired.drain(..) {
            self.options.metrics.forget_stage(&name, &version);
        }
        for binding in old.bindings() {
            let version = &binding.shared.version;
            let stays =
                self.live.get(&binding.spec.name).is_some_and(|l| l.binding.shared.version == *version);
            if !stays {
                self.retired.push((binding.spec.name.clone(), Arc::clone(version)));
            }
        }
    }

    /// Where candidates are loaded.
    pub fn bench(&self) -> Bench {
        self.bench.clone()
    }

    fn shadow(&mut self, wanted: BTreeMap<String, Wanted>) -> bool {
        let live = |name: &str| self.live.get(name).map(|live| &live.binding);
        self.shadows.adopt(wanted, live, &self.bench, &self.options.metrics)
    }

    /// Takes out what the folder no longer asks for. Bindings of a file that cannot be read now stay.
    fn unbind(&mut self, wanted: &BTreeMap<String, Wanted>, broken: &BTreeMap<String, LoadError>) -> bool {
        let before = self.live.len();
        self.live.retain(|name, live| {
            let keep = wanted.contains_key(name) || broken.contains_key(&live.stem);
            if !keep {
                tracing::info!(plugin = name, "plugin unbound: the folder no longer asks for it");
            }
            keep
        });
        self.live.len() != before
    }

    fn bind(&mut self, name: &str, wanted: Wanted) -> bool {
        let Wanted { stem, spec, file } = wanted;
        let file = match file {
            Ok(file) => file,
            Err(error) => return self.fail(name, None, Some(spec), error),
        };
        let secrets = match Secrets::read(&spec) {
            Ok(secrets) => secrets,
            Err(why) => return self.fail(name, None, Some(spec), LoadError::Secret(why)),
        };
        let same = |live: &Live| {
            let binding = &live.binding;
            live.digest == file.digest
                && live.seal == file.seal
                && binding.spec == spec
                && *binding.shared.secrets == secrets
        };
        if self.live.get(name).is_some_and(same) {
            self.failed.remove(name);
            return false;
        }
        let known_bad = |failed: &Failed| {
            let same = failed.digest == Some(file.digest) && failed.spec.as_ref() == Some(&spec);
            // The machine's failures (no process, no room on the disk) may pass.
            let passing = matches!(failed.error, LoadError::Engine(_));
            let seal = failed.seal.as_ref() == Some(&file.seal);
            same && seal && failed.secrets == secrets.digest() && !passing
        };
        if self.failed.get(name).is_some_and(known_bad) {
            return false;
        }
        let digest = secrets.digest();
        match self.load(&stem, &spec, &file, secrets) {
            Ok(binding) => {
                tracing::info!(
                    plugin = name,
                    version = %binding.shared.version,
                    kind = %binding.kind(),
                    grants = %Grants::from(&spec),
                    "plugin loaded"
                );
                self.options.metrics.show_plugin_use(name, &binding.shared.used);
                self.failed.remove(name);
                let File { digest, seal, .. } = file;
                self.live.insert(name.to_owned(), Live { stem, digest, seal, binding });
                true
            }
            Err(error) => {
                self.fail(name, Some(&file), Some(spec), error);
                if let Some(failed) = self.failed.get_mut(name) {
                    failed.secrets = digest;
                }
                false
            }
        }
    }

    fn fail(&mut self, name: &str, file: Option<&File>, spec: Option<Spec>, error: LoadError) -> bool {
        let digest = file.map(|file| file.digest);
        let text = error.to_string();
        if self.failed.get(name).is_none_or(|known| known.error.to_string() != text || known.digest != digest)
        {
            let serving = self.live.contains_key(name);
            self.options.metrics.load_failures(error.stage()).inc();
            tracing::error!(
                plugin = name,
                stage = error.stage(),
                serving,
                reason = text,
                "plugin not loaded"
            );
        }
        let seal = file.map(|file| file.seal.clone());
        self.failed.insert(name.to_owned(), Failed { digest, seal, spec, secrets: [0; 32], error });
        false
    }

    fn load(
        &mut self,
        stem: &str,
        spec: &Spec,
        file: &File,
        secrets: Secrets,
    ) -> Result<Arc<Binding>, LoadError> {
        let limits = limits(spec, &self.options.limits, &self.options.ceiling)?;
        let engine = self.engine.with_stack(limits.stack_bytes)?;
        let fits = |live: &&Live| {
            let (known, stack) = (&live.binding.spec, live.binding.shared.limits.stack_bytes);
            live.digest == file.digest
                && stack == limits.stack_bytes
                && (known.count_only, &known.imports) == (spec.count_only, &spec.imports)
        };
        let known = self.live.values().find(fits).map(|live| live.binding.loaded.clone());
        let loaded = self.activation.load(&engine, spec, &limits, file, known)?;
        let kind = loaded.kind;
        check_isolation(spec, kind)?;
        let policy = spec.on_error.unwrap_or(Policy::default_for(kind));
        if kind == Kind::Auth && policy == Policy::Pass {
            return Err(LoadError::Binding(Problem {
                file: self.folder.path().join(format!("{stem}.toml")),
                line: None,
                message: "on-error = \"pass\" is refused for auth plugins: a failure would let everybody in"
                    .into(),
            }));
        }
        if kind != Kind::Auth && self.ledger.was_auth(&spec.name) {
            return Err(LoadError::Binding(Problem {
                file: self.folder.path().join(format!("{stem}.toml")),
                line: None,
                message: format!(
                    "{} was an auth plugin and is now a {kind}: give it another name, so that no door opens unseen",
                    spec.name
                ),
            }));
        }
        let secrets = Arc::new(secrets);
        let config = secrets.fill(&spec.config).map_err(LoadError::Secret)?;
        let version: Arc<str> = component::version(&loaded.digest).into();
        let state = self.state(stem, &spec.name, kind, limits.state_bytes)?;
        let held = match &state {
            StateAccess::Space(space) => space.held(),
            StateAccess::Storage(_) => Arc::default(),
        };
        let used = self.options.metrics.plugin_use(&spec.name, &limits, held);
        used.note(Limit::FileBytes, file.bytes.len() as u64);
        let ungranted = Arc::new(Ungranted::new(spec, Arc::clone(&used)));
        for import in &*loaded.ungranted {
            ungranted.lets_pass(Granted::Imports, import);
        }
        let shared = Shared {
            binding: spec.name.as_str().into(),
            version: Arc::clone(&version),
            kind,
            state,
            realms: spec.accounts.clone().into(),
            accounts: Some(Arc::clone(&self.options.accounts)),
            gate: Arc::new(LogGate::new(limits.log_lines_per_s, Arc::clone(&secrets)).noted(&used)),
            limits,
            secrets,
            used,
            ungranted,
        };
        let binding = Binding {
            spec: spec.clone(),
            config,
            policy,
            loaded_us: now_us(),
            engine,
            context: self.bench.context(stem, &spec.name, &loaded.digest, false),
            health: Health::new(spec.budget),
            complaints: LogGate::new(COMPLAINTS_PER_S, Arc::default()),
            orders: self.orders.clone(),
            ready: Mutex::default(),
            arrived: Condvar::new(),
            loaded,
            shared,
        };
        let instances = match kind {
            // One more, for the thread that authenticates.
            Kind::Auth => self.options.shards + 1 + SPARES,
            Kind::Filter | Kind::Transform => self.options.shards + SPARES,
            // One that stores and one that answers queries.
            Kind::Storage => 2,
        };
        // `init` never runs on a shard.
        self.bench.rehearse(stem, &binding, instances)?;
        self.ledger.note(stem, spec, kind)?;
        Ok(Arc::new(binding))
    }

    fn state(
        &mut self,
        stem: &str,
        binding: &str,
        kind: Kind,
        quota: usize,
    ) -> Result<StateAccess, LoadError> {
        let name = format!("{stem}.{binding}");
        let unreadable = |error: crate::store::StoreError| LoadError::State(error.to_string());
        if kind == Kind::Storage {
            let space = self.options.store.storage_space(&name).map_err(unreadable)?;
            return Ok(StateAccess::Storage(Arc::new(space)));
        }
        if let Some(space) = self.spaces.get(&name) {
            space.set_quota(quota);
            return Ok(StateAccess::Space(Arc::clone(space)));
        }
        let kept = self.options.store.load_space(&name).map_err(unreadable)?;
        let pairs = kept
            .into_iter()
            .map(|pair| (pair.key, Value { bytes: pair.value.into(), expires_us: pair.expires_us }));
        let space = Arc::new(Space::new(name.as_str().into(), quota, pairs));
        self.spaces.insert(name, Arc::clone(&space));
        Ok(StateAccess::Space(space))
    }

    /// Forgets an auth plugin that is not live.
    pub fn forget(&mut self, name: &str) -> Result<(), String> {
        if self.live.contains_key(name) {
            return Err(format!("{name} is live: remove its file from the plugins folder first"));
        }
        match self.ledger.forget(name, Some(Kind::Auth))? {
            true => Ok(()),
            false => Err(format!("no auth plugin named {name} has vanished: `weir plugin list` shows them")),
        }
    }
}

//! Compares what the folder asks for with what is live, and builds the next chain.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::super::activation::Activation;
use super::super::binding::Spec;
use super::super::folder::{Folder, Seal};
use super::super::space::Space;
use super::super::spares::Orders;
use super::super::{Binding, Chain, Engine, Fence, LoadError, PluginInfo};
use super::candidate::Bench;
use super::ledger::Ledger;
use super::migrate::Migrating;
use super::schema::{Entry, Schemas};
use super::shadows::{self, Shadows};
use super::versions::Versions;
use super::wanted::{Wanted, wanted};
use super::{PluginsOptions, status};
use crate::message::now_us;

/// What is live, what failed, and what the next scan is compared with.
pub struct Loader {
    pub(super) options: PluginsOptions,
    pub(super) engine: Engine,
    pub(super) folder: Folder,
    pub(super) live: BTreeMap<String, Live>,
    pub(super) failed: BTreeMap<String, Failed>,
    pub(super) spaces: HashMap<String, Arc<Space>>,
    /// Bindings that were live once.
    pub(super) ledger: Ledger,
    /// What they were, and what became of it.
    pub(super) versions: Versions,
    /// What their state is.
    pub(super) schemas: Schemas,
    /// Versions whose state must be migrated before the next swap.
    pub(super) migrating: Vec<Migrating>,
    /// Where passes wait meanwhile.
    pub(super) fence: Arc<Fence>,
    /// What the folder asked for when it was last read.
    pub(super) asked: BTreeMap<String, Wanted>,
    /// Something of `live` has changed since the last swap.
    pub(super) changed: bool,
    /// Versions that the last swap took out: their counters go with the next one.
    retired: Vec<(String, Arc<str>)>,
    /// Wakes the plugins thread, from a shard: must not block.
    wake: Arc<dyn Fn() + Send + Sync>,
    /// What loading takes.
    pub(super) bench: Bench,
    /// Candidates that run beside what is live.
    pub(super) shadows: Shadows,
}

/// A binding in the chain.
pub(super) struct Live {
    pub stem: String,
    pub digest: [u8; 32],
    pub seal: Seal,
    pub binding: Arc<Binding>,
    /// What the list says of it, if anything.
    pub note: Option<String>,
    /// What its state is from now on, by the state's key.
    pub entry: Option<(String, Entry)>,
    /// The space that goes with the version before.
    pub leaves: Option<Arc<Space>>,
}

/// A version that did not go live. It is not tried again until the file, its signature or its binding changes.
pub(super) struct Failed {
    pub digest: Option<[u8; 32]>,
    pub seal: Option<Seal>,
    pub spec: Option<Spec>,
    /// Digest of the secrets that it was tried with.
    pub secrets: [u8; 32],
    pub error: LoadError,
}

impl Loader {
    /// Nothing live yet. `wake` brings the plugins thread to read the bindings' reports.
    pub fn new(
        options: PluginsOptions,
        engine: Engine,
        activation: Activation,
        fence: Arc<Fence>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Self, LoadError> {
        let folder = Folder::new(&options.folder, options.limits.most_file_bytes(&options.ceiling));
        let ledger = Ledger::open(&options.store)?;
        let versions = Versions::open(&options.store, &options.versions)?;
        let schemas = Schemas::open(&options.store)?;
        let bench = Bench::new(&options, &engine, activation, Orders::start()?);
        Ok(Self {
            options,
            engine,
            folder,
            live: BTreeMap::new(),
            failed: BTreeMap::new(),
            spaces: HashMap::new(),
            ledger,
            versions,
            schemas,
            migrating: Vec::new(),
            fence,
            asked: BTreeMap::new(),
            changed: false,
            retired: Vec::new(),
            wake,
            bench,
            shadows: Shadows::default(),
        })
    }

    /// Reads the folder and swaps the chain, once, if anything changed.
    pub fn reload(
        &mut self,
        chain: &ArcSwap<Chain>,
        status: &Mutex<BTreeMap<String, PluginInfo>>,
        settled: impl Fn(&Path) -> bool,
    ) -> Result<(), LoadError> {
        let entries = match self.folder.scan(settled) {
            Ok(entries) => entries,
            Err(error) => {
                // What the operator did goes live all the same.
                let asked = self.asked.keys().cloned().collect();
                self.swap(chain, status, &asked);
                return Err(error);
            }
        };
        let (mut wanted, broken) = wanted(self.folder.path(), &entries, |name| {
            self.live.get(name).map(|live| live.stem.as_str()).or_else(|| self.ledger.stem(name))
        });
        let shadows = shadows::take(&mut wanted);
        self.asked.clone_from(&wanted);
        self.unbind(&wanted, &broken);
        let is_disabled = |name: &str| self.versions.disabled_us(name).is_some();
        let known = |name: &str| wanted.contains_key(name) || broken.contains_key(name);
        self.failed.retain(|name, _| known(name) && !is_disabled(name));
        let known = |name: &str| wanted.contains_key(name) || self.live.contains_key(name);
        self.options.metrics.retain_plugins(known);
        let asked: BTreeSet<String> = wanted.keys().chain(broken.keys()).cloned().collect();
        for (stem, error) in broken {
            self.fail(&stem, None, None, error);
        }
        for (name, wanted) in wanted {
            if self.versions.disabled_us(&name).is_none() {
                self.bind(&name, wanted);
            }
        }
        self.react_to_budgets();
        self.let_go(&asked);
        self.migrate_all();
        self.shadow(shadows);
        self.swap(chain, status, &asked);
        // Only now is nothing written any more to what was left.
        self.schemas.tend(&self.options.store, now_us());
        Ok(())
    }

    fn shadow(&mut self, wanted: BTreeMap<String, Wanted>) {
        let live = |name: &str| self.live.get(name).map(|live| &live.binding);
        self.changed |= self.shadows.adopt(wanted, live, &self.bench, &self.options.metrics);
    }

    /// Forgets what nobody asks for any more.
    fn let_go(&mut self, asked: &BTreeSet<String>) {
        let is_live = |name: &str| self.live.contains_key(name);
        let is_asked = |name: &str, stem: &str| asked.contains(name) || asked.contains(stem);
        self.ledger.let_go(is_live, is_asked);
        let unbound = self.versions.all().filter(|(name, record)| {
            let stem = record.live().map_or(name.as_str(), |live| live.pair.stem.as_str());
            record.live.is_some() && !is_live(name) && !is_asked(name, stem)
        });
        for name in unbound.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.note_unbound(&name);
        }
        self.versions.let_go(|name| asked.contains(name) || self.live.contains_key(name));
    }

    fn swap(
        &mut self,
        chain: &ArcSwap<Chain>,
        status: &Mutex<BTreeMap<String, PluginInfo>>,
        asked: &BTreeSet<String>,
    ) {
        let is_live = |name: &str| self.live.contains_key(name);
        let is_asked = |name: &str, stem: &str| {
            self.versions.disabled_us(name).is_none() && (asked.contains(name) || asked.contains(stem))
        };
        let closed = self.ledger.closed(is_live, is_asked);
        let bindings: Vec<_> = self.live.values().map(|live| Arc::clone(&live.binding)).collect();
        let mut next = Chain::build(&bindings, &closed);
        self.shadows.attach(&mut next);
        let old = chain.load();
        let same_auth = next.same_auth(&old);
        if std::mem::take(&mut self.changed) || !same_auth || next.closed != old.closed {
            next.generation = old.generation + 1;
            next.authority = old.authority + u64::from(!same_auth);
            self.options.metrics.plugin_swaps.inc();
            self.retire(&old);
            tracing::info!(generation = next.generation, plugins = bindings.len(), "plugin chain is live");
            self.seal_what_is_left();
            chain.store(Arc::new(next));
        }
        self.fence.lower();
        *status.lock() = status::list(self, &closed);
    }

    /// Passes that began before the swap must not commit to what the versions before have left: they begin again.
    fn seal_what_is_left(&mut self) {
        for left in self.live.values_mut().filter_map(|live| live.leaves.take()) {
            self.fence.raise();
            drop(left.seal());
            self.spaces.remove(&*left.name);
        }
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

    /// Takes out what the folder no longer asks for, and what is switched off. Bindings of a file that cannot be read
    /// now stay.
    fn unbind(&mut self, wanted: &BTreeMap<String, Wanted>, broken: &BTreeMap<String, LoadError>) {
        let before = self.live.len();
        let versions = &self.versions;
        self.live.retain(|name, live| {
            let asked = wanted.contains_key(name) || broken.contains_key(&live.stem);
            let disabled = versions.disabled_us(name).is_some();
            if !asked {
                tracing::info!(plugin = name, "plugin unbound: the folder no longer asks for it");
            } else if disabled {
                tracing::info!(plugin = name, "plugin unbound: the operator has switched it off");
            }
            asked && !disabled
        });
        self.changed |= self.live.len() != before;
    }

    /// What a binding's report calls when it is over its budget.
    pub(super) fn over_budget_waker(&self) -> impl Fn() + Send + Sync + 'static {
        let wake = Arc::clone(&self.wake);
        move || wake()
    }
}

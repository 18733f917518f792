//! From the folder to the chain, at start and at every change: scan, load what is new, keep what is not,
//! swap everything at once. Any failure keeps the version before it and is shown in the list.

mod bind;
mod candidate;
mod check;
mod deeds;
mod ledger;
mod load;
mod loader;
mod migrate;
mod place;
mod samples;
mod schema;
mod settling;
mod shadows;
mod status;
mod trial;
mod versions;
mod wanted;

pub use check::check;
pub use trial::{Candidate, Trial};
pub use versions::{Event, HistoryLine};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::activation::Activation;
use super::compiler::{CodeCache, Compiler};
use super::folder::exposed;
use super::shadow::{Shadow, ShadowReport};
use super::{Chain, Deed, Engine, Fence, Kind, LoadError, PluginInfo, PluginView, Refused};
use crate::accounts::Accounts;
use crate::config::{Compile, LimitsTable, PluginLimits, Trust};
use crate::metrics::{Counter, Metrics};
use crate::store::Store;
use candidate::Bench;
use loader::Loader;
use settling::Settling;

/// The folder is read again this often whatever the events say.
const RESCAN: Duration = Duration::from_secs(5);
/// Events that may wait; more than these and the folder is read as a whole.
const EVENTS: usize = 1_024;

/// What plugins need of the router.
pub struct PluginsOptions {
    /// The folder that deployers drop files into.
    pub folder: PathBuf,
    /// Where versions that were live are kept; made if it is not there.
    pub versions: PathBuf,
    /// Where compiled code is kept; none: components are compiled in this process, without limits, which is for
    /// benchmarks that trust theirs.
    pub cache: Option<PathBuf>,
    /// The program that compiles by its verb `compile-plugin`; none = the running one.
    pub compiler: Option<PathBuf>,
    /// Limits of compiling.
    pub compile: Compile,
    /// Whose plugins are accepted.
    pub trust: Trust,
    /// Limits of every call.
    pub limits: PluginLimits,
    /// Up to where a binding may set its own.
    pub ceiling: LimitsTable,
    /// Instances wanted of each plugin on the message path.
    pub shards: usize,
    /// Where `state` is kept.
    pub store: Store,
    /// What `accounts.lookup` reaches.
    pub accounts: Arc<Accounts>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The live chain and the thread that keeps it up to date.
pub struct Plugins {
    chain: Arc<ArcSwap<Chain>>,
    changes: watch::Receiver<u64>,
    status: Arc<Mutex<BTreeMap<String, PluginInfo>>>,
    wake: SyncSender<Wake>,
    metrics: Arc<Metrics>,
    engine: Engine,
    /// Where candidates are loaded.
    bench: Bench,
    fence: Arc<Fence>,
    /// Ends a compilation under way.
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Wake {
    Event(notify::Result<notify::Event>),
    Act(String, Deed, SyncSender<Result<String, Refused>>),
    History(String, SyncSender<Result<Vec<HistoryLine>, Refused>>),
    /// A binding's report says that it is over its budget.
    OverBudget,
    Rescan(SyncSender<()>),
    Stop,
}

impl Plugins {
    /// Loads the folder once and begins to watch it. Plugins that do not load are listed, not fatal.
    pub fn start(options: PluginsOptions) -> Result<Self, LoadError> {
        let stop = Arc::<AtomicBool>::default();
        let started = options.metrics.plugin_compilations.clone();
        let cache = options.cache.as_deref();
        let (engine, compiler) =
            compiler(cache, options.compiler.clone(), &options.compile, Arc::clone(&stop), started)?;
        let activation = Activation::new(compiler, options.trust.clone());
        let folder = options.folder.clone();
        if let Some(warning) = exposed(&folder) {
            tracing::warn!(folder = %folder.display(), "{warning}");
        }
        let chain = Arc::new(ArcSwap::from_pointee(Chain::default()));
        let status = Arc::new(Mutex::new(BTreeMap::new()));
        let metrics = Arc::clone(&options.metrics);
        let (changed, changes) = watch::channel(0);
        let (wake, woken) = sync_channel(EVENTS);
        // Watched before the first scan, so that nothing falls between the two.
        let watcher = watch(&folder, wake.clone())?;
        let waker = wake.clone();
        // A full queue loses nothing: the rescan looks at the reports as well.
        let report = Arc::new(move || drop(waker.try_send(Wake::OverBudget)));
        let fence = Arc::<Fence>::default();
        let mut loader = Loader::new(options, engine.clone(), activation, Arc::clone(&fence), report)?;
        let bench = loader.bench.clone();
        loader.reload(&chain, &status, |_| true)?;
        changed.send_replace(chain.load().generation);
        let (swap, state) = (Arc::clone(&chain), Arc::clone(&status));
        let thread = std::thread::Builder::new()
            .name("plugins".into())
            .spawn(move || {
                run(loader, &woken, &swap, &state, &changed);
                drop(watcher);
            })
            .map_err(|error| LoadError::Engine(format!("cannot start the plugins thread: {error}")))?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { chain, changes, status, wake, metrics, engine, bench, fence, stop, thread })
    }

    /// The live chain, for shards to load once per batch.
    pub fn chain(&self) -> &Arc<ArcSwap<Chain>> {
        &self.chain
    }

    /// The generation, whenever it changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Where a pass waits whose state is being migrated.
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Largest component that is taken, in bytes.
    pub fn most_file_bytes(&self) -> usize {
        self.bench.limits.most_file_bytes(&self.bench.ceiling)
    }

    /// Reads the folder now and waits until what has settled is live.
    pub fn rescan(&self) {
        let (answer, answered) = sync_channel(1);
        if self.wake.send(Wake::Rescan(answer)).is_ok() {
            let _ = answered.recv();
        }
    }

    fn shadow_named(&self, name: &str) -> Option<Arc<Shadow>> {
        self.chain.load().shadows.iter().find(|shadow| &**shadow.binding.name() == name).cloned()
    }

    fn ask<T>(&self, question: impl FnOnce(SyncSender<Result<T, Refused>>) -> Wake) -> Result<T, Refused> {
        let (answer, answered) = sync_channel(1);
        self.wake.send(question(answer)).map_err(|_| Refused::Stopping)?;
        answered.recv().map_err(|_| Refused::Stopping)?
    }

    /// Stops watching.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            // The thread may be gone already: then there is nothing to stop.
            drop(self.wake.send(Wake::Stop));
            drop(thread.join());
        }
    }
}

impl PluginView for Plugins {
    /// In pipeline order.
    fn list(&self) -> Vec<PluginInfo> {
        let mut all: Vec<_> = self.status.lock().values().cloned().collect();
        let chain = self.chain.load();
        for info in &mut all {
            if let Some(binding) = chain.bindings().find(|binding| binding.spec.name == info.name) {
                info.notes = binding.shared.ungranted.notes();
            }
            (info.calls, info.failures) = self.metrics.plugin_totals(&info.name, &info.version);
            if let Some(line) = &mut info.shadow {
                line.counts = self.shadow_named(&info.name).map(|shadow| shadow.counts()).unwrap_or_default();
            }
            if info.kind == Kind::Storage.as_str() {
                let consumer = self.metrics.consumer(&info.name);
                info.lag = u64::try_from(consumer.lag.get()).ok();
                info.missed = Some(consumer.missed.get());
            }
        }
        let kind = |info: &PluginInfo| Kind::ALL.iter().position(|kind| kind.as_str() == info.kind);
        all.sort_by(|a, b| (kind(a), a.order, &a.name).cmp(&(kind(b), b.order, &b.name)));
        all
    }

    fn act(&self, name: &str, deed: Deed) -> Result<String, Refused> {
        self.ask(|answer| Wake::Act(name.to_owned(), deed, answer))
    }

    fn history(&self, name: &str) -> Result<Vec<HistoryLine>, Refused> {
        self.ask(|answer| Wake::History(name.to_owned(), answer))
    }

    fn shadow(&self, name: &str) -> Option<ShadowReport> {
        self.shadow_named(name).map(|shadow| shadow.report())
    }
}

/// An engine and, if there is a cache, the compiler that fills it.
fn compiler(
    cache: Option<&Path>,
    program: Option<PathBuf>,
    limits: &Compile,
    stop: Arc<AtomicBool>,
    started: Counter,
) -> Result<(Engine, Option<Compiler>), LoadError> {
    let Some(folder) = cache else { return Ok((Engine::new(None)?, None)) };
    let cache = CodeCache::open(folder, u64::try_from(limits.cache_bytes).unwrap_or(u64::MAX))?;
    let engine = Engine::new(Some(cache.folder()))?;
    Ok((engine, Some(Compiler::new(program, limits.clone(), cache, stop, started))))
}

/// Watches the folder itself, since a rename over a file would lose a watch on the file.
fn watch(folder: &Path, wake: SyncSender<Wake>) -> Result<notify::RecommendedWatcher, LoadError> {
    let unwatchable = |error: notify::Error| LoadError::Read {
        path: folder.to_owned(),
        reason: format!("cannot be watched: {error}"),
    };
    let mut watcher = notify::recommended_watcher(move |event| {
        // A full queue loses nothing: the rescan reads the folder as it is.
        drop(wake.try_send(Wake::Event(event)));
    })
    .map_err(unwatchable)?;
    watcher.watch(folder, RecursiveMode::NonRecursive).map_err(unwatchable)?;
    Ok(watcher)
}

fn run(
    mut loader: Loader,
    woken: &Receiver<Wake>,
    chain: &ArcSwap<Chain>,
    status: &Mutex<BTreeMap<String, PluginInfo>>,
    changed: &watch::Sender<u64>,
) {
    let mut settling = Settling::default();
    let mut next_scan = Instant::now() + RESCAN;
    loop {
        let due = settling.next().map_or(next_scan, |settled| settled.min(next_scan));
        let mut answers: Vec<Box<dyn FnOnce()>> = Vec::new();
        let mut first = woken.recv_timeout(due.saturating_duration_since(Instant::now()));
        // All that waits, so that what was put into the folder together goes live together.
        for _ in 0..EVENTS {
            match first {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => break,
                Ok(wake) => {
                    if handle(&mut loader, &mut settling, wake, &mut answers) {
                        next_scan = Instant::now();
                    }
                }
            }
            first = woken.try_recv().map_err(|_| RecvTimeoutError::Timeout);
        }
        let now = Instant::now();
        if settling.take_due(now) || now >= next_scan {
            next_scan = now + RESCAN;
            let before = chain.load().generation;
            if let Err(error) = loader.reload(chain, status, |path| settling.is_settled(path)) {
                tracing::error!(%error, "the plugins folder cannot be read; the plugins stay as they are");
            }
            let after = chain.load().generation;
            if after != before {
                changed.send_replace(after);
            }
        }
        answers.into_iter().for_each(|answer| answer());
    }
}

/// True: the folder is to be read again now. `answers` are given after that.
fn handle(
    loader: &mut Loader,
    settling: &mut Settling,
    wake: Wake,
    answers: &mut Vec<Box<dyn FnOnce()>>,
) -> bool {
    // Whoever asked may have gone away; the deed stands.
    match wake {
        Wake::Event(Ok(event)) => {
            settling.note(&event.kind, &event.paths, Instant::now());
            event.need_rescan()
        }
        Wake::Event(Err(error)) => {
            tracing::warn!(%error, "watching the plugins folder failed; it is read every few seconds");
            false
        }
        Wake::Act(name, deed, reply) => {
            let done = loader.act(&name, &deed);
            answers.push(Box::new(move || drop(reply.send(done))));
            true
        }
        Wake::History(name, reply) => {
            drop(reply.send(loader.history(&name)));
            false
        }
        Wake::Rescan(reply) => {
            answers.push(Box::new(move || {
                let _ = reply.send(());
            }));
            true
        }
        Wake::OverBudget => true,
        Wake::Stop => false,
    }
}

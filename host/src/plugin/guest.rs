//! What a guest's store holds: its limits, its transaction, its output streams, and nothing of the host's
//! that it was not given.

mod limiter;
mod stderr;

pub use stderr::Console;

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::Kind;
use super::binding::{Secrets, Spec};
use super::component::{self, Loaded};
use super::engine::Engine;
use super::grants::Ungranted;
use super::imports::logging::LogGate;
use super::space::{Space, Transaction};
use crate::accounts::Accounts;
use crate::config::PluginLimits;
use crate::metrics::PluginUse;
use crate::store::StorageSpace;
use limiter::Limiter;

/// What `state` reaches in this instance.
#[derive(Clone)]
pub enum StateAccess {
    /// A space in memory, with transactions.
    Space(Arc<Space>),
    /// A storage plugin's committed key space, to be read only.
    Storage(Arc<StorageSpace>),
}

/// Everything about a binding that all its instances share.
#[derive(Clone)]
pub struct Shared {
    /// Binding name.
    pub binding: Arc<str>,
    /// First 12 hex digits of the component's digest.
    pub version: Arc<str>,
    /// The component's kind.
    pub kind: Kind,
    /// Limits of each call.
    pub limits: PluginLimits,
    /// The space behind `state`.
    pub state: StateAccess,
    /// Realms that `accounts.lookup` may be asked for.
    pub realms: Arc<[String]>,
    /// The accounts; none while a plugin is only checked.
    pub accounts: Option<Arc<Accounts>>,
    /// Rate limit of log lines.
    pub gate: Arc<LogGate>,
    /// What must not appear in what the plugin says.
    pub secrets: Arc<Secrets>,
    /// What its instances took of the limits.
    pub used: Arc<PluginUse>,
    /// What they did or wanted without a grant.
    pub ungranted: Arc<Ungranted>,
}

impl Shared {
    /// Of one load of a binding; without accounts to look up.
    pub fn new(
        spec: &Spec,
        loaded: &Loaded,
        limits: PluginLimits,
        secrets: Arc<Secrets>,
        state: StateAccess,
        used: Arc<PluginUse>,
    ) -> Self {
        Self {
            binding: spec.name.as_str().into(),
            version: component::version(&loaded.digest).into(),
            kind: loaded.kind,
            state,
            realms: spec.accounts.clone().into(),
            accounts: None,
            gate: Arc::new(LogGate::new(limits.log_lines_per_s, Arc::clone(&secrets)).noted(&used)),
            ungranted: Arc::new(Ungranted::new(spec, Arc::clone(&used))),
            limits,
            secrets,
            used,
        }
    }

    /// Whether instances of both are the same to a caller: one load of one binding, over the same data.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_data = match (&self.state, &other.state) {
            (StateAccess::Space(one), StateAccess::Space(other)) => Arc::ptr_eq(one, other),
            (StateAccess::Storage(one), StateAccess::Storage(other)) => {
                one.generation() == other.generation()
            }
            _ => false,
        };
        // Every load makes a gate of its own, also of the same version with another configuration.
        same_data && Arc::ptr_eq(&self.gate, &other.gate)
    }
}

/// The data of a guest's store.
pub struct Guest {
    /// Shared with the binding's other instances.
    pub shared: Shared,
    /// Reads and writes of the pass so far.
    pub transaction: Transaction,
    /// False in `init`, in storage plugins and in queries.
    pub may_write: bool,
    /// While state is migrated, on a copy: what is written is there at once, and no call writes too much.
    pub direct: bool,
    /// Captured stderr, for the text of a panic.
    pub console: Console,
    pub(super) limiter: Limiter,
    wasi: WasiCtx,
    table: ResourceTable,
}

/// Handles that a guest may hold: streams of its standard output and little else.
const HANDLES: usize = 1_000;

impl Guest {
    /// A store with every limit set and nothing granted.
    pub fn store(engine: &Engine, shared: Shared) -> Store<Self> {
        let console = Console::new(&shared);
        let wasi = WasiCtx::builder().stdout(console.clone()).stderr(console.clone()).build();
        let limiter = Limiter::new(&shared.limits, Arc::clone(&shared.used));
        let copied = shared.limits.hostcall_bytes;
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let guest = Self {
            shared,
            transaction: Transaction::default(),
            may_write: false,
            direct: false,
            console,
            limiter,
            wasi,
            table,
        };
        let mut store = Store::new(engine.wasm(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(copied);
        store.set_max_component_handles(HANDLES);
        store.epoch_deadline_trap();
        store
    }
}

impl Guest {
    /// Handles of `wasi:io`.
    pub(super) fn handles(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

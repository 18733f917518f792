//! The wasmtime engine that all plugins share, and the clock that stops a guest which runs too long.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config};

use super::LoadError;
use crate::config::PluginLimits;

/// Length of one epoch tick. A deadline of N ms is N + 1 ticks, since a tick may be nearly over.
pub const TICK: Duration = Duration::from_millis(1);

/// Frames kept of a trap's backtrace.
const BACKTRACE_FRAMES: usize = 16;

/// The engine and its ticker. Clone freely.
#[derive(Clone)]
pub struct Engine {
    wasm: wasmtime::Engine,
    clock: Arc<Clock>,
    cache: Option<Cache>,
}

/// Of each size of guest stack there is one engine: the size is an engine's. They share the compiled code.
type Stacks = parking_lot::Mutex<BTreeMap<usize, wasmtime::Engine>>;

struct Clock {
    engines: Stacks,
    running: AtomicUsize,
    stop: AtomicBool,
    thread: Thread,
    handle: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

/// While one of these lives, epochs tick. Take one for a batch of calls, not for each.
pub struct Running<'a>(&'a Clock);

impl Engine {
    /// Builds the engine for guests of the default stack. `cache` is the folder of compiled code, private to this
    /// router; none = no cache.
    pub fn new(cache: Option<&Path>) -> Result<Self, LoadError> {
        let cache = cache.map(code_cache).transpose()?;
        let stack = PluginLimits::default().stack_bytes;
        let wasm = Self::of_stack(cache.as_ref(), stack)?;
        Ok(Self { clock: Clock::start(stack, wasm.clone())?, wasm, cache })
    }

    /// The same engine for guests of another stack.
    pub fn with_stack(&self, bytes: usize) -> Result<Self, LoadError> {
        let mut engines = self.clock.engines.lock();
        let wasm = match engines.get(&bytes) {
            Some(engine) => engine.clone(),
            None => engines.entry(bytes).or_insert(Self::of_stack(self.cache.as_ref(), bytes)?).clone(),
        };
        drop(engines);
        Ok(Self { wasm, ..self.clone() })
    }

    fn of_stack(cache: Option<&Cache>, stack: usize) -> Result<wasmtime::Engine, LoadError> {
        let mut config = settings(cache, small_address_space());
        config.max_wasm_stack(stack);
        wasmtime::Engine::new(&config).map_err(LoadError::engine)
    }

    /// The engine itself.
    pub fn wasm(&self) -> &wasmtime::Engine {
        &self.wasm
    }

    /// Keeps the clock ticking while guests run.
    pub fn running(&self) -> Running<'_> {
        if self.clock.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.clock.thread.unpark();
        }
        Running(&self.clock)
    }

    /// Epoch ticks that a deadline takes.
    pub fn ticks(deadline: Duration) -> u64 {
        u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX / 2).saturating_add(1)
    }
}

/// What code is compiled for. The router and the process that compiles for it must agree on all of it, else the one
/// does not find in the cache what the other put there; only the router knows whether its address space is `small`.
pub(super) fn settings(cache: Option<&Cache>, small: bool) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // A plugin call costs 3.6 times more with it, and nothing here needs it.
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(BACKTRACE_FRAMES));
    if small {
        // Each memory would reserve 4 GiB of address space: ten plugins do not fit a small board, and with 64 MiB
        // each they do not fit its four shards. Most stay below this; one that grows beyond it moves.
        config.memory_reservation(8 * 1024 * 1024).memory_guard_size(64 * 1024);
        config.memory_reservation_for_growth(8 * 1024 * 1024);
    }
    config.cache(cache.cloned());
    config
}

/// wasmtime's cache in this folder.
pub(super) fn code_cache(folder: &Path) -> Result<Cache, LoadError> {
    let mut settings = CacheConfig::new();
    settings.with_directory(folder);
    Cache::new(settings).map_err(LoadError::engine)
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Clock {
    fn start(stack: usize, engine: wasmtime::Engine) -> Result<Arc<Self>, LoadError> {
        let (send, receive) = std::sync::mpsc::sync_channel::<Arc<Clock>>(1);
        let handle = std::thread::Builder::new()
            .name("epoch-clock".into())
            .spawn(move || {
                if let Ok(clock) = receive.recv() {
                    let weak = Arc::downgrade(&clock);
                    drop(clock);
                    tick(&weak);
                }
            })
            .map_err(|e| LoadError::Engine(format!("cannot start the epoch clock: {e}")))?;
        let clock = Arc::new(Self {
            engines: parking_lot::Mutex::new(BTreeMap::from([(stack, engine)])),
            running: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            thread: handle.thread().clone(),
            handle: parking_lot::Mutex::new(Some(handle)),
        });
        send.send(Arc::clone(&clock)).map_err(|e| LoadError::Engine(e.to_string()))?;
        Ok(clock)
    }
}

/// Ticks while a guest runs, sleeps when none does, ends with the last engine handle.
fn tick(clock: &std::sync::Weak<Clock>) {
    loop {
        let Some(strong) = clock.upgrade() else { return };
        if strong.stop.load(Ordering::Acquire) {
            return;
        }
        let idle = strong.running.load(Ordering::Acquire) == 0;
        if idle {
            drop(strong);
            std::thread::park_timeout(Duration::from_secs(1));
        } else {
            std::thread::sleep(TICK);
            strong.engines.lock().values().for_each(wasmtime::Engine::increment_epoch);
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
        // The clock thread itself may hold the last reference: it must not join itself.
        if let Some(handle) = self.handle.lock().take()
            && handle.thread().id() != std::thread::current().id()
        {
            drop(handle.join());
        }
    }
}

/// 32-bit hosts, and processes whose address space is limited.
pub(super) fn small_address_space() -> bool {
    const ROOM_FOR_FULL_RESERVATIONS: u64 = 1 << 40;
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    usize::BITS < 64 || limit.is_some_and(|bytes| bytes < ROOM_FOR_FULL_RESERVATIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrency_support_is_off() {
        // Features unify across a workspace: a crate that switches it on would slow every call down.
        let engine = Engine::new(None).unwrap();
        assert!(!engine.wasm().get_concurrency_support());
    }

    #[test]
    fn deadlines_round_up() {
        assert_eq!(Engine::ticks(Duration::from_millis(50)), 51);
        assert_eq!(Engine::ticks(Duration::ZERO), 1);
    }
}

//! What the compiling process does: limits itself, reads a component, and leaves its code in the cache.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use wasmtime::component::Component;

use super::super::engine::{code_cache, settings};

/// One compilation, as the process is told of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Task {
    /// Folder of compiled code
    #[arg(long)]
    pub cache: PathBuf,
    /// Bytes of address space beyond what the process has at its start
    #[arg(long)]
    pub memory_bytes: u64,
    /// Processor time
    #[arg(long)]
    pub cpu_seconds: u64,
    /// Compile for a router whose address space is limited
    #[arg(long)]
    pub small_address_space: bool,
}

impl Task {
    /// As arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec![
            "--cache".into(),
            self.cache.clone().into(),
            "--memory-bytes".into(),
            self.memory_bytes.to_string().into(),
            "--cpu-seconds".into(),
            self.cpu_seconds.to_string().into(),
        ];
        if self.small_address_space {
            all.push("--small-address-space".into());
        }
        all
    }
}

/// Compiles what standard input holds into the cache. The process is spent after it: its limits stay.
pub fn compile(task: &Task) -> Result<(), String> {
    let cache = code_cache(&task.cache).map_err(|error| error.to_string())?;
    let mut config = settings(Some(&cache), task.small_address_space);
    // On all cores: it is over in 0.65 of the time. On a busy machine of two, a new plugin is live after 270 ms under full
    // load, and after 390 ms on one core; threads of others wake 18 ms later meanwhile instead of 11 ms (99th percentile).
    config.parallel_compilation(true);
    let engine = wasmtime::Engine::new(&config).map_err(|error| format!("{error:#}"))?;
    limit(task).map_err(|error| format!("cannot limit the compiler: {error}"))?;
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Component::from_binary(&engine, &bytes).map_err(|error| format!("{error:#}"))?;
    Ok(())
}

fn limit(task: &Task) -> rustix::io::Result<()> {
    // Nobody waits for it any more when the router was killed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    lower(Resource::Core, 0, 0)?;
    // At the first limit the signal says which one it was; the second cannot be caught.
    lower(Resource::Cpu, task.cpu_seconds, task.cpu_seconds.saturating_add(1))?;
    let room = task.memory_bytes.saturating_add(address_space());
    lower(Resource::As, room, room)
}

/// Never above a limit that the process came with.
fn lower(resource: Resource, current: u64, maximum: u64) -> rustix::io::Result<()> {
    let before = getrlimit(resource);
    let least = |wanted: u64, known: Option<u64>| Some(known.map_or(wanted, |known| known.min(wanted)));
    let maximum = least(maximum, before.maximum);
    let current = least(current, before.current);
    setrlimit(resource, Rlimit { current, maximum })
}

/// What the process has taken so far, in bytes; 0 where the system does not say.
fn address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"));
    line.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1_024)
}

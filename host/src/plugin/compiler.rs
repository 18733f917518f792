//! Compiling, in a process of its own: this program with the verb `compile-plugin`, within limits of memory and time.
//!
//! Cranelift's bugs of time and memory are not security bugs upstream, and a component of a few megabytes can keep it
//! busy for minutes. So the router never compiles what it has not seen compiled: the process puts the code into
//! wasmtime's cache, and the router loads it from there. One plugin at a time, since one thread loads them.

mod cache;
mod child;

pub use cache::CodeCache;
pub use child::{Task, compile};

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, setpriority_pgrp};
use wasmtime::component::Component;

use super::engine::small_address_space;
use super::{Engine, LoadError};
use crate::config::Compile;
use crate::metrics::Counter;

/// Between two looks at the process.
const LOOK: Duration = Duration::from_millis(2);
/// For so long it is as urgent as messages are: a usual plugin takes 65 ms and should be live soon, also under load.
const URGENT: Duration = Duration::from_secs(1);
/// Then it gives way to them (0 to 19), with all of its threads: what takes so long may take as long as its limits allow.
const NICENESS: i32 = 10;
/// Bytes kept of what the process says.
const WORDS: u64 = 2_048;

/// Starts the compiling processes.
pub struct Compiler {
    program: PathBuf,
    limits: Compile,
    cache: CodeCache,
    stop: Arc<AtomicBool>,
    started: Counter,
}

/// How a process ended.
enum End {
    Exited(ExitStatus),
    OverTime,
    Stopped,
}

impl Compiler {
    /// `program` understands `compile-plugin`; none = the running one. `stop` ends a compilation under way; `started`
    /// counts the processes.
    pub fn new(
        program: Option<PathBuf>,
        limits: Compile,
        cache: CodeCache,
        stop: Arc<AtomicBool>,
        started: Counter,
    ) -> Self {
        // Not `current_exe`: that names another program, or none, once this one was replaced by an update.
        let program = program.unwrap_or_else(|| "/proc/self/exe".into());
        Self { program, limits, cache, stop, started }
    }

    /// From the cache, after a process has put it there. `engine` must use the same cache.
    pub fn compile(&self, engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
        if !self.cache.has(engine.wasm(), bytes) {
            self.run(bytes)?;
            self.cache.trim();
            if !self.cache.has(engine.wasm(), bytes) {
                return Err(LoadError::Engine(format!(
                    "the compiler {} has put nothing into the cache: is the disk full, or is it of another version?",
                    self.program.display()
                )));
            }
        }
        Component::from_binary(engine.wasm(), bytes).map_err(|error| LoadError::Compile(format!("{error:#}")))
    }

    fn run(&self, bytes: &[u8]) -> Result<(), LoadError> {
        let failed = |error: std::io::Error| {
            LoadError::Engine(format!("cannot start the compiler {}: {error}", self.program.display()))
        };
        let task = Task {
            cache: self.cache.folder().to_owned(),
            memory_bytes: u64::try_from(self.limits.memory_bytes).unwrap_or(u64::MAX),
            cpu_seconds: self.limits.cpu.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
            small_address_space: small_address_space(),
        };
        let mut child = Command::new(&self.program)
            .arg("compile-plugin")
            .args(task.arguments())
            // Secrets of plugins and webhooks may stand in it.
            .env_clear()
            // Of its own, since a priority is given to one thread or to a whole group.
            .process_group(0)
            .stdin(in_memory(bytes).map_err(failed)?)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        self.started.inc();
        let end = self.wait(&mut child).map_err(failed)?;
        let mut words = Vec::new();
        if let Some(said) = child.stderr.take() {
            // What cannot be read is only an explanation.
            let _ = said.take(WORDS).read_to_end(&mut words);
        }
        self.judge(end, &String::from_utf8_lossy(&words))
    }

    /// Waits for the end, and brings it about when it is due.
    fn wait(&self, child: &mut Child) -> std::io::Result<End> {
        let started = Instant::now();
        let deadline = started + self.limits.deadline;
        let mut is_urgent = true;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(End::Exited(status));
            }
            let stopped = self.stop.load(Ordering::Acquire);
            if stopped || Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                return Ok(if stopped { End::Stopped } else { End::OverTime });
            }
            if is_urgent && started.elapsed() > URGENT {
                is_urgent = false;
                // Only a favour to the others: it is no failure when the system does not grant it.
                let _ = setpriority_pgrp(Some(Pid::from_child(child)), NICENESS);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Why there is no code, if there is none.
    fn judge(&self, end: End, words: &str) -> Result<(), LoadError> {
        let status = match end {
            End::Exited(status) => status,
            End::Stopped => return Err(LoadError::Engine("the router is stopping".into())),
            End::OverTime => return self.over("time", format!("{:?}", self.limits.deadline), "deadline"),
        };
        if status.success() {
            return Ok(());
        }
        let signal = status.signal().and_then(Signal::from_named_raw);
        if signal == Some(Signal::XCPU) {
            return self.over("processor time", format!("{:?}", self.limits.cpu), "cpu");
        }
        if ["memory allocation of", "annot allocate memory"].iter().any(|mark| words.contains(mark)) {
            return self.over("memory", format!("{} bytes", self.limits.memory_bytes), "memory_bytes");
        }
        let words: String = words.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Err(LoadError::Compile(match status.code() {
            Some(_) if !words.is_empty() => words,
            _ => format!("the compiler ended with {status} {words}").trim_end().to_owned(),
        }))
    }

    fn over(&self, what: &str, limit: String, key: &str) -> Result<(), LoadError> {
        Err(LoadError::Compile(format!("that takes more {what} than the {limit} that compile.{key} allows")))
    }
}

/// The bytes as a file without a name: a pipe would have to be filled while the process may already have ended.
fn in_memory(bytes: &[u8]) -> std::io::Result<Stdio> {
    let mut file = File::from(rustix::fs::memfd_create("plugin.wasm", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(Stdio::from(file))
}

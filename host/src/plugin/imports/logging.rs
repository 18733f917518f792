//! `weir:plugin/logging`: lines in the router's log. See `wit/logging.wit`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::message::now_us;
use crate::metrics::{Limit, PluginUse};
use crate::plugin::binding::Secrets;
use crate::plugin::contract::{Attribute, LogLevel};
use crate::plugin::guest::Guest;

/// Longest text, in bytes.
const TEXT_BYTES: usize = 4 * 1024;

/// Lets so many lines a second of a binding through, and one of several equal lines that its instances
/// write within a second.
#[derive(Debug)]
pub struct LogGate {
    per_second: u32,
    secrets: Arc<Secrets>,
    window: Mutex<Window>,
    dropped: AtomicU64,
    used: Arc<PluginUse>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    last: String,
}

impl LogGate {
    /// A gate for one binding.
    pub fn new(per_second: u32, secrets: Arc<Secrets>) -> Self {
        Self {
            per_second,
            secrets,
            window: Mutex::default(),
            dropped: AtomicU64::new(0),
            used: Arc::default(),
        }
    }

    /// Its use is noted there.
    pub fn noted(self, used: &Arc<PluginUse>) -> Self {
        Self { used: Arc::clone(used), ..self }
    }

    /// Some(dropped since the last line that passed): write it. None: do not.
    pub fn pass(&self, text: &str) -> Option<u64> {
        let second = now_us() / 1_000_000;
        let mut window = self.window.lock();
        if window.second != second {
            *window = Window { second, ..Window::default() };
        }
        if window.last == text {
            return None;
        }
        if window.lines >= self.per_second {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.used.hit(Limit::LogLinesPerS);
            return None;
        }
        window.lines += 1;
        self.used.note(Limit::LogLinesPerS, window.lines.into());
        text.clone_into(&mut window.last);
        Some(self.dropped.swap(0, Ordering::Relaxed))
    }
}

/// Links the interface.
pub fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut logging = linker.instance(&interface("logging"))?;
    logging
        .func_wrap("threshold", |_: StoreContextMut<'_, Guest>, (): ()| -> wasmtime::Result<(LogLevel,)> {
            Ok((threshold(),))
        })?;
    logging.func_wrap(
        "log",
        |store: StoreContextMut<'_, Guest>,
         (level, text, fields): (LogLevel, String, Vec<Attribute>)|
         -> wasmtime::Result<()> {
            if level >= threshold() {
                let shared = &store.data().shared;
                let fields: Vec<_> = fields.iter().map(|f| format!("{}={}", f.name, f.value)).collect();
                let text = cut(&text, TEXT_BYTES);
                let fields = fields.join(" ");
                write_line(
                    &shared.gate,
                    &shared.binding,
                    &shared.version,
                    shared.kind.as_str(),
                    level,
                    text,
                    &fields,
                );
            }
            Ok(())
        },
    )
}

fn threshold() -> LogLevel {
    match tracing::level_filters::LevelFilter::current().into_level() {
        Some(Level::TRACE) => LogLevel::Trace,
        Some(Level::DEBUG) => LogLevel::Debug,
        Some(Level::INFO) => LogLevel::Info,
        Some(Level::WARN) => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

/// One line of a plugin, if the gate lets it through.
pub fn write_line(
    gate: &LogGate,
    plugin: &str,
    version: &str,
    kind: &str,
    level: LogLevel,
    text: &str,
    fields: &str,
) {
    let Some(dropped) = gate.pass(text) else { return };
    let (text, fields) = (&*gate.secrets.redact(text), &*gate.secrets.redact(fields));
    if dropped > 0 {
        tracing::warn!(plugin, version, kind, dropped, "plugin log lines dropped: over its rate");
    }
    match level {
        LogLevel::Trace => tracing::trace!(plugin, version, kind, text, fields, "plugin"),
        LogLevel::Debug => tracing::debug!(plugin, version, kind, text, fields, "plugin"),
        LogLevel::Info => tracing::info!(plugin, version, kind, text, fields, "plugin"),
        LogLevel::Warn => tracing::warn!(plugin, version, kind, text, fields, "plugin"),
        LogLevel::Error => tracing::error!(plugin, version, kind, text, fields, "plugin"),
    }
}

/// At most `bytes` of the text, cut at a character.
pub fn cut(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chatty_plugin_is_cut_off_and_counted() {
        let gate = LogGate::new(2, Arc::default());
        let passed = (0..5).filter(|n| gate.pass(&format!("line {n}")).is_some()).count();
        assert!((2..=4).contains(&passed), "two a second, even when the second changes in between");
        assert_eq!(gate.dropped.load(Ordering::Relaxed), 5 - passed as u64);
    }

    #[test]
    fn equal_lines_of_several_instances_are_one() {
        let gate = LogGate::new(100, Arc::default());
        let passed = (0..3).filter(|_| gate.pass("open to everyone").is_some()).count();
        assert!(passed <= 2);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}

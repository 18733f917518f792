//! `weir:plugin/logging`: lines in the router's log. See `wit/logging.wit`.

use std::sync::Arc;

use tracing::Level;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::interface;
use crate::metrics::{Limit, PluginUse};
use crate::plugin::binding::Secrets;
use crate::plugin::contract::{Attribute, LogLevel};
use crate::plugin::guest::Guest;
use crate::telemetry::{LineGate, Passage};

/// Longest text, in bytes.
const TEXT_BYTES: usize = 4 * 1024;

/// Lets so many lines a second of a binding through, and one of several equal lines that its instances
/// write within a second.
#[derive(Debug)]
pub struct LogGate {
    lines: LineGate,
    secrets: Arc<Secrets>,
    used: Arc<PluginUse>,
}

impl LogGate {
    /// A gate for one binding.
    pub fn new(per_second: u32, secrets: Arc<Secrets>) -> Self {
        Self { lines: LineGate::new(per_second), secrets, used: Arc::default() }
    }

    /// Its use is noted there.
    pub fn noted(self, used: &Arc<PluginUse>) -> Self {
        Self { used: Arc::clone(used), ..self }
    }

    /// Some(dropped since the last line that passed): write it. None: do not.
    pub fn pass(&self, text: &str) -> Option<u64> {
        match self.lines.pass(text) {
            Passage::Write { lines, left_out } => {
                self.used.note(Limit::LogLinesPerS, lines.into());
                Some(left_out)
            }
            Passage::TooMany => {
                self.used.hit(Limit::LogLinesPerS);
                None
            }
            Passage::Again => None,
        }
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
    let passed = if fields.is_empty() { gate.pass(text) } else { gate.pass(&format!("{text} {fields}")) };
    let Some(dropped) = passed else { return };
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
    fn texts_are_cut_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}

//! The router's own log: one line per event, to standard error, as text or JSON.
//!
//! What a client or plugin chose (a name, a topic) may stand in an event. JSON is safe by its serializer; in
//! text, everything that could forge a line or steer a terminal is escaped.

mod gate;
mod seldom;

pub use gate::{LineGate, Passage};
pub use seldom::Seldom;

use std::fmt::Write as _;
use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error(
        "logging.level {0:?} is not error, warn, info, debug, trace or a list as \"info,weir::plugin=debug\""
    )]
    Level(String),
    /// Called twice.
    #[error("the log is set up already")]
    Twice,
}

/// Libraries that would print whole messages at `trace`: never.
const SILENCED: [&str; 2] = ["tungstenite=info", "tokio_tungstenite=info"];
/// Libraries whose own debugging drowns the router's, unless they are named.
const QUIET: [&str; 7] =
    ["cranelift_codegen", "regalloc2", "wasmtime", "wasmtime_internal_cranelift", "sled", "hyper", "notify"];

/// Starts the log of this process. To be called once.
pub fn init(logging: &Logging) -> Result<(), TelemetryError> {
    let mut filter =
        EnvFilter::try_new(&logging.level).map_err(|_| TelemetryError::Level(logging.level.clone()))?;
    let quiet =
        QUIET.iter().filter(|name| !logging.level.contains(**name)).map(|name| format!("{name}=info"));
    for directive in quiet.chain(SILENCED.map(str::to_owned)) {
        filter = filter.add_directive(directive.parse().map_err(|_| TelemetryError::Level(directive))?);
    }
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    match logging.format {
        LogFormat::Text => events.with_writer(|| Escaping(io::stderr())).try_init(),
        LogFormat::Json => events.json().flatten_event(true).with_writer(io::stderr).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// A panic is a bug of ours, and its words may hold what a client sent: they are for debugging only.
fn panicked(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("-");
    if place.contains("/sled-") {
        // Its way of saying that what it reads is damaged: the store goes on, and reports what is lost.
        tracing::warn!(place, thread, "the database gave up, most likely over damage on the disk");
    } else {
        tracing::error!(place, thread, "a bug in weir: a thread panicked");
    }
    tracing::debug!(words = panic.payload_as_str().unwrap_or("-"), "the panic's words");
}

/// Writes each event, which comes as one buffer that ends a line, as exactly one line.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        let mut escaped = escape(line);
        escaped.push_str(end);
        self.0.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `text` with control characters, line separators and marks that turn the direction of writing as
/// `\u{…}`, so that it stays on its line and reads as it is.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            // Writing into a String cannot fail.
            let _ = write!(escaped, "{}", c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let mut out = Vec::new();
        let event = "name=\u{1b}[31mred\nINFO forged\r\u{9b}\u{202e}gnp.exe\u{2028}ä日\n";
        assert_eq!(Escaping(&mut out).write(event.as_bytes()).unwrap(), event.len());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "name=\\u{1b}[31mred\\nINFO forged\\r\\u{9b}\\u{202e}gnp.exe\\u{2028}ä日\n"
        );
    }

    #[test]
    fn a_bad_level_is_refused() {
        let logging = Logging { level: "lo=ud=".into(), ..Logging::default() };
        assert!(init(&logging).unwrap_err().to_string().starts_with("logging.level \"lo=ud=\" is not"));
    }
}

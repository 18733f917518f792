//! Lines in the router's log. Plugin, version and kind are added there.
//!
//! At most 100 lines a second and binding; more are counted and dropped. Text and values: at most 4 KiB, cut
//! beyond. Never log payloads or secrets.
//!
//! ```
//! # let (sensor, most) = ("s1", 3);
//! weir_plugin::warn!("too many readings", sensor = sensor, most = most);
//! ```

use crate::{Attribute, host};
use std::fmt::Display;

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Every step.
    Trace,
    /// For who looks for a fault.
    Debug,
    /// What an operator wants to know.
    Info,
    /// Something is odd, and goes on.
    Warn,
    /// Something does not work.
    Error,
}

/// Whether lines of this level are kept now. Ask before building a costly value; the macros do.
pub fn enabled(level: Level) -> bool {
    level >= host::threshold()
}

/// Writes a line: a constant text, and fields by name (lower-case ASCII, 1 to 64 bytes).
pub fn write(level: Level, text: &str, fields: &[(&str, &dyn Display)]) {
    if !enabled(level) {
        return;
    }
    let fields: Vec<Attribute> = fields
        .iter()
        .map(|(name, value)| Attribute { name: (*name).to_owned(), value: value.to_string() })
        .collect();
    host::log(level, text, &fields);
}

/// Writes a line at a level: `log_at!(Level::Warn, "text", name = value)`.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $text:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::log::write($level, $text, &[$((::core::stringify!($name), &$value as &dyn ::core::fmt::Display)),*])
    };
}

/// Writes a line for who looks for a fault: `debug!("text", name = value)`.
#[macro_export]
macro_rules! debug {
    ($($line:tt)*) => { $crate::log_at!($crate::Level::Debug, $($line)*) };
}

/// Writes a line that an operator wants to know: `info!("text", name = value)`.
#[macro_export]
macro_rules! info {
    ($($line:tt)*) => { $crate::log_at!($crate::Level::Info, $($line)*) };
}

/// Writes a line about something odd: `warn!("text", name = value)`.
#[macro_export]
macro_rules! warn {
    ($($line:tt)*) => { $crate::log_at!($crate::Level::Warn, $($line)*) };
}

/// Writes a line about something that does not work: `error!("text", name = value)`.
#[macro_export]
macro_rules! error {
    ($($line:tt)*) => { $crate::log_at!($crate::Level::Error, $($line)*) };
}

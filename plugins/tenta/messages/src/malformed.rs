//! Why a message is not taken.

use std::fmt;

/// What is wrong with a message, and where. Never holds a part of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// JSON Pointer; empty = the whole.
    pub at: String,
    /// What is accepted.
    pub reason: &'static str,
}

impl Malformed {
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { at: String::new(), reason }
    }

    /// The same below a field or an element.
    pub(crate) fn within(self, level: impl fmt::Display) -> Self {
        Self { at: format!("/{level}{}", self.at), ..self }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.as_str() {
            "" => out.write_str(self.reason),
            at => write!(out, "{} at {at}", self.reason),
        }
    }
}

impl std::error::Error for Malformed {}

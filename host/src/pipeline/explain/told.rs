//! Answers of plugins, as they are told.

use crate::pipeline::stages::Counted;
use crate::pipeline::stop::shortened;
use crate::plugin::contract::{Permission, Refusal, TransformOutcome, Verdict};
use crate::plugin::shadow::Answer;

/// An answer of a plugin, as it is told.
pub(in crate::pipeline) trait Told: Counted {
    /// In the plugin's words; empty: it gave none.
    fn reason(&self) -> String {
        String::new()
    }

    /// Whether the message goes on as it was.
    fn keeps(&self) -> bool {
        false
    }

    /// As shadows are shown it; none: there are no shadows of its kind.
    fn shown(&self) -> Option<Answer> {
        None
    }
}

impl Told for Verdict {
    fn reason(&self) -> String {
        match self {
            Self::Keep => String::new(),
            Self::Drop(reason) => shortened(reason),
            Self::Refuse(refusal) => refused(refusal),
        }
    }

    fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }

    fn shown(&self) -> Option<Answer> {
        Some(Answer::Filter(self.clone()))
    }
}

impl Told for TransformOutcome {
    fn reason(&self) -> String {
        if let Self::Refuse(refusal) = self { refused(refusal) } else { String::new() }
    }

    fn shown(&self) -> Option<Answer> {
        Some(Answer::Transform(self.clone()))
    }
}

impl Told for Permission {
    fn reason(&self) -> String {
        if let Self::Deny(reason) = self { shortened(reason) } else { String::new() }
    }
}

fn refused(refusal: &Refusal) -> String {
    let reason = shortened(&refusal.reason);
    if refusal.path.is_empty() { reason } else { format!("{reason} (at {})", shortened(&refusal.path)) }
}

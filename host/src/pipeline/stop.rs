//! Why a message's way ended before the sequencer.

use std::sync::Arc;

use crate::message::{Outcome, Refusal};
use crate::plugin::contract;

/// The end of a pass that is not acceptance.
#[derive(Debug)]
pub enum Stop {
    /// Dropped or consumed: no fault of the publisher's.
    Filtered(String),
    /// A plugin failed and its policy drops the message.
    Dropped(String),
    /// Not allowed.
    Denied(String),
    /// A plugin found it wrong.
    Refused(contract::Refusal),
    /// A plugin failed and its policy refuses the message.
    Failed {
        /// The binding.
        plugin: Arc<str>,
        /// Its version.
        version: Arc<str>,
        /// What happened, for the log.
        reason: String,
        /// The session shall be closed.
        disconnect: bool,
    },
    /// A plugin failed and the message is to be set aside.
    DeadLetter {
        /// Who failed.
        by: By,
        /// What happened, for the letter.
        reason: String,
    },
    /// More messages, or more time, than a pass may take.
    TooMany(usize),
    /// Over the pass's deadline.
    TimedOut,
}

/// A binding that failed.
#[derive(Clone, Debug)]
pub struct By {
    /// Its name.
    pub plugin: Arc<str>,
    /// Its version; empty if it does not load.
    pub version: Arc<str>,
    /// Its kind.
    pub stage: &'static str,
    /// Of its component; none if it does not load.
    pub digest: Option<[u8; 32]>,
}

/// Longest reason that a publisher is told, in bytes.
const REASON_BYTES: usize = 1_024;

impl Stop {
    /// Whether what plugins wrote stays.
    pub fn is_decision(&self) -> bool {
        matches!(self, Self::Filtered(_) | Self::Dropped(_) | Self::Refused(_))
    }

    /// Whether a plugin itself has decided it, and none has failed.
    pub fn is_plugins_own(&self) -> bool {
        matches!(self, Self::Filtered(_) | Self::Refused(_))
    }

    /// What the publisher is told.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Filtered(reason) | Self::Dropped(reason) => Outcome::Filtered { reason: shortened(reason) },
            Self::Denied(reason) => Outcome::Denied { reason: reason.clone() },
            Self::Refused(refusal) => Outcome::Invalid(Refusal {
                reason: shortened(&refusal.reason),
                path: shortened(&refusal.path),
                disconnect: refusal.disconnect,
            }),
            Self::Failed { plugin, .. } => Outcome::PluginFailed { plugin: Arc::clone(plugin) },
            Self::DeadLetter { by, .. } => Outcome::DeadLettered { plugin: Arc::clone(&by.plugin) },
            Self::TooMany(most) => Outcome::Invalid(Refusal {
                reason: format!(
                    "it became more than {most} messages, which is the most that one publish may"
                ),
                ..Refusal::default()
            }),
            Self::TimedOut => Outcome::TimedOut,
        }
    }
}

pub(super) fn shortened(text: &str) -> String {
    crate::plugin::imports::logging::cut(text, REASON_BYTES).to_owned()
}

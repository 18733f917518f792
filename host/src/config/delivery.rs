//! What becomes of messages for a reader that falls behind.

use serde::Deserialize;

/// What is done when a message comes for a session whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// The session is closed. The only policy under which no message is lost as long as the session lasts.
    #[default]
    Disconnect,
    /// The oldest waiting message that may be lost is.
    DropOldest,
    /// The new message is lost.
    DropNew,
    /// Of each topic only the newest message waits, whether or not the queue is full.
    LatestOnly,
}

impl Overflow {
    /// Those under which messages are lost, in the order of [`Overflow::losing`].
    pub const LOSING: [Self; 3] = [Self::DropOldest, Self::DropNew, Self::LatestOnly];

    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropOldest => "drop-oldest",
            Self::DropNew => "drop-new",
            Self::LatestOnly => "latest-only",
        }
    }

    /// Its place in [`Overflow::LOSING`]. None: it loses nothing.
    pub const fn losing(self) -> Option<usize> {
        match self {
            Self::Disconnect => None,
            Self::DropOldest => Some(0),
            Self::DropNew => Some(1),
            Self::LatestOnly => Some(2),
        }
    }
}

/// The policy of some topics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRule {
    /// Patterns of the topics.
    pub topics: Vec<String>,
    /// What is done when a reader of theirs falls behind.
    pub overflow: Overflow,
}

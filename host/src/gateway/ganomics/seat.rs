//! The sockets by their paths.

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// The game.
    Game,
    /// Binds a device to its tablet's number.
    Identity,
    /// Tells the times that tablets keep.
    Network,
    /// Shows who is connected.
    Connection,
    /// Accepts, and does nothing.
    Register,
}

impl Seat {
    /// With or without the slash at the end.
    pub(super) fn at(path: &str) -> Option<Self> {
        Some(match path.strip_suffix('/').unwrap_or(path) {
            "/ws" => Self::Game,
            "/ws/identity" => Self::Identity,
            "/ws/check_network" => Self::Network,
            "/ws/connection" => Self::Connection,
            "/ws/register" => Self::Register,
            _ => return None,
        })
    }

    /// Where its messages are published.
    pub(super) fn topic(self) -> Option<&'static str> {
        match self {
            Self::Game => Some("ganomics/ask"),
            Self::Identity => Some("ganomics/identity"),
            _ => None,
        }
    }
}

//! How they lie in the store: under `tenta/users/ID`, `tenta/tokens/HASH`, `tenta/networks/ID`,
//! `tenta/members/NETWORK/USER` and `tenta/sensors/ID`, as one JSON object whose `v` is the format's version.

use super::networks::{Member, Network, NewSensor};
use super::people::{Person, Token};
use crate::accounts::kept::{KeptError, decode, encode};
use crate::accounts::{AccountsError, Change};

const PREFIX: &[u8] = b"tenta/";

/// Whether a record of this name is one of these.
pub(in crate::accounts) fn is_record(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// One record.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Person(Person),
    Token(Token),
    Network(Network),
    Member(Member),
    Sensor(NewSensor),
}

impl Kept {
    /// Owners before what they own.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Person(_) => 0,
            Self::Token(_) => 1,
            Self::Network(_) => 2,
            Self::Member(_) => 3,
            Self::Sensor(_) => 4,
        }
    }

    fn name(&self) -> Vec<u8> {
        let name = match self {
            Self::Person(person) => format!("tenta/users/{}", person.id),
            Self::Token(token) => format!("tenta/tokens/{}", token.hash),
            Self::Network(network) => format!("tenta/networks/{}", network.id),
            Self::Member(member) => format!("tenta/members/{}/{}", member.network, member.person),
            Self::Sensor(sensor) => format!("tenta/sensors/{}", sensor.id),
        };
        name.into_bytes()
    }

    /// The change that keeps it.
    pub(super) fn set(&self) -> Result<Change, AccountsError> {
        let value = match self {
            Self::Person(record) => encode(record),
            Self::Token(record) => encode(record),
            Self::Network(record) => encode(record),
            Self::Member(record) => encode(record),
            Self::Sensor(record) => encode(record),
        };
        Ok((self.name(), Some(value.map_err(|error| AccountsError::Store(error.into()))?)))
    }

    /// The change that removes it.
    pub(super) fn gone(&self) -> Change {
        (self.name(), None)
    }

    pub(super) fn decode(name: &[u8], value: &[u8]) -> Result<Self, KeptError> {
        let rest = name.strip_prefix(PREFIX).unwrap_or_default();
        let kept = match rest.split(|byte| *byte == b'/').next() {
            Some(b"users") => Self::Person(decode(value)?),
            Some(b"tokens") => Self::Token(decode(value)?),
            Some(b"networks") => Self::Network(decode(value)?),
            Some(b"members") => Self::Member(decode(value)?),
            Some(b"sensors") => Self::Sensor(decode(value)?),
            _ => return Err(KeptError::Name),
        };
        if kept.name() == name { Ok(kept) } else { Err(KeptError::Name) }
    }
}

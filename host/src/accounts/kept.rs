//! How tenants, users, rooms and endpoints lie in the store: under `tenants/NAME`, `users/TENANT/NAME`,
//! `rooms/TENANT/OWNER/NAME` and `endpoints/CODE`, each name percent-encoded as a topic level, as one JSON object
//! whose `v` is the format's version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use weir_contract::topic::encode_level;

use super::{AccountsError, Change, Endpoint, Room, Tenant, User};

/// The only format so far.
const VERSION: u32 = 1;

/// One record.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Tenant(Tenant),
    User(User),
    Room(Room),
    Endpoint(Endpoint),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    record: T,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    #[error("its name is not what its text says")]
    Name,
    #[error("its format {0} is not known to this version")]
    Version(u32),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

const REALMS: [&[u8]; 4] = [b"tenants/", b"users/", b"rooms/", b"endpoints/"];

impl Kept {
    /// Whether a record of this name is one of these.
    pub(super) fn is_name(name: &[u8]) -> bool {
        REALMS.iter().any(|realm| name.starts_with(realm))
    }

    /// Owners before what they own.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Tenant(_) => 0,
            Self::User(_) => 1,
            Self::Room(_) => 2,
            Self::Endpoint(_) => 3,
        }
    }

    fn name(&self) -> Vec<u8> {
        let levels: &[&str] = match self {
            Self::Tenant(tenant) => &["tenants", &tenant.name],
            Self::User(user) => &["users", &user.name.tenant, &user.name.name],
            Self::Room(room) => &["rooms", &room.name.tenant, &room.name.owner, &room.name.room],
            Self::Endpoint(endpoint) => &["endpoints", &endpoint.code],
        };
        levels.iter().map(|level| encode_level(level)).collect::<Vec<_>>().join("/").into_bytes()
    }

    /// The change that keeps it.
    pub(super) fn set(&self) -> Result<Change, AccountsError> {
        let value = match self {
            Self::Tenant(record) => encode(record),
            Self::User(record) => encode(record),
            Self::Room(record) => encode(record),
            Self::Endpoint(record) => encode(record),
        };
        Ok((self.name(), Some(value.map_err(|error| AccountsError::Store(error.into()))?)))
    }

    /// The change that removes it.
    pub(super) fn gone(&self) -> Change {
        (self.name(), None)
    }

    pub(super) fn decode(name: &[u8], value: &[u8]) -> Result<Self, KeptError> {
        let kept = match name.split(|byte| *byte == b'/').next() {
            Some(b"tenants") => Self::Tenant(decode(value)?),
            Some(b"users") => Self::User(decode(value)?),
            Some(b"rooms") => Self::Room(decode(value)?),
            Some(b"endpoints") => Self::Endpoint(decode(value)?),
            _ => return Err(KeptError::Name),
        };
        if kept.name() == name { Ok(kept) } else { Err(KeptError::Name) }
    }
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Versioned { v: VERSION, record })
}

pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, KeptError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let Version { v } = serde_json::from_slice(value)?;
    if v != VERSION {
        return Err(KeptError::Version(v));
    }
    Ok(serde_json::from_slice::<Versioned<T>>(value)?.record)
}

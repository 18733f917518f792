//! How many accounts there may be. All are kept in memory.

use serde::Deserialize;

use super::unit;

/// `[accounts]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountLimits {
    /// Tenants beside `main`.
    #[serde(deserialize_with = "unit::count")]
    pub tenants: usize,
    /// Logins in all: names with passwords.
    #[serde(deserialize_with = "unit::count")]
    pub logins: usize,
    /// Users in all.
    #[serde(deserialize_with = "unit::count")]
    pub users: usize,
    /// Rooms in all.
    #[serde(deserialize_with = "unit::count")]
    pub rooms: usize,
    /// Rooms that one user may own.
    #[serde(deserialize_with = "unit::count")]
    pub rooms_per_user: usize,
    /// Endpoints in all; each takes about 0.5 KiB of memory.
    #[serde(deserialize_with = "unit::count")]
    pub endpoints: usize,
    /// Endpoints that one room may have.
    #[serde(deserialize_with = "unit::count")]
    pub endpoints_per_room: usize,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            tenants: 1_000,
            logins: 10_000,
            users: 10_000,
            rooms: 100_000,
            rooms_per_user: 1_000,
            endpoints: 100_000,
            endpoints_per_room: 10_000,
        }
    }
}

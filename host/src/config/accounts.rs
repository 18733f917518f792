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
    /// Users of tenta in all.
    #[serde(deserialize_with = "unit::count")]
    pub tenta_users: usize,
    /// Access tokens that one of them may have: the oldest goes when there would be more.
    #[serde(deserialize_with = "unit::count")]
    pub tenta_tokens_per_user: usize,
    /// Networks of sensors in all.
    #[serde(deserialize_with = "unit::count")]
    pub networks: usize,
    /// Networks that one user may be a member of and still make another.
    #[serde(deserialize_with = "unit::count")]
    pub networks_per_user: usize,
    /// Sensors in all; each takes about 1 KiB of memory.
    #[serde(deserialize_with = "unit::count")]
    pub sensors: usize,
    /// Sensors that one network may have.
    #[serde(deserialize_with = "unit::count")]
    pub sensors_per_network: usize,
    /// JSON text of one configuration of a sensor. Configurations are on the disk, and as many as are made.
    #[serde(deserialize_with = "unit::size")]
    pub configuration_bytes: usize,
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
            tenta_users: 10_000,
            tenta_tokens_per_user: 32,
            networks: 10_000,
            networks_per_user: 1_000,
            sensors: 100_000,
            sensors_per_network: 10_000,
            configuration_bytes: 256 * 1024,
        }
    }
}

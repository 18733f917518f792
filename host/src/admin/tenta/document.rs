//! The file of an import: the original's tables by name, each a list of its rows. Times are Unix seconds.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::accounts::tenta::{Hash, Id};

/// All of it; a table may be left out.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub(super) user: Vec<User>,
    pub(super) network: Vec<Network>,
    pub(super) sensor: Vec<Sensor>,
    pub(super) permission: Vec<Permission>,
    pub(super) session: Vec<Session>,
    pub(super) configuration: Vec<Configuration>,
    pub(super) measurement: Vec<Measurement>,
    pub(super) log: Vec<Log>,
    /// Seconds that are added to every time.
    #[serde(skip)]
    pub(super) offset: f64,
}

impl Document {
    /// The error says line and column.
    pub(super) fn read(bytes: &[u8], offset: f64) -> Result<Self, serde_json::Error> {
        Ok(Self { offset, ..serde_json::from_slice(bytes)? })
    }

    /// A time of the file as Unix seconds.
    pub(super) fn seconds(&self, at: f64) -> f64 {
        at + self.offset
    }

    /// The same in microseconds; before 1970 is 1970.
    pub(super) fn micros(&self, at: f64) -> u64 {
        (self.seconds(at).max(0.0) * 1e6) as u64
    }
}

/// Either with a hash of Argon2 or with the password itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) identifier: Id,
    pub(super) name: String,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
    pub(super) password_hash: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) identifier: Id,
    pub(super) name: String,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sensor {
    pub(super) identifier: Id,
    pub(super) name: String,
    pub(super) network_identifier: Id,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Permission {
    pub(super) user_identifier: Id,
    pub(super) network_identifier: Id,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
}

/// Either with the SHA-512 of an access token or with the token itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) access_token_hash: Option<Hash>,
    pub(super) access_token: Option<String>,
    pub(super) user_identifier: Id,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configuration {
    pub(super) sensor_identifier: Id,
    #[serde(alias = "configuration")]
    pub(super) value: Box<RawValue>,
    pub(super) revision: u32,
    #[serde(default)]
    pub(super) creation_timestamp: f64,
    pub(super) publication_timestamp: Option<f64>,
    #[serde(alias = "acknowledgement_timestamp")]
    pub(super) acknowledgment_timestamp: Option<f64>,
    #[serde(rename = "receipt_timestamp")]
    pub(super) _receipt_timestamp: Option<f64>,
    pub(super) success: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measurement {
    pub(super) sensor_identifier: Id,
    pub(super) attribute: String,
    pub(super) value: f64,
    pub(super) revision: Option<u32>,
    pub(super) creation_timestamp: f64,
    #[serde(rename = "receipt_timestamp")]
    pub(super) _receipt_timestamp: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) sensor_identifier: Id,
    pub(super) message: String,
    pub(super) severity: String,
    pub(super) revision: Option<u32>,
    pub(super) creation_timestamp: f64,
    #[serde(rename = "receipt_timestamp")]
    pub(super) _receipt_timestamp: Option<f64>,
}

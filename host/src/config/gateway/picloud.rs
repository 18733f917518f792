//! `[picloud]`: the listener of picloud's clients.

use std::net::SocketAddr;

use serde::Deserialize;

use super::everywhere;
use crate::config::{Secret, unit};

/// The listener of picloud's clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Picloud {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// What clients have to present; in the file also `env:NAME`. Empty: whoever presents no key is let in, as with the
    /// original.
    pub api_key: Secret,
    /// Whether `/info` and `/socket/info` are served.
    pub info_socket: bool,
}

impl Default for Picloud {
    fn default() -> Self {
        Self { listen: everywhere(9000), api_key: Secret::default(), info_socket: false }
    }
}

//! `[picloud]`: the listener of picloud's clients.

use std::net::SocketAddr;

use serde::Deserialize;

use super::everywhere;
use crate::config::{BasePath, Secret, Site, Tls, unit};

/// The listener of picloud's clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Picloud {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// What clients have to present; in the file also `env:NAME`. Empty: whoever presents no key is let in, as with the
    /// original.
    pub api_key: Secret,
    /// Whether `/info` and `/socket/info` are served.
    pub info_socket: bool,
}

impl Default for Picloud {
    fn default() -> Self {
        Self {
            listen: everywhere(9000),
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            api_key: Secret::default(),
            info_socket: false,
        }
    }
}

impl Picloud {
    /// How it is reached.
    pub(super) fn site(&self) -> Site {
        Site {
            name: "picloud",
            key: ["picloud", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

//! `[ganomics]`: the listener of Ganomics' tablets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{BasePath, Site, Tls, unit};

/// The listener of Ganomics' tablets. The game itself is a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ganomics {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// Folder whose files are served below `/static/`; none: there are none.
    #[serde(rename = "static")]
    pub files: Option<PathBuf>,
    /// How long after its last request a tablet counts as connected.
    #[serde(deserialize_with = "unit::duration")]
    pub connected: Duration,
}

impl Default for Ganomics {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8018),
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            files: None,
            connected: Duration::from_secs(15),
        }
    }
}

impl Ganomics {
    /// How it is reached.
    pub(super) fn site(&self) -> Site {
        Site {
            name: "ganomics",
            key: ["ganomics", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

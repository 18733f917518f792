//! `[ganomics]`: the listener of Ganomics' tablets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::unit;

/// The listener of Ganomics' tablets. The game itself is a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ganomics {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// Folder whose files are served below `/static/`; none: there are none.
    #[serde(rename = "static")]
    pub files: Option<PathBuf>,
    /// How long after its last request a tablet counts as connected.
    #[serde(deserialize_with = "unit::duration")]
    pub connected: Duration,
}

impl Default for Ganomics {
    fn default() -> Self {
        let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8018);
        Self { listen, files: None, connected: Duration::from_secs(15) }
    }
}

//! `[paikea]`: the listeners of Paikea's devices and pages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::everywhere;
use crate::config::unit;

/// The listeners of Paikea's devices and pages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paikea {
    /// Address and port for devices.
    #[serde(deserialize_with = "unit::address")]
    pub device: SocketAddr,
    /// Address and port for pages; whoever reaches it commands the devices.
    #[serde(deserialize_with = "unit::address")]
    pub page: SocketAddr,
    /// Folder of the daily text log, which holds all that is said; empty: there is none.
    pub log: PathBuf,
}

impl Default for Paikea {
    fn default() -> Self {
        let page = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7770);
        Self { device: everywhere(7777), page, log: PathBuf::new() }
    }
}

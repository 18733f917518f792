//! `[paikea]`: the listeners of Paikea's devices and pages.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::everywhere;
use crate::config::{BasePath, Site, Tls, unit};

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
    /// TLS for pages, see [`Site::tls`].
    pub tls: Option<Tls>,
    /// TLS for devices.
    pub device_tls: Option<Tls>,
    /// For pages, see [`Site::proxy_protocol`]; devices connect without a proxy.
    pub proxy_protocol: bool,
    /// For pages, see [`Site::base_path`].
    pub base_path: BasePath,
    /// Folder of the daily text log, which holds all that is said; empty: there is none.
    pub log: PathBuf,
}

impl Default for Paikea {
    fn default() -> Self {
        let page = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7770);
        Self {
            device: everywhere(7777),
            page,
            tls: None,
            device_tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            log: PathBuf::new(),
        }
    }
}

impl Paikea {
    /// How devices, and how pages reach it.
    pub(super) fn sites(&self) -> [Site; 2] {
        let devices = Site {
            name: "paikea-device",
            key: ["paikea", "device"],
            listen: self.device,
            tls: self.device_tls.clone(),
            proxy_protocol: false,
            base_path: BasePath::default(),
        };
        let pages = Site {
            name: "paikea-page",
            key: ["paikea", "page"],
            listen: self.page,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        };
        [devices, pages]
    }
}

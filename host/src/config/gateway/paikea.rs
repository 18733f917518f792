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
    /// See [`Site::tls`].
    pub device_tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub device_proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub device_base_path: BasePath,
    /// Address and port for pages; whoever reaches it commands the devices.
    #[serde(deserialize_with = "unit::address")]
    pub page: SocketAddr,
    /// See [`Site::tls`].
    pub page_tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub page_proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub page_base_path: BasePath,
    /// Folder of the daily text log, which holds all that is said; empty: there is none.
    pub log: PathBuf,
}

impl Default for Paikea {
    fn default() -> Self {
        Self {
            device: everywhere(7777),
            device_tls: None,
            device_proxy_protocol: false,
            device_base_path: BasePath::default(),
            page: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7770),
            page_tls: None,
            page_proxy_protocol: false,
            page_base_path: BasePath::default(),
            log: PathBuf::new(),
        }
    }
}

impl Paikea {
    /// How both are reached.
    pub(super) fn sites(&self) -> [Site; 2] {
        let device = Site {
            name: "paikea-device",
            key: ["paikea", "device"],
            listen: self.device,
            tls: self.device_tls.clone(),
            proxy_protocol: self.device_proxy_protocol,
            base_path: self.device_base_path.clone(),
        };
        let page = Site {
            name: "paikea-page",
            key: ["paikea", "page"],
            listen: self.page,
            tls: self.page_tls.clone(),
            proxy_protocol: self.page_proxy_protocol,
            base_path: self.page_base_path.clone(),
        };
        [device, page]
    }
}

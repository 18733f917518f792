//! `[rooms]`: the listener of rooms and their endpoints.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use crate::config::{BasePath, Site, Tls, unit};

/// The listener of rooms.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rooms {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// Where both versions of the original have one URL or frame, the one that is meant.
    pub flavour: Flavour,
    /// Connections stay when their endpoint or room is deleted, as with the original. They are gone with a restart.
    pub keep_open: bool,
    /// Pages of these origins (`https://example.org`) may call; `*` = all. The user that needs no key is for those alone that
    /// are named, and for pages of the same host.
    pub origins: Vec<String>,
}

/// A version of the original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// The latest: messages carry the time, lists of rooms their webhooks.
    #[default]
    Newest,
    /// The first.
    Seed,
}

impl Default for Rooms {
    fn default() -> Self {
        let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8002);
        Self {
            listen,
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            flavour: Flavour::Newest,
            keep_open: false,
            origins: vec!["*".into()],
        }
    }
}

impl Rooms {
    /// How it is reached.
    pub(super) fn site(&self) -> Site {
        Site {
            name: "rooms",
            key: ["rooms", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod paikea;
mod picloud;
mod rooms;

pub use paikea::Paikea;
pub use picloud::Picloud;
pub use rooms::{Flavour, Rooms};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Config;

/// A listener that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Its name in `addresses.json` and in the log.
    pub name: &'static str,
    /// Table and key that set its address.
    pub key: [&'static str; 2],
    /// Address and port.
    pub listen: SocketAddr,
}

impl Config {
    /// Listeners of gateways beside the native one, in the order of their names.
    pub fn gateways(&self) -> Vec<Site> {
        let mut sites = Vec::new();
        if let Some(Paikea { device, page, .. }) = &self.paikea {
            sites.push(Site { name: "paikea-device", key: ["paikea", "device"], listen: *device });
            sites.push(Site { name: "paikea-page", key: ["paikea", "page"], listen: *page });
        }
        if let Some(picloud) = &self.picloud {
            sites.push(Site { name: "picloud", key: ["picloud", "listen"], listen: picloud.listen });
        }
        if let Some(rooms) = &self.rooms {
            sites.push(Site { name: "rooms", key: ["rooms", "listen"], listen: rooms.listen });
        }
        sites
    }

    /// Moves a gateway's listener, for callers that bind it themselves.
    pub fn gateway_moved(&mut self, name: &str, to: SocketAddr) {
        let (paikea, picloud, rooms) = (&mut self.paikea, &mut self.picloud, &mut self.rooms);
        let listen = match name {
            "paikea-device" => paikea.as_mut().map(|paikea| &mut paikea.device),
            "paikea-page" => paikea.as_mut().map(|paikea| &mut paikea.page),
            "picloud" => picloud.as_mut().map(|picloud| &mut picloud.listen),
            "rooms" => rooms.as_mut().map(|rooms| &mut rooms.listen),
            _ => None,
        };
        if let Some(listen) = listen {
            *listen = to;
        }
    }
}

/// All addresses of this machine.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

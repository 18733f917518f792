//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod ganomics;
mod picloud;
mod rooms;

pub use ganomics::Ganomics;
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
        if let Some(ganomics) = &self.ganomics {
            sites.push(Site { name: "ganomics", key: ["ganomics", "listen"], listen: ganomics.listen });
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
        match name {
            "ganomics" => self.ganomics.iter_mut().for_each(|ganomics| ganomics.listen = to),
            "picloud" => self.picloud.iter_mut().for_each(|picloud| picloud.listen = to),
            "rooms" => self.rooms.iter_mut().for_each(|rooms| rooms.listen = to),
            _ => {}
        }
    }
}

/// All addresses of this machine.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod paikea;
mod picloud;
mod rooms;

pub use paikea::Paikea;
pub use picloud::Picloud;
pub use rooms::{Flavour, Rooms};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Config, Site, Tls};

impl Config {
    /// Listeners of gateways beside the native one, in the order of their names.
    pub fn gateways(&self) -> Vec<Site> {
        let paikea = self.paikea.as_ref().map(Paikea::sites).into_iter().flatten();
        let picloud = self.picloud.as_ref().map(Picloud::site);
        let rooms = self.rooms.as_ref().map(Rooms::site);
        paikea.chain(picloud).chain(rooms).collect()
    }

    /// Files of certificates, of every listener that has any.
    pub(super) fn tls(&mut self) -> impl Iterator<Item = &mut Tls> {
        let own = [&mut self.http.tls, &mut self.admin.tls];
        let paikea = self.paikea.iter_mut().flat_map(|table| [&mut table.device_tls, &mut table.tls]);
        let picloud = self.picloud.iter_mut().map(|table| &mut table.tls);
        let rooms = self.rooms.iter_mut().map(|table| &mut table.tls);
        own.into_iter().chain(paikea).chain(picloud).chain(rooms).flatten()
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

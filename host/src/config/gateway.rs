//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod picloud;
mod rooms;

pub use picloud::Picloud;
pub use rooms::{Flavour, Rooms};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Config, Site, Tls};

impl Config {
    /// Listeners of gateways beside the native one, in the order of their names.
    pub fn gateways(&self) -> Vec<Site> {
        let picloud = self.picloud.as_ref().map(Picloud::site);
        let rooms = self.rooms.as_ref().map(Rooms::site);
        [picloud, rooms].into_iter().flatten().collect()
    }

    /// Files of certificates, of every listener that has any.
    pub(super) fn tls(&mut self) -> impl Iterator<Item = &mut Tls> {
        let picloud = self.picloud.as_mut().and_then(|table| table.tls.as_mut());
        let rooms = self.rooms.as_mut().and_then(|table| table.tls.as_mut());
        [self.http.tls.as_mut(), self.admin.tls.as_mut(), picloud, rooms].into_iter().flatten()
    }

    /// Moves a gateway's listener, for callers that bind it themselves.
    pub fn gateway_moved(&mut self, name: &str, to: SocketAddr) {
        match (name, &mut self.picloud, &mut self.rooms) {
            ("picloud", Some(picloud), _) => picloud.listen = to,
            ("rooms", _, Some(rooms)) => rooms.listen = to,
            _ => {}
        }
    }
}

/// All addresses of this machine.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

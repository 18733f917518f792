//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod picloud;

pub use picloud::Picloud;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Config, Site, Tls};

impl Config {
    /// Listeners of gateways beside the native one, in the order of their names.
    pub fn gateways(&self) -> Vec<Site> {
        let mut sites = Vec::new();
        if let Some(picloud) = &self.picloud {
            sites.push(picloud.site());
        }
        sites
    }

    /// Files of certificates, of every listener that has any.
    pub(super) fn tls(&mut self) -> impl Iterator<Item = &mut Tls> {
        let picloud = self.picloud.as_mut().and_then(|picloud| picloud.tls.as_mut());
        [self.http.tls.as_mut(), self.admin.tls.as_mut(), picloud].into_iter().flatten()
    }

    /// Moves a gateway's listener, for callers that bind it themselves.
    pub fn gateway_moved(&mut self, name: &str, to: SocketAddr) {
        if let ("picloud", Some(picloud)) = (name, &mut self.picloud) {
            picloud.listen = to;
        }
    }
}

/// All addresses of this machine.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

//! Listeners for clients of other systems, each in that system's own protocol. All are off unless their table is there.

mod ganomics;
mod mqtt;
mod paikea;
mod picloud;
mod rooms;
mod tenta;

pub use ganomics::Ganomics;
pub use mqtt::Mqtt;
pub use paikea::Paikea;
pub use picloud::Picloud;
pub use rooms::{Flavour, Rooms};
pub use tenta::{Tenta, TentaFlavour};

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Config, Site, Tls};

impl Config {
    /// Listeners of gateways beside the native one, in the order of their names.
    pub fn gateways(&self) -> Vec<Site> {
        let ganomics = self.ganomics.iter().map(Ganomics::site);
        let picloud = self.picloud.as_ref().map(Picloud::site);
        let rooms = self.rooms.as_ref().map(Rooms::site);
        let tenta = self.tenta.as_ref().map(Tenta::site);
        let paikea = self.paikea.iter().flat_map(Paikea::sites);
        let mqtt = self.mqtt.as_ref().map(Mqtt::site);
        ganomics.chain(mqtt).chain(paikea).chain([picloud, rooms, tenta].into_iter().flatten()).collect()
    }

    /// Files of certificates, of every listener that has any.
    pub(super) fn tls(&mut self) -> impl Iterator<Item = &mut Tls> {
        let picloud = self.picloud.as_mut().and_then(|table| table.tls.as_mut());
        let rooms = self.rooms.as_mut().and_then(|table| table.tls.as_mut());
        let paikea = self.paikea.iter_mut().flat_map(|table| [&mut table.device_tls, &mut table.page_tls]);
        let ganomics = self.ganomics.as_mut().and_then(|table| table.tls.as_mut());
        let mqtt = self.mqtt.as_mut().and_then(|table| table.tls.as_mut());
        let tenta = self.tenta.as_mut().and_then(|table| table.tls.as_mut());
        let own = [self.http.tls.as_mut(), self.admin.tls.as_mut(), ganomics, mqtt, picloud, rooms, tenta];
        own.into_iter().chain(paikea.map(Option::as_mut)).flatten()
    }

    /// Moves a gateway's listener, for callers that bind it themselves.
    pub fn gateway_moved(&mut self, name: &str, to: SocketAddr) {
        let (paikea, picloud, rooms) = (&mut self.paikea, &mut self.picloud, &mut self.rooms);
        let listen = match name {
            "ganomics" => self.ganomics.as_mut().map(|ganomics| &mut ganomics.listen),
            "mqtt" => self.mqtt.as_mut().map(|mqtt| &mut mqtt.listen),
            "paikea-device" => paikea.as_mut().map(|paikea| &mut paikea.device),
            "paikea-page" => paikea.as_mut().map(|paikea| &mut paikea.page),
            "picloud" => picloud.as_mut().map(|picloud| &mut picloud.listen),
            "rooms" => rooms.as_mut().map(|rooms| &mut rooms.listen),
            "tenta" => self.tenta.as_mut().map(|tenta| &mut tenta.listen),
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

//! `[mqtt]`: the listener of MQTT clients.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{BasePath, Site, Tls, unit};

const IN_FLIGHT: NonZeroU16 = NonZeroU16::new(256).unwrap();

/// The listener of MQTT clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// PUBLISH packets of QoS 1 and 2 that a client may send before the first is acknowledged; 1 to 65,535.
    pub receive_maximum: NonZeroU16,
    /// The same of what a client is sent, unless it wants less; 1 to 65,535.
    pub max_in_flight: NonZeroU16,
    /// Longest time that a session is kept without a connection, however long its client asks for; 1 s to 30 days.
    #[serde(deserialize_with = "unit::duration")]
    pub session_expiry_max: Duration,
    /// Sessions that are kept beyond their connections, in all; one more is refused.
    #[serde(deserialize_with = "unit::count")]
    pub sessions: usize,
    /// How often `$SYS/broker/…` is published; 0 = never, else 1 s or more.
    #[serde(deserialize_with = "unit::duration")]
    pub sys_interval: Duration,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883),
            tls: None,
            proxy_protocol: false,
            receive_maximum: IN_FLIGHT,
            max_in_flight: IN_FLIGHT,
            session_expiry_max: Duration::from_secs(7 * 24 * 3_600),
            sessions: 10_000,
            sys_interval: Duration::from_secs(10),
        }
    }
}

impl Mqtt {
    /// How it is reached.
    pub(super) fn site(&self) -> Site {
        Site {
            name: "mqtt",
            key: ["mqtt", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: BasePath::default(),
        }
    }
}

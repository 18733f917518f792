//! MQTT 3.1.1 and 5, the server's side, over TCP, TLS and WebSocket. A topic of MQTT is a topic of the router.
//!
//! Packets, packet identifiers and the handshakes of QoS 1 and 2 are those of `mqtt-protocol-core`; what becomes of
//! messages is the router's affair: a PUBLISH goes through the one door as all messages do, and is acknowledged when
//! the level holds that the listener is configured for.
//!
//! - `link`: the protocol's state of one connection, and the bytes that wait to be written.
//! - `talk`: the life of a connection: CONNECT, then reading (`read`) and writing (`write`) side by side, then the end.
//! - `frame`: where packets end; what is no CONNECT that is spoken here goes no further. `socket`: WebSocket.
//! - `connect`: who is let in. `roster`: which connection has which client identifier. `stay`: sessions that outlive
//!   their connections.
//! - `publish`: PUBLISH and its acknowledgements. `subscribe`: SUBSCRIBE and UNSUBSCRIBE. `deliver`: messages that go
//!   out. `flight`: what is said of them. `will`: what is published when a client goes without a word.
//! - `sys`: `$SYS/…`. `packet`: packets in the words of both versions. `strict`: what their decoder lets pass.

mod connect;
mod deliver;
mod flight;
mod frame;
mod link;
mod packet;
mod publish;
mod read;
mod roster;
mod socket;
mod stay;
mod strict;
mod subscribe;
mod sys;
mod talk;
mod will;
mod write;

pub use deliver::shared_packet;
pub use socket::router;
// The words of the protocol, for whoever speaks it from the other side.
pub(crate) use deliver::properties;
pub(crate) use packet::{Made, Outgoing, is_v5, puback, publish};
pub(crate) use publish::Incoming;

use std::sync::Arc;

use super::forwarded::Client;
use super::lease::Lease;
use super::listen::{Deadlines, Entered, Speaker};
use super::unfinished::Unfinished;
use crate::config::{Limits, Mqtt};
use crate::ingress::Ingress;
use roster::Roster;
use sys::Sys;
use will::Wills;

/// The gateway's name.
const GATEWAY: &str = "mqtt";

/// Bytes of a packet beside its payload.
const AROUND: usize = 128 * 1024;

/// What every connection has.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    ingress: Ingress,
    config: Mqtt,
    limits: Limits,
    roster: Roster,
    wills: Wills,
    sys: Sys,
}

impl App {
    /// To be served by [`super::listen::serve`].
    pub fn new(ingress: Ingress, config: &Mqtt, limits: &Limits) -> Self {
        let (config, limits) = (config.clone(), limits.clone());
        let (roster, wills, sys) = (Roster::default(), Wills::default(), Sys::default());
        Self(Arc::new(Inner { ingress, config, limits, roster, wills, sys }))
    }

    /// Tells clients that have subscribed to `$SYS/…` how the router fares, for ever.
    pub(super) async fn report(&self) {
        self.0.report().await;
    }
}

/// Who has connected, as far as the connection says.
struct Visitor {
    client: Client,
    /// In the certificate that it has shown.
    tls_name: Option<Arc<str>>,
}

impl Inner {
    /// What one more connection holds of packets that have come in part.
    fn unfinished(&self) -> Unfinished {
        Unfinished::new(self.ingress.gateway(GATEWAY), &self.limits)
    }
}

impl Speaker for App {
    const FULL: &'static [u8] = &[];

    async fn speak(self, entered: Entered, lease: Lease, deadlines: Deadlines) {
        let visitor = Visitor { client: entered.client, tls_name: entered.stream.tls_name() };
        talk::talk(&self.0, entered.stream, &visitor, &lease, deadlines.write).await;
    }
}

//! Gateways: code that speaks one wire protocol and turns it into commands for ingress, and deliveries back
//! into that protocol. A gateway knows no plugin, no store and no subscriber.
//!
//! ```text
//! listen ── accept, deadlines, drain ──► door ──► axum router of a gateway ──► ingress
//!    │                                        │ 101
//!    └─ lease: one socket's place ──────────► ws ── frames in, frames out ──► ingress, session queue
//! ```
//!
//! - [`listen`]: the accept loop under every HTTP listener, the admin one included.
//! - `door`: what a connection passes first: the PROXY protocol, TLS; and what trusted proxies say of a request.
//! - [`native`]: the router's own protocol, `docs/protocol.md`.
//! - [`ganomics`], [`paikea`], [`picloud`], [`rooms`], [`tenta`]: for clients of other systems, in their own protocols; `foreign`
//!   is what these share.
//! - [`mqtt`]: MQTT 3.1.1 and 5, also in WebSocket.
//! - [`body`], [`reply`]: reading a request's body within its limits, answering in JSON.
//! - `ws`: WebSocket connections with our own write half, for every gateway that speaks WebSocket.

pub mod body;
mod client_name;
mod door;
mod foreign;
mod forwarded;
pub mod ganomics;
pub(crate) mod json;
mod keepalive;
mod lease;
pub mod listen;
pub mod mqtt;
pub mod native;
mod page;
pub mod paikea;
pub mod picloud;
mod proxy_protocol;
pub mod reply;
pub mod rooms;
mod stall;
mod stream;
mod tcp;
pub mod tenta;
mod tls;
mod unfinished;
mod visit;
mod ws;

pub use door::{Door, DoorError};
pub use lease::Peer;
pub(crate) use visit::Visit;

use axum::Router;

use crate::config::Config;
use crate::ingress::Ingress;

/// What a listener speaks.
#[derive(Clone)]
pub enum Service {
    /// HTTP, and WebSocket in it.
    Http(Router),
    /// MQTT.
    Mqtt(mqtt::App),
}

/// The services of the native listener and of every gateway that [`Config::gateways`] names. The error is that of a file of theirs.
pub fn services(ingress: &Ingress, config: &Config) -> std::io::Result<Vec<(&'static str, Service)>> {
    let mut routers = Vec::new();
    if let Some(paikea) = &config.paikea {
        routers.extend(paikea::routers(ingress, paikea, &config.limits)?);
    }
    if let Some(picloud) = &config.picloud {
        routers.push(("picloud", picloud::router(ingress.clone(), picloud, &config.limits)));
    }
    if let Some(ganomics) = &config.ganomics {
        routers.push(("ganomics", ganomics::router(ingress.clone(), ganomics, &config.limits)));
    }
    if let Some(rooms) = &config.rooms {
        routers.push(("rooms", rooms::router(ingress.clone(), rooms, &config.limits)));
    }
    if let Some(tenta) = &config.tenta {
        routers.push(("tenta", tenta::router(ingress.clone(), tenta, config)));
    }
    let mut services: Vec<_> =
        routers.into_iter().map(|(name, router)| (name, Service::Http(router))).collect();
    let mut more = Router::new();
    if let Some(mqtt) = &config.mqtt {
        let app = mqtt::App::new(ingress.clone(), mqtt, &config.limits);
        more = more.merge(mqtt::router(app.clone()));
        services.push(("mqtt", Service::Mqtt(app)));
    }
    services.push(("http", Service::Http(native::router(ingress.clone(), config, more))));
    Ok(services)
}

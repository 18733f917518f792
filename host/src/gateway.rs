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
//! - [`body`], [`reply`]: reading a request's body within its limits, answering in JSON.
//! - `ws`: WebSocket connections with our own write half, for every gateway that speaks WebSocket.

pub mod body;
mod door;
mod forwarded;
pub(crate) mod json;
mod lease;
pub mod listen;
pub mod native;
mod proxy_protocol;
pub mod reply;
mod stall;
mod stream;
mod tcp;
mod tls;
mod visit;
mod ws;

pub use door::{Door, DoorError, Transport};
pub use lease::Peer;

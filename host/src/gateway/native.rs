//! The router's own protocol: JSON over WebSocket and HTTP, as `docs/protocol.md` has it.
//!
//! - [`router`]: the paths, and who may call them from a page (`origin`).
//! - `credential`: who somebody says to be.
//! - `keys`, `fields`, `request`, `message`: what is asked for. `answer`, `event`, `payload`: what is said.
//! - `socket`: `/v1/ws`. `http`: everything else; `sse`: how its `/v1/subscribe` writes events.
//! - `steps`: single steps of a connection, for measuring.

mod answer;
mod consume;
mod credential;
mod event;
mod fields;
mod http;
mod keys;
mod message;
mod origin;
mod payload;
mod request;
mod router;
mod socket;
mod sse;
mod steps;

pub use event::deliveries;
pub use router::router;
pub use socket::shared_delivery;
pub use steps::read_publish;

/// The gateway's name, in credentials and metadata.
const GATEWAY: &str = "http";

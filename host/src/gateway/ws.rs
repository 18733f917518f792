//! WebSocket connections (RFC 6455), server side.
//!
//! Reading, and all judgement of what the peer sent, is tungstenite's. Writing is our own: a message's frame
//! is encoded once and shared by all its readers, and all that waits for a connection goes out in one system
//! call. One task per connection runs both.
//!
//! ```text
//! socket ─► meter ─► tungstenite ─► reader ─► Handler::text ─► ingress
//!                        └ pongs ─► control ┐
//! socket ◄─────────────────────── writer ◄──┴─ session.outbound (deliveries, answers, close)
//! ```

mod ahead;
mod bytes;
mod connection;
mod control;
pub(crate) mod frame;
mod handshake;
mod meter;
mod reader;
mod run;
mod silence;
mod writer;

pub(crate) use bytes::{ByteReader, Pongs, bytes};
pub(crate) use connection::{Connection, Expected};
pub(crate) use handshake::{Opened, Upgrade, handshake};
pub(crate) use run::{Handler, Next, STOPPING, run};

use crate::message::{Routed, Run};

/// Writes a message as a complete frame of the gateway's protocol. A close frame ends the connection: nothing follows it.
pub(crate) type Encode = fn(&Routed) -> ::bytes::Bytes;

/// Writes messages that go together as so many frames, none of them a close frame.
pub(crate) type EncodeRun = fn(&Run) -> ::bytes::Bytes;

//! weir: a programmable event router. Messages from devices, pages and sensors pass through hot-reloadable
//! WebAssembly plugins and reach their subscribers; a log in sled keeps them.
//!
//! ```text
//! gateway(read) → ingress → shard: auth → filter → transform → re-authorize → sequencer (offset, log, route) → session → gateway(write)
//!                                                                               │
//!                                                                               └→ consumers (storage plugins, webhooks) read the log
//! ```
//!
//! The modules stand in the order in which a message meets them. A module uses those below it, never those
//! above; `tests/all/tidy.rs` holds that.

pub mod cli;
pub mod server;
pub mod bridge;
pub mod gateway;
pub mod admin;
pub mod ingress;
pub mod shard;
pub mod trial;
pub mod pipeline;
pub mod consumer;
pub mod persistent;
pub mod durable;
pub mod outbox;
pub mod sequencer;
pub mod plugin;
pub mod router;
pub mod session;
pub mod received;
pub mod retained;
pub mod dead_letters;
pub mod recorded;
pub mod accounts;
pub mod store;
pub mod telemetry;
pub mod metrics;
pub mod config;
pub mod message;

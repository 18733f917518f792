//! weir at work: a device, a sensor and a page on this machine's real load, and the demo that runs all
//! three against a router and counts every message.
//!
//! ```text
//! device ── WebSocket ──┐                       ┌── page/… ──→ page (live table)
//!   ↑                   ├──→ router: filters, ──┤
//!   │      sensor ─POST─┘    transforms         └── page/… ──→ storage `latest`
//!   └────────────────── devices/NAME/commands ←──────────────── page
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`proc`] | what there is to tell: load, memory, CPU, network |
//! | [`client`] | the native protocol over WebSocket and HTTP |
//! | [`device`], [`sensor`], [`page`] | the three, each also a program of its own |
//! | [`witness`] | who looks on |
//! | [`demo`] | starts a router and all three, and proves that nothing was lost |

pub mod client;
pub mod clock;
pub mod demo;
pub mod device;
pub mod page;
pub mod proc;
pub mod sensor;
pub mod signals;
pub mod witness;

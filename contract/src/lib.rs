//! What weir's host and its plugin SDK must agree on, byte for byte, and what WIT cannot say.
//!
//! - [`packed`]: the length-prefixed encoding of a message's metadata, a session and a plugin's context.
//! - [`topic`]: what a topic and a pattern are, and which pattern matches or covers what.
//! - [`time`]: Unix microseconds as text.
//!
//! The crate depends on nothing, allocates only where a function returns a `String`, and never panics,
//! whatever bytes it is given: both sides of the sandbox feed it bytes that the other side chose.

pub mod packed;
pub mod time;
pub mod topic;

//! Single steps of a connection, for measuring what they cost apart from sockets: `cargo xtask counts`.

use std::sync::Arc;

use bytes::Bytes;

use super::message::Source;
use super::request::{Frame, Request};
use crate::ingress::Publish;

/// The publish that a text frame asks for, read as `/v1/ws` reads it. `before`: the topic of the one before it. `None`: it
/// asks for something else, or is refused.
pub fn read_publish(frame: &Bytes, before: Option<&Arc<str>>) -> Option<Publish> {
    let text = std::str::from_utf8(frame).ok()?;
    match Frame::read(&Source { text, bytes: frame, memory: frame.len(), before }).request {
        Ok(Request::Publish(publish)) => Some(publish),
        _ => None,
    }
}

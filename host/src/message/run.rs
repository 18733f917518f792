//! Messages that go the same way together.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Routed;

/// Messages of one topic, accepted one after the other, on their way to the same sessions: each of these queues and
/// writes them as one. None of them expires.
#[derive(Debug)]
pub struct Run {
    messages: Box<[Arc<Routed>]>,
    bytes: usize,
    /// Of the native protocol.
    frames: OnceLock<Bytes>,
}

impl Run {
    /// Most messages of a run.
    pub const MESSAGES: usize = 64;
    /// Most bytes of its messages, unless it is a single one.
    pub const BYTES: usize = 64 * 1024;

    /// The longest run that begins with the first of these; none: it goes alone.
    pub fn of(messages: &[Arc<Routed>]) -> Option<Self> {
        let first = messages.first()?;
        let (mut bytes, mut length) = (0, 0);
        for routed in messages.iter().take(Self::MESSAGES) {
            let grown = bytes + routed.message.size();
            let alike = routed.message.topic == first.message.topic && routed.expires_us.is_none();
            if !alike || grown > Self::BYTES {
                break;
            }
            (bytes, length) = (grown, length + 1);
        }
        let messages = messages.get(..length).filter(|_| length > 1)?;
        Some(Self { messages: messages.into(), bytes, frames: OnceLock::new() })
    }

    /// In their order; two at least.
    pub fn messages(&self) -> &[Arc<Routed>] {
        &self.messages
    }

    /// Bytes of all messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The frames of the native protocol, one behind the other; `append` writes one of them, which has about `around`
    /// bytes beside its payload. The first reader that asks encodes them for all.
    pub fn native_frames(&self, around: usize, append: impl Fn(&Routed, &mut Vec<u8>)) -> Bytes {
        let encode = || {
            let payloads: usize = self.messages.iter().map(|routed| routed.message.payload.len()).sum();
            let mut frames = Vec::with_capacity(payloads + self.messages.len() * around);
            self.messages.iter().for_each(|routed| append(routed, &mut frames));
            frames.into()
        };
        self.frames.get_or_init(encode).clone()
    }
}

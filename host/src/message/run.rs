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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn routed(topic: &str, bytes: usize) -> Arc<Routed> {
        let (meta, payload) = (Bytes::from_static(&[1]), vec![b'x'; bytes].into());
        Arc::new(Routed::new(Message { topic: topic.into(), meta, payload }, None))
    }

    fn length(messages: &[Arc<Routed>]) -> Option<usize> {
        Run::of(messages).map(|run| run.messages().len())
    }

    #[test]
    fn a_run_has_one_topic_and_keeps_its_bounds() {
        let many: Vec<_> = (0..Run::MESSAGES + 1).map(|_| routed("a", 1)).collect();
        assert_eq!(length(&many), Some(Run::MESSAGES));
        assert_eq!(length(&[]), None);
        assert_eq!(length(&many[..1]), None, "one message goes alone");
        assert_eq!(length(&[routed("a", 1), routed("b", 1), routed("a", 1)]), None);
        assert_eq!(length(&[routed("a", 1), routed("a", 1), routed("b", 1)]), Some(2));
        let third = Run::BYTES / 3;
        assert_eq!(length(&[routed("a", third), routed("a", third), routed("a", third)]), Some(2));
        assert_eq!(length(&[routed("a", Run::BYTES), routed("a", 1)]), None);
    }

    #[test]
    fn what_expires_goes_alone() {
        let mut meta = vec![1];
        weir_contract::packed::put_u64(&mut meta, weir_contract::packed::tag::EXPIRES_US, 7);
        let message = Message { topic: "a".into(), meta: meta.into(), payload: Bytes::new() };
        let expiring = Arc::new(Routed::new(message, None));
        assert_eq!(length(&[Arc::clone(&expiring), expiring]), None);
    }

    #[test]
    fn frames_are_encoded_once_for_all_readers() {
        let run = Run::of(&[routed("a", 1), routed("a", 2)]).unwrap();
        let encoded = std::cell::Cell::new(0);
        let append = |routed: &Routed, out: &mut Vec<u8>| {
            encoded.set(encoded.get() + 1);
            out.extend_from_slice(&routed.message.payload);
        };
        assert_eq!(run.native_frames(0, append), run.native_frames(0, append));
        assert_eq!((&run.native_frames(0, append)[..], encoded.get()), (&b"xxx"[..], 2));
    }
}

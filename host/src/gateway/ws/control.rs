//! Pongs on their way from the reader to the writer.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Pong frames that may wait. More are left out: RFC 6455 section 5.5.3 lets a peer that is pinged
/// faster than it answers leave out all but the latest, and a peer that is this far ahead is flooding.
const BYTES: usize = 2 * 1024;

/// Bytes of whole control frames, to be sent between data frames.
#[derive(Debug, Default)]
pub(super) struct Control {
    frames: Mutex<Vec<u8>>,
    ready: Notify,
}

impl Control {
    /// Adds a frame.
    pub(super) fn push(&self, frame: &[u8]) {
        let mut frames = self.frames.lock();
        if frames.len() + frame.len() <= BYTES {
            frames.extend_from_slice(frame);
            drop(frames);
            self.ready.notify_one();
        }
    }

    /// Takes all that waits, if anything does.
    pub(super) fn take(&self) -> Option<Bytes> {
        let mut frames = self.frames.lock();
        (!frames.is_empty()).then(|| std::mem::take(&mut *frames).into())
    }

    /// Waits until something may be there.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }
}

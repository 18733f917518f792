//! What the reader, the writer and the outstanding answers of one connection share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use super::control::Control;
use crate::config::Limits;
use crate::metrics::GatewayMetrics;
use crate::session::Session;

/// One open WebSocket.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Arc<Session>,
    pub(super) metrics: Arc<GatewayMetrics>,
    pub(super) control: Control,
    /// Answers that are still to come.
    expected: AtomicUsize,
    /// An answer has come, or the writer has taken what waited.
    progress: Notify,
    /// Answers, expected and waiting, beyond which nothing more is read.
    most_answers: usize,
    most_bytes: usize,
}

impl Connection {
    pub(crate) fn new(session: Arc<Session>, metrics: Arc<GatewayMetrics>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            session,
            metrics,
            control: Control::default(),
            expected: AtomicUsize::new(0),
            progress: Notify::new(),
            // Answers that all come at once (the log was flushed) must fit into the session's queue, or a
            // client that did nothing wrong would be cut off as a slow reader. The other half is for
            // deliveries.
            most_answers: (limits.queue_messages / 2).max(1),
            most_bytes: limits.queue_bytes / 2,
        })
    }

    /// The session.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Counts an answer that will come.
    pub(crate) fn expect(self: &Arc<Self>) -> Expected {
        self.expected.fetch_add(1, Ordering::Relaxed);
        Expected(Arc::clone(self))
    }

    /// So many messages may be taken without asking for [`room`](Self::room): all that may be answered then fits.
    pub(crate) fn most_together(&self) -> usize {
        (self.most_answers / 2).max(1)
    }

    /// Waits until another answer would find room. At once, if the connection is closing.
    pub(super) async fn room(&self) {
        loop {
            // Messages that may be lost make room for answers; a reader that cannot follow them must still be
            // heard, for it may want to unsubscribe.
            let (waiting, bytes) = self.session.outbound.firm_backlog();
            let answers = self.expected.load(Ordering::Acquire) + waiting;
            if (answers < self.most_answers && bytes <= self.most_bytes) || self.session.outbound.is_closed()
            {
                return;
            }
            self.progress.notified().await;
        }
    }

    /// Waits until all answers have come.
    pub(super) async fn settled(&self) {
        while self.expected.load(Ordering::Acquire) > 0 {
            self.progress.notified().await;
        }
    }

    /// Tells whoever waits in `room` or `settled`, one of which the reading half may do, to look again.
    pub(super) fn progressed(&self) {
        self.progress.notify_one();
    }
}

/// An answer that is to come: dropping it counts as having come.
#[derive(Debug)]
pub(crate) struct Expected(Arc<Connection>);

impl Expected {
    /// Enqueues the answer, a complete frame.
    pub(crate) fn answer(&self, frame: Bytes) {
        self.0.session.outbound.push_control(frame);
    }

    /// Ends the session after what waits has been written.
    pub(crate) fn end(&self, reason: &str) {
        self.0.session.outbound.close(1008, reason);
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        // Whoever waits for room has many of them, or waits for the writer, or for the last one.
        let before = self.0.expected.fetch_sub(1, Ordering::Release);
        if before == 1 || before >= self.0.most_answers / 2 {
            self.0.progressed();
        }
    }
}

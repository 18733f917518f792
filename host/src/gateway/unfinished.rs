//! Messages and packets that have come in part: what they hold in memory, over all connections, and how long they may take.
//!
//! One that fits into the read buffer is never counted, and one that is there at once starts no clock.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tokio::time::Sleep;

use crate::config::Limits;
use crate::metrics::GatewayMetrics;

/// What one connection holds of a message whose end is still to come.
pub(in crate::gateway) struct Unfinished {
    metrics: Arc<GatewayMetrics>,
    /// Bytes that are counted for this connection.
    held: u64,
    /// Bytes that all connections may hold together.
    most: u64,
    /// None: nothing is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    limit: Duration,
    refused: bool,
}

impl Unfinished {
    pub(in crate::gateway) fn new(metrics: Arc<GatewayMetrics>, limits: &Limits) -> Self {
        let most = u64::try_from(limits.unfinished_bytes).unwrap_or(u64::MAX);
        Self { metrics, held: 0, most, timer: None, limit: limits.message, refused: false }
    }

    /// Counts the connection for so many bytes, if it was for fewer. False: all connections together hold too much.
    pub(in crate::gateway) fn grow(&mut self, held: u64) -> bool {
        let more = held.saturating_sub(self.held);
        if more == 0 {
            return true;
        }
        self.held += more;
        let before = u64::try_from(self.metrics.unfinished.inc_by(signed(more))).unwrap_or(0);
        self.refused = before.saturating_add(more) > self.most;
        !self.refused
    }

    /// Whether the rest has not come in time. Else the task is woken when it is late.
    pub(in crate::gateway) fn late(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// The message is there.
    pub(in crate::gateway) fn end(&mut self) {
        self.timer = None;
        self.release();
    }

    /// Close code of a WebSocket, and reason, for who was refused.
    pub(in crate::gateway) fn refusal(&self) -> Option<(u16, String)> {
        self.refused.then(|| {
            self.metrics.unfinished_over.inc();
            (1013, "too many messages have come in part: try again later".to_owned())
        })
    }

    /// The same for who is late.
    pub(in crate::gateway) fn lateness(&self) -> (u16, String) {
        self.metrics.unfinished_late.inc();
        (1008, format!("the rest of a message did not come within {:?}", self.limit))
    }

    fn release(&mut self) {
        if self.held > 0 {
            self.metrics.unfinished.dec_by(signed(self.held));
            self.held = 0;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.release();
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

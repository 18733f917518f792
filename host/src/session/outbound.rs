//! The bounded queue between the router and one connection's writer.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::message::Routed;

/// Bounds of one session's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// Messages and answers that may wait.
    pub messages: usize,
    /// Payload, topic and metadata bytes that may wait.
    pub bytes: usize,
}

/// What waits for the connection's writer.
#[derive(Debug)]
pub enum Item {
    /// A message for one of the session's subscriptions.
    Message(Arc<Routed>),
    /// An answer or event in the gateway's own encoding.
    Control(Bytes),
    /// Nothing comes after this. WebSocket close code (RFC 6455 section 7.4) and reason.
    Close(u16, String),
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the writer.
    Queued,
    /// The queue was full: the session is being closed (policy `disconnect`).
    Overflowed,
    /// The session was closed before.
    Closed,
}

/// Bytes counted for an item beside its content.
const ITEM_BYTES: usize = 64;

/// The queue. Pushing never waits.
#[derive(Debug)]
pub struct Outbound {
    limits: OutboundLimits,
    queue: Mutex<Queue>,
    ready: Notify,
    /// The writer has taken something, or the session was closed.
    taken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
    overflowed: bool,
}

impl Outbound {
    /// An empty queue.
    pub fn new(limits: OutboundLimits) -> Self {
        Self { limits, queue: Mutex::default(), ready: Notify::new(), taken: Notify::new() }
    }

    /// Enqueues a message.
    pub fn push_message(&self, routed: &Arc<Routed>) -> Pushed {
        self.push(routed.message.size(), || Item::Message(Arc::clone(routed)))
    }

    /// Enqueues an answer or event.
    pub fn push_control(&self, frame: Bytes) -> Pushed {
        self.push(frame.len(), || Item::Control(frame))
    }

    fn push(&self, size: usize, item: impl FnOnce() -> Item) -> Pushed {
        let size = size + ITEM_BYTES;
        let mut queue = self.queue.lock();
        if queue.closed {
            return Pushed::Closed;
        }
        // A message larger than the whole bound still goes to a reader that has nothing else waiting.
        let full = queue.items.len() >= self.limits.messages
            || (queue.bytes + size > self.limits.bytes && !queue.items.is_empty());
        if full {
            queue.items.clear();
            queue.bytes = 0;
            queue.closed = true;
            queue.overflowed = true;
            let reason = format!(
                "slow reader: more than {} messages or {} bytes waited",
                self.limits.messages, self.limits.bytes
            );
            queue.items.push_back(Item::Close(1008, reason));
            drop(queue);
            self.ready.notify_one();
            self.taken.notify_waiters();
            return Pushed::Overflowed;
        }
        queue.bytes += size;
        queue.items.push_back(item());
        let first = queue.items.len() == 1;
        drop(queue);
        // The writer takes all that waits at once, so only the first item after that must wake it.
        if first {
            self.ready.notify_one();
        }
        Pushed::Queued
    }

    /// Closes the session after what waits now has been written. Later pushes answer `Closed`.
    pub fn close(&self, code: u16, reason: impl Into<String>) {
        let mut queue = self.queue.lock();
        if !queue.closed {
            queue.closed = true;
            queue.items.push_back(Item::Close(code, reason.into()));
            drop(queue);
            self.ready.notify_one();
            self.taken.notify_waiters();
        }
    }

    /// Whether a close was asked for.
    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    /// Whether it was cut off because it read too slowly.
    pub fn has_overflowed(&self) -> bool {
        self.queue.lock().overflowed
    }

    /// Items and bytes that wait.
    pub fn backlog(&self) -> (usize, usize) {
        let queue = self.queue.lock();
        (queue.items.len(), queue.bytes)
    }

    /// Waits until something is there and swaps it into `into`, which should be empty. One caller at a time.
    pub async fn take(&self, into: &mut VecDeque<Item>) {
        loop {
            if self.try_take(into) {
                return;
            }
            self.ready.notified().await;
        }
    }

    /// As `take`, without waiting. False: nothing was there.
    pub fn try_take(&self, into: &mut VecDeque<Item>) -> bool {
        let mut queue = self.queue.lock();
        if queue.items.is_empty() {
            return false;
        }
        queue.bytes = 0;
        std::mem::swap(&mut queue.items, into);
        drop(queue);
        self.taken.notify_waiters();
        true
    }

    /// Whether less than a quarter of the bounds is taken up, or the session was closed.
    pub fn has_room(&self) -> bool {
        let queue = self.queue.lock();
        queue.closed
            || (queue.items.len() <= self.limits.messages / 4 && queue.bytes <= self.limits.bytes / 4)
    }

    /// Waits until [`has_room`](Self::has_room): for those who have more to send than the queue holds, as a replay
    /// of a log does. Any number may wait; what they push then must be far less than the rest of the bounds.
    pub async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }
}

//! The bounded queue between the router and one connection's writer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::gap::Gap;
use super::queue::Queue;
use crate::config::Overflow;
use crate::message::{Routed, Run, now_us};
use crate::metrics::GatewayMetrics;

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
    /// Messages that should stand here were lost.
    Gap(Box<Gap>),
    /// Nothing comes after this. WebSocket close code (RFC 6455 section 7.4) and reason.
    Close(u16, String),
}

/// The same, where messages that came together go out together.
#[derive(Debug)]
pub enum Load {
    /// One of them.
    One(Item),
    /// Messages for one of the session's subscriptions.
    Run(Arc<Run>),
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits for the writer.
    Queued,
    /// The queue was full and the message is lost; the reader will be told of the gap.
    Lost,
    /// The queue was full: the session is being closed (policy `disconnect`).
    Overflowed,
    /// The session was closed before.
    Closed,
}

/// What a session's queue holds and has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages and answers that wait.
    pub items: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Messages that the writer took and that had not expired.
    pub delivered: u64,
    /// Messages left out because they had expired.
    pub expired: u64,
    /// Messages lost, in the order of [`Overflow::LOSING`].
    pub lost: [u64; 3],
}

/// The queue. Pushing never waits.
#[derive(Debug)]
pub struct Outbound {
    limits: OutboundLimits,
    queue: Mutex<Queue>,
    expired: AtomicU64,
    ready: Notify,
    /// The writer has taken something, or the session was closed.
    taken: Notify,
}

impl Outbound {
    /// An empty queue.
    pub fn new(limits: OutboundLimits) -> Self {
        Self {
            limits,
            queue: Mutex::new(Queue::new(limits)),
            expired: AtomicU64::new(0),
            ready: Notify::new(),
            taken: Notify::new(),
        }
    }

    /// Counts what is lost, too, and the cut.
    pub(super) fn count_in(&self, metrics: Arc<GatewayMetrics>) {
        self.queue.lock().count_in(metrics);
    }

    /// Enqueues a message, whose topic has this policy.
    pub fn push_message(&self, routed: &Arc<Routed>, overflow: Overflow) -> Pushed {
        self.push(|queue| queue.push_message(routed, overflow))
    }

    /// Enqueues messages of a topic whose policy this is; those that have no room meet it one by one. True: the writer
    /// is to be woken by [`wake`](Self::wake), which is left to the caller.
    pub fn push_run(&self, run: &Arc<Run>, overflow: Overflow) -> bool {
        let mut queue = self.queue.lock();
        let idle = queue.is_empty();
        let whole = if overflow == Overflow::Disconnect { queue.push_run(run) } else { None };
        let pushed = whole.unwrap_or_else(|| {
            let mut pushed = run.messages().iter().map(|routed| queue.push_message(routed, overflow));
            pushed.find(|pushed| *pushed == Pushed::Overflowed).unwrap_or(Pushed::Queued)
        });
        drop(queue);
        if pushed == Pushed::Overflowed {
            self.wake_all();
        }
        idle && pushed == Pushed::Queued
    }

    /// Wakes the writer.
    pub fn wake(&self) {
        self.ready.notify_one();
    }

    /// Nothing goes out until this is taken back by [`release`](Self::release); what is pushed waits in its order. For
    /// gateways that show nothing before it is on the disk. See [`Session::hold`](super::Session::hold).
    pub(super) fn hold(&self) {
        self.queue.lock().hold();
    }

    /// Takes one `hold` back.
    pub(super) fn release(&self) {
        self.queue.lock().release();
        self.ready.notify_one();
    }

    /// Enqueues an answer or event.
    pub fn push_control(&self, frame: Bytes) -> Pushed {
        self.push(|queue| queue.push_control(frame))
    }

    fn push(&self, push: impl FnOnce(&mut Queue) -> Pushed) -> Pushed {
        let mut queue = self.queue.lock();
        let idle = queue.is_empty();
        let pushed = push(&mut queue);
        drop(queue);
        // The writer takes until nothing is left, so only the first item after that must wake it.
        if idle && pushed == Pushed::Queued {
            self.ready.notify_one();
        }
        if pushed == Pushed::Overflowed {
            self.wake_all();
        }
        pushed
    }

    /// Closes the session after what waits now has been written. Later pushes answer `Closed`.
    pub fn close(&self, code: u16, reason: impl Into<String>) {
        if self.queue.lock().close(code, reason.into()) {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        self.ready.notify_one();
        self.taken.notify_waiters();
    }

    /// Whether a close was asked for.
    pub fn is_closed(&self) -> bool {
        self.queue.lock().is_closed()
    }

    /// Waits until a close is asked for.
    pub async fn closed(&self) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            // Registered before looking, so that no close falls between.
            taken.as_mut().enable();
            if self.is_closed() {
                return;
            }
            taken.await;
        }
    }

    /// Whether it was cut off because it read too slowly.
    pub fn has_overflowed(&self) -> bool {
        self.queue.lock().has_overflowed()
    }

    /// What waits, and what became of the rest.
    pub fn backlog(&self) -> Backlog {
        let queue = self.queue.lock();
        let (waiting, taken, lost) = (queue.waiting(), queue.taken(), queue.lost());
        drop(queue);
        let expired = self.expired.load(Ordering::Relaxed);
        let delivered = taken.saturating_sub(expired);
        Backlog { items: waiting.items, bytes: waiting.bytes, delivered, expired, lost }
    }

    /// Items and bytes that wait and must not be lost: answers, and messages under `disconnect`.
    pub fn firm_backlog(&self) -> (usize, usize) {
        let firm = self.queue.lock().firm();
        (firm.items, firm.bytes)
    }

    /// Whether a message that was taken has expired, and is to be left out; it is counted if so.
    pub fn expires(&self, routed: &Routed) -> bool {
        let expired = routed.expires_us.is_some_and(|at| at <= now_us());
        if expired {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        expired
    }

    /// Waits until something is there and moves what goes out next into `into`, which should be empty. One caller
    /// at a time.
    pub async fn take(&self, into: &mut VecDeque<Item>) {
        while !self.try_take(into) {
            self.ready.notified().await;
        }
    }

    /// As `take`, without waiting. False: nothing was there.
    pub fn try_take(&self, into: &mut VecDeque<Item>) -> bool {
        self.hand_out(|load| match load {
            Load::One(item) => into.push_back(item),
            Load::Run(run) => into.extend(run.messages().iter().cloned().map(Item::Message)),
        })
    }

    /// As [`take`](Self::take).
    pub async fn take_loads(&self, into: &mut VecDeque<Load>) {
        while !self.try_take_loads(into) {
            self.ready.notified().await;
        }
    }

    /// As [`try_take`](Self::try_take).
    pub fn try_take_loads(&self, into: &mut VecDeque<Load>) -> bool {
        self.hand_out(|load| into.push_back(load))
    }

    fn hand_out(&self, put: impl FnMut(Load)) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_held() {
            return false;
        }
        if queue.is_empty() {
            queue.shrink();
            return false;
        }
        queue.take(put);
        drop(queue);
        self.taken.notify_waiters();
        true
    }

    /// Whether less than a quarter of the bounds is taken up, or the session was closed.
    pub fn has_room(&self) -> bool {
        self.has_room_for(0)
    }

    /// As [`room`](Self::room), for so many bytes more that leave another quarter free, or as soon as nothing waits.
    pub async fn room_for(&self, bytes: usize) {
        loop {
            let mut taken = std::pin::pin!(self.taken.notified());
            // Registered before looking, so that nothing that is taken falls between.
            taken.as_mut().enable();
            if self.has_room_for(bytes) {
                return;
            }
            taken.await;
        }
    }

    /// Whether [`room_for`](Self::room_for) would not wait.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let queue = self.queue.lock();
        let waiting = queue.waiting();
        let few = waiting.items <= self.limits.messages / 4 && waiting.bytes <= self.limits.bytes / 4;
        let fits = waiting.bytes + bytes <= self.limits.bytes / 4 * 3;
        queue.is_closed() || waiting.items == 0 || (few && fits)
    }

    /// Waits until [`has_room`](Self::has_room): for those who have more to send than the queue holds, as a replay
    /// of a log does. Any number may wait; what they push then must be far less than the rest of the bounds.
    pub async fn room(&self) {
        self.room_for(0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_long_as_somebody_holds_it_nothing_goes_out() {
        let outbound = Arc::new(Outbound::new(OutboundLimits { messages: 8, bytes: 1 << 20 }));
        outbound.hold();
        outbound.hold();
        outbound.push_control(Bytes::from_static(b"1"));
        outbound.push_control(Bytes::from_static(b"2"));
        let mut items = VecDeque::new();
        assert!(!outbound.try_take(&mut items));
        outbound.release();
        assert!(!outbound.try_take(&mut items), "one holds it still");
        let waiting = tokio::spawn({
            let outbound = Arc::clone(&outbound);
            async move {
                outbound.take(&mut items).await;
                items
            }
        });
        outbound.close(1011, "");
        outbound.release();
        let items = waiting.await.unwrap();
        let all: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
        assert_eq!(all, ["Control(b\"1\")", "Control(b\"2\")", "Close(1011, \"\")"], "in order, to the end");
    }
}

//! What subscriptions begin with: retained messages, and what is read from logs for those that begin in the past,
//! with a hand-over to the live stream without a gap and without a double.
//!
//! ```text
//! read up to the durable mark → close the gate at the seam → read up to the seam, once it is on the disk → open the gate: live
//! ```
//!
//! What is read or retained waits for room in the session's queue, so it never overflows, however much that is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, TryStreamExt};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::message::{Routed, Stored, now_us};
use crate::router::Router;
use crate::sequencer::{Replay, Sequencer};
use crate::session::{Gated, Notice, Overflow, Pushed, Sent, Session, Subscription};
use crate::store::{Log, ReadPage, Store};

/// Messages and bytes of one page of a log.
const PAGE: (usize, usize) = (256, 256 * 1024);
/// Pages that are read at once, for all sessions together.
const READS: usize = 8;
/// Logs that one session reads at once.
const LOGS: usize = 4;
/// Offsets before the seam at which the gate is closed: what is published while they are read fits into it.
const NEAR: u64 = 512;
/// Pause after a log could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// What replays need.
pub(super) struct Replays {
    sequencer: Arc<Sequencer>,
    router: Arc<Router>,
    store: Store,
    reads: Semaphore,
    tasks: TaskTracker,
    stopping: CancellationToken,
}

/// Why a replay ends before it has caught up: the session or the subscription has ended, or the router stops.
struct Ended;

impl Replays {
    pub(super) fn new(sequencer: Arc<Sequencer>, router: Arc<Router>, store: Store) -> Arc<Self> {
        let (tasks, stopping) = (TaskTracker::new(), CancellationToken::new());
        Arc::new(Self { sequencer, router, store, reads: Semaphore::new(READS), tasks, stopping })
    }

    /// Begins once `go` is dropped, that is when the session has been answered.
    pub(super) fn start(self: &Arc<Self>, session: &Arc<Session>, replay: Replay) -> oneshot::Sender<()> {
        let (go, gone) = oneshot::channel();
        let (replays, session) = (Arc::clone(self), Arc::clone(session));
        self.tasks.spawn(async move {
            let ended = replay.subscription.ended().cloned().unwrap_or_default();
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                () = replays.stopping.cancelled() => {}
                () = replays.run(&session, &replay, gone) => {}
            }
        });
        go
    }

    /// Ends all, and waits until they have.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run(&self, session: &Session, replay: &Replay, go: oneshot::Receiver<()>) {
        // Never sent, only dropped.
        let _ = go.await;
        if replay.retained {
            self.send_retained(session, &replay.subscription).await;
        }
        if replay.starts.is_empty() && !replay.announced {
            return;
        }
        let _turn = session.replaying.lock().await;
        let subscription = &replay.subscription;
        let logs = replay.starts.iter().filter_map(|(at, start)| Some((self.store.logs().get(*at)?, *start)));
        let read = stream::iter(logs.map(Ok)).try_for_each_concurrent(LOGS, async |(log, start)| {
            Reading { replays: self, session, subscription, log }.run(start).await
        });
        let all = read.await;
        subscription.unless_ended(|| {
            if all.is_ok() {
                self.router.readers_changed();
                if replay.announced {
                    session.notify(Notice::CaughtUp { pattern: subscription.pattern().as_str() });
                }
            } else {
                // Nothing, if that is why; else nobody would know that there is no more to come.
                session.outbound.close(1011, "a replay has failed");
            }
        });
    }

    async fn send_retained(&self, session: &Session, subscription: &Subscription) {
        let mut bytes = 0;
        loop {
            session.outbound.room_for(bytes).await;
            bytes = match subscription.send_retained(&session.outbound) {
                Sent::All => break,
                Sent::Full(bytes) => bytes,
                Sent::Some => 0,
            };
            tokio::task::yield_now().await;
        }
        self.router.readers_changed();
        subscription.unless_ended(|| session.notify(Notice::RetainedSent));
    }
}

/// One log of a replay.
struct Reading<'a> {
    replays: &'a Replays,
    session: &'a Session,
    subscription: &'a Arc<Subscription>,
    log: &'a Log,
}

impl Reading<'_> {
    /// Until the log is live.
    async fn run(&self, start: u64) -> Result<(), Ended> {
        let at = self.log.index();
        let mut next = start;
        loop {
            next = self.read(next, u64::MAX).await?;
            let joined = self.replays.sequencer.in_lane(at, |seam| {
                if seam <= next {
                    self.subscription.go_live(at);
                } else if seam - next <= NEAR {
                    self.subscription.close_gate(at);
                }
                seam
            });
            let seam = joined.ok_or(Ended)?;
            if seam <= next {
                return Ok(());
            }
            self.durable(seam).await?;
            if seam - next > NEAR {
                continue;
            }
            self.read(next, seam).await?;
            match self.open_gate().await? {
                None => return Ok(()),
                Some(full_at) => next = full_at,
            }
        }
    }

    /// Delivers what is on the disk from `next` on and before `until`. Returns the first offset not looked at.
    async fn read(&self, mut next: u64, until: u64) -> Result<u64, Ended> {
        while next < until {
            let page = self.page(next).await?;
            for gone in page.missed.iter().chain(&page.damaged) {
                self.tell_missing(gone.start.max(next), gone.end.min(until));
            }
            let others = self.session.others(self.subscription);
            for stored in page.messages {
                if stored.place.offset < until {
                    self.deliver(stored, &others).await?;
                }
            }
            next = page.next.max(next);
            if page.end {
                break;
            }
        }
        Ok(next)
    }

    async fn page(&self, from: u64) -> Result<ReadPage, Ended> {
        loop {
            let permit = self.replays.reads.acquire().await.map_err(|_| Ended)?;
            let (log, subscription) = (self.log.clone(), Arc::clone(self.subscription));
            let read = tokio::task::spawn_blocking(move || {
                log.read(from, &|topic| subscription.pattern().matches(topic), PAGE.0, PAGE.1)
            });
            match read.await.map_err(|_| Ended)? {
                Ok(page) => return Ok(page),
                Err(error) => tracing::warn!(log = %self.log.name(), %error, "a replay waits for the store"),
            }
            drop(permit);
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn deliver(&self, stored: Stored, others: &[Arc<Subscription>]) -> Result<(), Ended> {
        let (message, place) = (stored.message, stored.place);
        let elsewhere =
            |other: &Arc<Subscription>| other.covers(self.log.index(), &message.topic, place.offset);
        let expired = message.expires_us().is_some_and(|at| at <= now_us());
        if expired || others.iter().any(elsewhere) {
            return Ok(());
        }
        self.push(&Arc::new(Routed::new(message, Some(place)))).await
    }

    async fn push(&self, routed: &Arc<Routed>) -> Result<(), Ended> {
        self.session.outbound.room_for(routed.message.size()).await;
        let push = || self.session.outbound.push_message(routed, Overflow::Disconnect);
        match self.subscription.unless_ended(push) {
            Some(Pushed::Queued) => Ok(()),
            Some(Pushed::Lost | Pushed::Overflowed | Pushed::Closed) | None => Err(Ended),
        }
    }

    fn tell_missing(&self, from: u64, end: u64) {
        if from < end {
            let (epoch, log) = (self.log.epoch_of(from), self.log.name());
            let notice = Notice::Missing { log, epoch, from, to: end - 1 };
            self.subscription.unless_ended(|| self.session.notify(notice));
        }
    }

    /// Waits until what is before `seam` is on the disk, and sees to it that it gets there.
    async fn durable(&self, seam: u64) -> Result<(), Ended> {
        let mut mark = self.log.durable_watch();
        if *mark.borrow_and_update() < seam {
            // Refused by a store that is broken: it moves the mark itself when it works again.
            drop(self.replays.store.writer().submit(|queue| queue.on_durable(Box::new(drop))));
        }
        mark.wait_for(|mark| *mark >= seam).await.map(drop).map_err(|_| Ended)
    }

    /// Delivers what the gate holds. None: the log is live. Else reading goes on at this offset.
    async fn open_gate(&self) -> Result<Option<u64>, Ended> {
        loop {
            match self.subscription.open_gate(self.log.index()) {
                Gated::Next(routed) => self.push(&routed).await?,
                Gated::Live => return Ok(None),
                Gated::Full(at) => return Ok(Some(at)),
            }
        }
    }
}

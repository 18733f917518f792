//! The task of a consumer that has members: it reads the logs, and hands each message to one of them. What is
//! to be delivered again comes before what is new.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use tokio::sync::watch;

use super::consumer::{Consumer, State};
use super::{PAGE, PAGE_BYTES, Registry};
use crate::message::{Mark, Routed, Stored, now_us};
use crate::session::{Overflow, Pushed, Session};
use crate::store::{ReadPage, StoreError};

/// Pause after a read that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The task.
pub(super) struct Pump {
    registry: Arc<Registry>,
    consumer: Arc<Consumer>,
    /// To which windows the rest belongs.
    generation: Option<u64>,
    /// Read, to be delivered again: the log's place in the consumer, and the message.
    again: VecDeque<(usize, Stored)>,
    /// Read, to be delivered for the first time.
    fresh: VecDeque<Found>,
    /// Per log, how far it was read.
    scanned: Vec<u64>,
    marks: Vec<watch::Receiver<u64>>,
    /// The log that was read last.
    turn: usize,
}

/// What reading has found, in the order of a log.
enum Found {
    Message(usize, Stored),
    /// All that there is below this offset stands before it.
    End(usize, u64),
}

/// What is to be done next.
enum Step {
    /// Nobody reads any more.
    End,
    Read(Read),
    /// Wait for something to happen, and wake at this time at the latest.
    Rest {
        until: Option<Instant>,
        /// Members whose queues are full.
        crowded: Vec<Arc<Session>>,
        /// New messages would find room.
        hungry: bool,
    },
}

#[derive(Clone, Copy)]
struct Read {
    /// The log's place in the consumer.
    at: usize,
    from: u64,
    again: bool,
}

impl Pump {
    pub(super) fn new(registry: Arc<Registry>, consumer: Arc<Consumer>) -> Self {
        let marks = consumer.logs.iter().map(crate::store::Log::durable_watch).collect();
        let (again, fresh, scanned) = (VecDeque::new(), VecDeque::new(), Vec::new());
        Self { registry, consumer, generation: None, again, fresh, scanned, marks, turn: 0 }
    }

    /// Delivers until nobody reads any more, or the router stops.
    pub(super) async fn run(mut self) {
        let closing = self.registry.closing.clone();
        loop {
            match self.step() {
                Step::End => return,
                Step::Read(read) => self.read(read).await,
                Step::Rest { until, crowded, hungry } => {
                    tokio::select! {
                        () = closing.cancelled() => {}
                        () = self.consumer.wake.notified() => {}
                        () = at(until) => {}
                        () = some_room(&crowded) => {}
                        () = more(&mut self.marks), if hungry => {}
                    }
                }
            }
        }
    }

    /// Delivers what can be, without waiting.
    fn step(&mut self) -> Step {
        let consumer = Arc::clone(&self.consumer);
        let mut state = consumer.state.lock();
        if state.gone || state.members.is_empty() || self.registry.closing.is_cancelled() {
            state.pumping = false;
            return Step::End;
        }
        if self.generation != Some(state.generation) {
            self.generation = Some(state.generation);
            self.again.clear();
            self.fresh.clear();
            self.scanned = state.windows.iter().map(|window| window.next()).collect();
        }
        let now = Instant::now();
        state.windows.iter_mut().for_each(|window| window.expire(now));
        state.trim(&consumer);
        state.tell_gaps(&consumer);
        let room = self.deliver_again(&mut state, now) && self.deliver_fresh(&mut state, now);
        if state.keeping.changes != state.keeping.submitted {
            self.registry.note_change(&consumer, &mut state);
        }
        if state.members.is_empty() {
            state.pumping = false;
            return Step::End;
        }
        if room && let Some(read) = self.next_read(&state) {
            return Step::Read(read);
        }
        let crowded = state.members.iter().map(|member| Arc::clone(&member.session));
        let crowded = if room { Vec::new() } else { crowded.collect() };
        Step::Rest { until: state.earliest(), crowded, hungry: room && !state.is_full() }
    }

    /// False: no member has room.
    fn deliver_again(&mut self, state: &mut State, now: Instant) -> bool {
        while let Some((at, stored)) = self.again.front() {
            let (at, offset) = (*at, stored.place.offset);
            let due = state.windows.get(at).is_some_and(|window| window.is_due(offset));
            if due && is_expired(stored) && !self.consumer.is_of_gateway() {
                state.windows.get_mut(at).map(|window| window.ack(offset));
                state.keeping.changes += 1;
            } else if due && !self.hand(state, at, stored, now) {
                return false;
            }
            self.again.pop_front();
        }
        true
    }

    /// False: no member has room.
    fn deliver_fresh(&mut self, state: &mut State, now: Instant) -> bool {
        while let Some(found) = self.fresh.front() {
            match found {
                Found::End(at, next) => pass(state, *at, *next),
                Found::Message(at, stored) => {
                    let (at, offset) = (*at, stored.place.offset);
                    let wanted = state.windows.get(at).is_some_and(|window| window.wants(offset));
                    if wanted && is_expired(stored) {
                        pass(state, at, offset + 1);
                    } else if wanted {
                        if state.is_full() {
                            return true;
                        }
                        if !self.hand(state, at, stored, now) {
                            return false;
                        }
                    }
                }
            }
            self.fresh.pop_front();
        }
        true
    }

    /// Puts a message into the queue of the member whose turn it is. False: none has room.
    fn hand(&self, state: &mut State, at: usize, stored: &Stored, now: Instant) -> bool {
        let consumer = &self.consumer;
        while let Some((number, session)) = state.next_member() {
            let until = now + state.options.ack_wait;
            let Some(window) = state.windows.get_mut(at) else { return true };
            let delivery = window.deliver(stored.place.offset, number, until);
            let mark = Mark::Consumer {
                name: Arc::clone(&consumer.key.name),
                shared: consumer.is_shared(),
                delivery,
            };
            let routed = Routed::marked(stored.message.clone(), Some(stored.place.clone()), mark);
            state.keeping.changes += 1;
            // It waits for the acknowledgement, so no policy of its topic may lose it.
            if session.outbound.push_message(&Arc::new(routed), Overflow::Disconnect) == Pushed::Queued {
                consumer.metrics.delivered.inc();
                if delivery > 1 {
                    consumer.metrics.redelivered.inc();
                    state.redelivered += 1;
                }
                return true;
            }
            // The session is closing: somebody else gets it.
            self.registry.part(consumer, state, &session.id);
        }
        false
    }

    fn next_read(&mut self, state: &State) -> Option<Read> {
        if !self.again.is_empty() {
            return None;
        }
        let due = state.windows.iter().enumerate().find_map(|(at, window)| Some((at, window.first_due(0)?)));
        if let Some((at, from)) = due {
            return Some(Read { at, from, again: true });
        }
        if !self.fresh.is_empty() || state.is_full() {
            return None;
        }
        let count = self.consumer.logs.len();
        for step in 1..=count {
            let at = (self.turn + step) % count;
            let (Some(log), Some(from)) = (self.consumer.logs.get(at), self.scanned.get(at).copied()) else {
                continue;
            };
            if from < log.durable() {
                self.turn = at;
                return Some(Read { at, from, again: false });
            }
        }
        None
    }

    async fn read(&mut self, read: Read) {
        let Some(log) = self.consumer.logs.get(read.at).cloned() else { return };
        let (consumer, from) = (Arc::clone(&self.consumer), read.from);
        let Ok(turn) = self.registry.reads.acquire().await else { return };
        let page = tokio::task::spawn_blocking(move || {
            log.read(from, &|topic| consumer.pattern.matches(topic), PAGE, PAGE_BYTES)
        });
        let page = page.await;
        drop(turn);
        match page {
            Ok(Ok(page)) => self.take(&read, page),
            Ok(Err(error)) => self.pause(&error).await,
            // The runtime is going.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }

    async fn pause(&self, error: &StoreError) {
        let (name, id) = (&self.consumer.key.name, &self.consumer.id);
        tracing::warn!(consumer = %name, %id, %error, "a log cannot be read for a consumer");
        tokio::select! {
            () = self.registry.closing.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }

    fn take(&mut self, read: &Read, page: ReadPage) {
        let consumer = Arc::clone(&self.consumer);
        let mut state = consumer.state.lock();
        if self.generation != Some(state.generation) {
            return;
        }
        let at = read.at;
        if read.again {
            self.take_again(&mut state, read, page);
            return;
        }
        // What retention took is noted by `trim`.
        for damaged in page.damaged {
            state.lose(&consumer, at, damaged);
        }
        if let Some(scanned) = self.scanned.get_mut(at) {
            *scanned = page.next;
        }
        self.fresh.extend(page.messages.into_iter().map(|stored| Found::Message(at, stored)));
        self.fresh.push_back(Found::End(at, page.next));
    }

    fn take_again(&mut self, state: &mut State, read: &Read, page: ReadPage) {
        let Some(window) = state.windows.get_mut(read.at) else { return };
        let mut found = Vec::new();
        for stored in page.messages {
            if window.is_due(stored.place.offset) {
                found.push(stored.place.offset);
                self.again.push_back((read.at, stored));
            }
        }
        // Those that should have been there are lost, else they would be looked for again and again.
        let mut lost = Vec::new();
        let mut due = window.first_due(read.from);
        while let Some(offset) = due.filter(|offset| *offset < page.next) {
            if found.binary_search(&offset).is_err() {
                window.ack(offset);
                lost.push(offset);
            }
            due = window.first_due(offset + 1);
        }
        for offset in lost {
            state.lose(&self.consumer, read.at, offset..offset + 1);
        }
    }
}

/// Nothing below `next` is to be delivered any more.
fn pass(state: &mut State, at: usize, next: u64) {
    if let Some(window) = state.windows.get_mut(at)
        && window.next() < next
    {
        window.pass(next);
        state.keeping.changes += 1;
    }
}

fn is_expired(stored: &Stored) -> bool {
    stored.message.expires_us().is_some_and(|at| at <= now_us())
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Until one of them has room; for ever, if there is none.
async fn some_room(sessions: &[Arc<Session>]) {
    if sessions.is_empty() {
        return std::future::pending().await;
    }
    select_all(sessions.iter().map(|session| Box::pin(session.outbound.room()))).await;
}

/// Until one of the logs has more on the disk.
async fn more(marks: &mut [watch::Receiver<u64>]) {
    if marks.is_empty() {
        return std::future::pending().await;
    }
    // The sender lives as long as the log, which the consumer holds.
    let _ = select_all(marks.iter_mut().map(|mark| Box::pin(mark.changed()))).await;
}

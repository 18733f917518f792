//! One consumer: its windows, its members, and who gets the next message.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_contract::topic::Pattern;

use super::ack::Saved;
use super::record::{LogRecord, Record};
use super::window::Window;
use super::{Key, Options};
use crate::message::now_us;
use crate::metrics::DurableMetrics;
use crate::session::{Notice, Session};
use crate::store::Log;

/// A named reader of logs.
pub(super) struct Consumer {
    /// Letters and digits, never reused: its key on the disk, and its name for operators.
    pub(super) id: Arc<str>,
    pub(super) key: Key,
    pub(super) maker: Arc<str>,
    pub(super) pattern: Pattern,
    /// In the order of the windows.
    pub(super) logs: Vec<Log>,
    /// Where it stood in logs that are not configured at present.
    pub(super) elsewhere: BTreeMap<String, LogRecord>,
    pub(super) metrics: DurableMetrics,
    pub(super) state: Mutex<State>,
    /// Something happened that the pump may wait for.
    pub(super) wake: Notify,
}

/// What changes.
pub(super) struct State {
    pub(super) options: Options,
    pub(super) windows: Vec<Window>,
    /// Per log: missed, and nobody was there to be told.
    pub(super) gaps: Vec<Option<Range<u64>>>,
    pub(super) members: Vec<Member>,
    members_so_far: u64,
    turn: usize,
    /// Rises when the windows are moved: what was read ahead is void.
    pub(super) generation: u64,
    /// Whether a task delivers.
    pub(super) pumping: bool,
    /// Deleted.
    pub(super) gone: bool,
    /// When somebody last read, Unix microseconds.
    pub(super) active_us: u64,
    pub(super) redelivered: u64,
    pub(super) missed: u64,
    pub(super) keeping: Keeping,
}

/// How far the disk is behind.
#[derive(Default)]
pub(super) struct Keeping {
    /// Counts changes; what is on its way to the disk is as of `submitted`.
    pub(super) changes: u64,
    pub(super) submitted: u64,
    /// It is in the registry's list of those that changed.
    pub(super) listed: bool,
    /// Where the windows stood in what was submitted: the logs are held from there.
    pub(super) cursors: Vec<u64>,
    /// A record whose flush is awaited is on its way.
    pub(super) saving: bool,
    /// Acknowledgements that want to hear of the next one.
    pub(super) waiting: Vec<(u64, Saved)>,
}

/// A session that reads.
pub(super) struct Member {
    pub(super) number: u64,
    pub(super) session: Arc<Session>,
}

/// Where and how it begins.
pub(super) struct Begin {
    pub(super) options: Options,
    pub(super) windows: Vec<Window>,
    pub(super) gaps: Vec<Option<Range<u64>>>,
    pub(super) active_us: u64,
    pub(super) redelivered: u64,
    pub(super) missed: u64,
}

impl State {
    pub(super) fn new(begin: Begin) -> Self {
        let cursors = begin.windows.iter().map(Window::cursor).collect();
        Self {
            options: begin.options,
            windows: begin.windows,
            gaps: begin.gaps,
            members: Vec::new(),
            members_so_far: 0,
            turn: 0,
            generation: 0,
            pumping: false,
            gone: false,
            active_us: begin.active_us,
            redelivered: begin.redelivered,
            missed: begin.missed,
            keeping: Keeping { cursors, ..Keeping::default() },
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.windows.iter().map(Window::in_flight).sum()
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight() >= self.options.max_in_flight
    }

    pub(super) fn join(&mut self, session: &Arc<Session>) {
        self.members_so_far += 1;
        self.members.push(Member { number: self.members_so_far, session: Arc::clone(session) });
    }

    /// Takes a member away; what it has is to be delivered again. None: it was not there.
    pub(super) fn part(&mut self, session: &str) -> Option<Member> {
        let at = self.members.iter().position(|member| &*member.session.id == session)?;
        let member = self.members.swap_remove(at);
        self.windows.iter_mut().for_each(|window| window.release(member.number));
        self.active_us = now_us();
        Some(member)
    }

    /// Whose turn it is: of those that have room, the one that has least in flight, so that whoever does not
    /// acknowledge gets no more than the others leave it.
    pub(super) fn next_member(&mut self) -> Option<(u64, Arc<Session>)> {
        let count = self.members.len();
        let mut best: Option<(usize, usize)> = None;
        for step in 1..=count {
            let at = (self.turn + step) % count;
            let Some(member) = self.members.get(at) else { continue };
            let held = self.windows.iter().map(|window| window.held_by(member.number)).sum();
            if best.is_none_or(|(least, _)| held < least) && member.session.outbound.has_room() {
                best = Some((held, at));
            }
        }
        let (_, at) = best?;
        self.turn = at;
        self.members.get(at).map(|member| (member.number, Arc::clone(&member.session)))
    }

    /// When the next message in flight will have to be delivered again.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.windows.iter().filter_map(Window::earliest).min()
    }

    /// Notes what a log does not have any more.
    pub(super) fn lose(&mut self, consumer: &Consumer, at: usize, lost: Range<u64>) {
        let Some((gap, log)) = self.gaps.get_mut(at).zip(consumer.logs.get(at)) else { return };
        let count = lost.end.saturating_sub(lost.start);
        self.missed += count;
        consumer.metrics.missed.inc_by(count);
        let (name, from, to) = (&consumer.key.name, lost.start, lost.end.saturating_sub(1));
        tracing::warn!(consumer = %name, id = %consumer.id, log = %log.name(), from, to, "a consumer misses messages: the log does not have them any more");
        *gap = Some(match gap.take() {
            Some(gap) => gap.start.min(lost.start)..gap.end.max(lost.end),
            None => lost,
        });
        self.keeping.changes += 1;
    }

    /// Moves the windows over what retention has taken.
    pub(super) fn trim(&mut self, consumer: &Consumer) {
        for (at, log) in consumer.logs.iter().enumerate() {
            let lost = self.windows.get_mut(at).and_then(|window| window.trim(log.oldest()));
            if let Some(lost) = lost {
                self.lose(consumer, at, lost);
            }
        }
    }

    /// Tells the members what was missed.
    pub(super) fn tell_gaps(&mut self, consumer: &Consumer) {
        if self.members.is_empty() {
            return;
        }
        for (gap, log) in self.gaps.iter_mut().zip(&consumer.logs) {
            let Some(gap) = gap.take() else { continue };
            self.keeping.changes += 1;
            let to = gap.end.saturating_sub(1);
            let notice = Notice::ConsumerGap {
                name: &consumer.key.name,
                shared: consumer.is_shared(),
                log: log.name(),
                epoch: log.epoch_of(to),
                from: gap.start,
                to,
            };
            self.members.iter().for_each(|member| member.session.notify(notice));
        }
    }
}

impl Consumer {
    pub(super) fn is_shared(&self) -> bool {
        self.key.owner.is_none()
    }

    /// Whether it reads for a session of a gateway, which sees itself to it that nothing is begun that has expired.
    pub(super) fn is_of_gateway(&self) -> bool {
        !self.is_shared() && self.key.name.starts_with('$')
    }

    /// What is written to the disk.
    pub(super) fn record(&self, state: &State) -> Record {
        let mut logs = self.elsewhere.clone();
        for ((log, window), gap) in self.logs.iter().zip(&state.windows).zip(&state.gaps) {
            logs.insert(log.name().to_string(), LogRecord::of(log, window, gap.as_ref()));
        }
        Record {
            tenant: self.key.tenant.to_string(),
            owner: self.key.owner.as_ref().map(ToString::to_string),
            name: self.key.name.to_string(),
            maker: self.maker.to_string(),
            pattern: self.pattern.to_string(),
            ack_wait_ms: milliseconds(state.options.ack_wait),
            max_in_flight: state.options.max_in_flight,
            expires_after_ms: milliseconds(state.options.expires_after),
            active_us: if state.members.is_empty() { state.active_us } else { now_us() },
            redelivered: state.redelivered,
            missed: state.missed,
            logs,
        }
    }

    /// Says to a session that it does not read any more.
    pub(super) fn dismiss(&self, session: &Session, reason: &str) {
        let (name, shared, pattern) = (&*self.key.name, self.is_shared(), self.pattern.as_str());
        session.notify(Notice::ConsumerEnded { name, shared, pattern, reason });
    }

    /// The name under which it holds the logs.
    pub(super) fn hold(&self) -> String {
        format!("consumer {}", self.id)
    }

    /// Keeps what is not acknowledged from retention; none lets go.
    pub(super) fn set_holds(&self, cursors: Option<&[u64]>) {
        let hold = self.hold();
        for (at, log) in self.logs.iter().enumerate() {
            log.set_hold(&hold, cursors.and_then(|cursors| cursors.get(at).copied()));
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! Pages of what logs keep: of several logs merged by time, each in its own order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{HistoryPage, HistoryRequest, Ingress, invalid, parse_pattern};
use crate::message::{Outcome, Places, Since, Stored, now_us};
use crate::sequencer::{before_of, first_of};
use crate::session::Session;
use crate::store::{Log, StoreError};
use weir_contract::topic::Pattern;

/// Messages of one page.
const PAGE: usize = 1_000;
/// Bytes of one page.
const PAGE_BYTES: usize = 1024 * 1024;
/// What is read at once of each of several logs: messages and bytes, at least.
const CHUNK: (usize, usize) = (16, 16 * 1024);

impl Ingress {
    /// A page of one log or several, once the session's auth plugin has allowed the pattern.
    pub async fn history(
        &self,
        session: &Arc<Session>,
        request: HistoryRequest,
    ) -> Result<HistoryPage, Outcome> {
        self.authorize(session, "history", &request.pattern).await?;
        if !(1..=PAGE).contains(&request.limit) {
            return Err(invalid(format!("limit {}: 1 to {PAGE} are accepted", request.limit)));
        }
        let pattern = parse_pattern(&request.pattern)?;
        let logs = self.logs(&request, &pattern)?;
        let read = tokio::task::spawn_blocking(move || Merge::new(&logs, &pattern, &request).page()).await;
        read.map_err(|_| Outcome::ShuttingDown)?
            .map_err(|error| Outcome::Unavailable { reason: error.to_string() })
    }

    fn logs(&self, request: &HistoryRequest, pattern: &Pattern) -> Result<Vec<Log>, Outcome> {
        let (store, sequencer) = (&self.0.parts.store, &self.0.parts.sequencer);
        sequencer.check_names(Some(&request.since))?;
        match &request.log {
            Some(name) => Ok(vec![store.log(name).ok_or_else(|| sequencer.no_log(name))?.clone()]),
            None => {
                let meets = sequencer.logs_of(pattern);
                Ok(meets.into_iter().filter_map(|at| store.logs().get(at).cloned()).collect())
            }
        }
    }
}

/// Several logs being read as one.
struct Merge<'a> {
    parts: Vec<Part<'a>>,
    oldest: Places,
    limit: usize,
    reverse: bool,
}

/// One of them.
struct Part<'a> {
    log: &'a Log,
    pattern: &'a Pattern,
    /// Forwards the next offset to be looked at, backwards the one before which to go on.
    at: u64,
    /// Read, and not yet taken.
    waiting: VecDeque<Stored>,
    end: bool,
}

impl<'a> Merge<'a> {
    fn new(logs: &'a [Log], pattern: &'a Pattern, request: &HistoryRequest) -> Self {
        let mut oldest = Places::default();
        let mut part = |log: &'a Log| {
            let at = match (&request.since, request.reverse) {
                (since, true) => before_of(log, since, &mut oldest).min(log.durable()),
                (Since::Now, false) => log.durable(),
                (since, false) => first_of(log, since, &mut oldest),
            };
            Part { log, pattern, at, waiting: VecDeque::new(), end: false }
        };
        let parts = logs.iter().map(&mut part).collect();
        Self { parts, oldest, limit: request.limit, reverse: request.reverse }
    }

    /// Reads until the page is full or all logs end: one read of the store looks at a bounded part of a log.
    fn page(mut self) -> Result<HistoryPage, StoreError> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        while messages.len() < self.limit {
            self.fill(self.limit - messages.len())?;
            let Some(part) = self.next() else { break };
            let size = part.waiting.front().map_or(0, |stored| stored.message.size());
            if bytes + size > PAGE_BYTES && !messages.is_empty() {
                break;
            }
            bytes += size;
            messages.extend(part.waiting.pop_front());
        }
        let more = self.parts.iter().any(|part| !part.end || !part.waiting.is_empty());
        let mut next = Places::default();
        for part in &self.parts {
            if let Some((epoch, offset)) = part.place(self.reverse) {
                next.saw(part.log.name(), epoch, offset);
            }
        }
        Ok(HistoryPage { messages, next, more, recovered: self.oldest.0.is_empty(), oldest: self.oldest })
    }

    /// Sees to it that every log has a message waiting, or has ended.
    fn fill(&mut self, room: usize) -> Result<(), StoreError> {
        let share = self.parts.len().max(1);
        let most = (room.div_ceil(share).max(CHUNK.0).min(room), (PAGE_BYTES / share).max(CHUNK.1));
        for part in &mut self.parts {
            while part.waiting.is_empty() && !part.end {
                part.read(most, self.reverse, &mut self.oldest)?;
            }
        }
        Ok(())
    }

    /// The log whose message comes next: of those that wait, each its log's first, the oldest, or backwards the
    /// newest.
    fn next(&mut self) -> Option<&mut Part<'a>> {
        let reverse = self.reverse;
        let waiting = self.parts.iter_mut().filter_map(|part| {
            let time = part.waiting.front()?.message.received_us();
            Some((if reverse { u64::MAX - time } else { time }, part))
        });
        waiting.min_by_key(|(time, _)| *time).map(|(_, part)| part)
    }
}

impl Part<'_> {
    fn read(&mut self, most: (usize, usize), reverse: bool, oldest: &mut Places) -> Result<(), StoreError> {
        let wanted = |topic: &str| self.pattern.matches(topic);
        let page = if reverse {
            self.log.read_reverse(self.at, &wanted, most.0, most.1)?
        } else {
            self.log.read(self.at, &wanted, most.0, most.1)?
        };
        let first = self.log.oldest();
        if page.missed.is_some() || (reverse && self.at < first) {
            oldest.saw(self.log.name(), self.log.epoch_of(first), first);
        }
        let now = now_us();
        let fresh = |stored: &Stored| stored.message.expires_us().is_none_or(|at| at > now);
        self.waiting = page.messages.into_iter().filter(fresh).collect();
        (self.at, self.end) = (page.next, page.end);
        Ok(())
    }

    /// What `since` must be for the next page; none: as it was for this one.
    fn place(&self, reverse: bool) -> Option<(u64, u64)> {
        let untaken = self.waiting.front().map(|stored| stored.place.offset);
        if !reverse {
            return self.log.place_before(untaken.unwrap_or(self.at));
        }
        // Where nothing has ever been, the next page begins with what has come by then.
        let before = untaken.map_or(self.at, |offset| offset + 1);
        (self.log.durable() > 0).then(|| (self.log.epoch_of(before), before))
    }
}

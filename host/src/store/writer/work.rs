//! The writer's thread: what it does with each queue, and how it comes back after an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::database::SharedDatabase;
use super::super::error::{Incidents, StoreError};
use super::super::log::Appender;
use super::super::queue::{Batch, OnDurable, StateWrite, StateWrites};
use super::super::space;
use super::super::witness;
use super::{Shared, Taken, WriterParts};
use crate::message::now_us;

/// How often the storage plugins' database is flushed when they have stopped writing.
const TICK: Duration = Duration::from_secs(1);

/// Retention looks every so many ticks, and whenever a segment was sealed.
const RETAIN_TICKS: u32 = 5;

/// Pauses between attempts to come back after an error: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The thread's own things.
pub(super) struct Worker {
    shared: Arc<Shared>,
    appenders: Vec<Appender>,
    state: SharedDatabase,
    storage: SharedDatabase,
    incidents: Arc<Incidents>,
    dir: PathBuf,
    flush_every: Duration,
    free_floor_bytes: u64,
    /// State writes whose records are not flushed yet.
    pending: StateWrites,
    waiters: Vec<OnDurable>,
    unflushed_since: Option<Instant>,
    tick_at: Instant,
    ticks: u32,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, parts: WriterParts) -> Self {
        Self {
            shared,
            appenders: parts.appenders,
            state: parts.state,
            storage: parts.storage,
            incidents: parts.incidents,
            dir: parts.dir,
            flush_every: parts.flush_every,
            free_floor_bytes: parts.free_floor_bytes,
            pending: StateWrites::new(),
            waiters: Vec::new(),
            unflushed_since: None,
            tick_at: Instant::now() + TICK,
            ticks: 0,
        }
    }

    /// Works until the writer is closed.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        let mut spare = Batch::default();
        while let Some(mut taken) = self.shared.next(self.due(), self.flush_every, spare) {
            let result = self.guarded(|worker| worker.step(&mut taken));
            taken.batch.clear();
            self.shared.done(&taken);
            spare = taken.batch;
            if let Err(error) = result
                && !self.come_back(&error)
            {
                return Err(error);
            }
        }
        let result = self.guarded(Self::finish);
        if let Err(error) = &result {
            self.answer(Err(error.clone()));
        }
        result
    }

    /// Runs `work`; a panic (sled has assertions) is an error like any other.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        catch_unwind(AssertUnwindSafe(|| work(self)))
            .unwrap_or_else(|_| Err(StoreError::Io { path: dir, reason: "the database panicked".into() }))
    }

    fn due(&self) -> Instant {
        let flush = self.unflushed_since.map(|since| since + self.flush_every);
        flush.map_or(self.tick_at, |flush| flush.min(self.tick_at))
    }

    fn step(&mut self, taken: &mut Taken) -> Result<(), StoreError> {
        let batch = &mut taken.batch;
        if !batch.is_empty() {
            self.unflushed_since.get_or_insert(taken.since);
        }
        // First, so that they are answered whatever fails below.
        self.waiters.append(&mut batch.waiters);
        self.gather(batch.state.drain(..));
        if !batch.records.is_empty() {
            self.check_room()?;
        }
        for entry in &batch.records {
            if let Some(appender) = self.appenders.get_mut(entry.log) {
                appender.push(entry.offset, &entry.message)?;
            }
        }
        let flush_due = self.unflushed_since.is_some_and(|since| since.elapsed() >= self.flush_every);
        if flush_due || !self.waiters.is_empty() {
            self.flush()?;
        }
        self.tick()
    }

    /// Keeps the last write for each key: a counter that moves with every message is written once a flush.
    fn gather(&mut self, writes: impl Iterator<Item = StateWrite>) {
        for StateWrite { space, key, value } in writes {
            self.pending.entry(space).or_default().insert(key, value);
        }
    }

    /// Logs first, then the state that their messages made, then answers.
    fn flush(&mut self) -> Result<(), StoreError> {
        for appender in &mut self.appenders {
            appender.flush()?;
        }
        if !self.pending.is_empty() {
            for (name, writes) in &self.pending {
                space::write_state(&self.state, name, writes)?;
            }
            self.state.sync()?;
            self.pending.clear();
        }
        self.unflushed_since = None;
        for appender in &self.appenders {
            if appender.log().durable() != appender.next() {
                appender.log().set_durable(appender.next());
            }
        }
        self.answer(Ok(()));
        Ok(())
    }

    fn answer(&mut self, result: Result<(), StoreError>) {
        for done in self.waiters.drain(..) {
            done(result.clone());
        }
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        let ticked = Instant::now() >= self.tick_at;
        if ticked {
            self.tick_at = Instant::now() + TICK;
            self.ticks += 1;
            // Its owners hear of errors when they commit; the logs can go on without it.
            if let Err(error) = self.storage.sync_if_due(Duration::ZERO) {
                tracing::error!(%error, "cannot flush the storage plugins' database");
            }
            self.mend();
        }
        let now = now_us();
        let all = ticked && self.ticks.is_multiple_of(RETAIN_TICKS);
        for appender in &mut self.appenders {
            if all {
                appender.roll_if_due(now)?;
            }
            if (appender.take_rolled() || all)
                && let Err(error) = appender.log().maintain(now, false)
            {
                // What cannot be deleted costs room, and nothing else yet.
                tracing::error!(log = %appender.log().name(), %error, "retention cannot delete");
            }
        }
        Ok(())
    }

    /// Opens databases again that failed when others used them: they stay broken until then.
    fn mend(&self) {
        for database in [&self.state, &self.storage] {
            if database.has_failed()
                && self.check_room().is_ok()
                && let Err(error) = database.reopen_or_set_aside(&self.incidents)
            {
                tracing::error!(%error, "a database is still unavailable");
            }
        }
    }

    /// Refuses to write to a disk that is nearly full: sled does not survive one that is.
    fn check_room(&self) -> Result<(), StoreError> {
        let disk = rustix::fs::statvfs(&self.dir)
            .map_err(|error| StoreError::io(&self.dir, &std::io::Error::from(error)))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.free_floor_bytes {
            return Err(StoreError::NoRoom { path: self.dir.clone(), free, floor: self.free_floor_bytes });
        }
        Ok(())
    }

    /// Answers everybody, and tries to open everything again until it works; false when the writer is to end.
    fn come_back(&mut self, error: &StoreError) -> bool {
        self.incidents.report(format!("nothing can be stored at present: {error}"));
        let mut lost = self.shared.break_off(error);
        self.waiters.append(&mut lost.waiters);
        // State is the host's memory written down: kept, so that disk and memory agree again later.
        self.gather(lost.state.drain(..));
        self.answer(Err(error.clone()));
        let mut backoff = BACKOFF.0;
        while self.shared.pause(backoff) {
            backoff = (backoff * 2).min(BACKOFF.1);
            match self.guarded(Self::reopen) {
                Ok(()) => {
                    self.incidents.report("the store works again; a new epoch has begun".into());
                    return true;
                }
                Err(error) => tracing::warn!(%error, "the store is still unavailable"),
            }
        }
        false
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        for appender in &self.appenders {
            loop {
                let pressed = self.check_room().is_err();
                match appender.log().maintain(now_us(), pressed) {
                    Ok(true) if pressed => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::error!(log = %appender.log().name(), %error, "retention cannot delete");
                        break;
                    }
                }
            }
        }
        self.check_room()?;
        let nexts: Vec<u64> = self.shared.inside.lock().queue.logs.iter().map(|log| log.next).collect();
        for (appender, next) in self.appenders.iter_mut().zip(&nexts) {
            appender.recover(*next)?;
        }
        self.state.reopen_or_set_aside(&self.incidents)?;
        self.storage.reopen_or_set_aside(&self.incidents)?;
        self.unflushed_since = (!self.pending.is_empty()).then(Instant::now);
        self.shared.inside.lock().broken = None;
        // Last: who waits on a mark may submit when it moves.
        for (appender, next) in self.appenders.iter().zip(&nexts) {
            appender.log().set_durable(*next);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        for appender in &mut self.appenders {
            appender.close()?;
        }
        witness::seal(&self.storage)?;
        witness::seal(&self.state)
    }
}

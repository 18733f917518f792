//! The thread of a rebuild.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::super::progress::Progress;
use super::super::storage::{Failed, LOOK, Writer};
use super::super::{Consumer, Consumers};
use super::{Beginning, Fence, Rebuild, RebuildRefused, RebuildReport, RebuildState};
use crate::plugin::Binding;
use crate::store::{Log, StorageSpace, StoreError};

/// The storage thread stands still for so many messages without being asked whether they can be had sooner.
const NEAR: u64 = 1_024;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two looks whether the last question to the old data is answered.
const ANSWERS: Duration = Duration::from_millis(5);

struct Run {
    consumers: Arc<Consumers>,
    /// What the storage thread and queries use.
    live: Arc<ArcSwap<Binding>>,
    stored: Arc<Progress>,
    fence: Arc<Fence>,
    report: Arc<Mutex<RebuildReport>>,
    stop: Arc<AtomicBool>,
    filling: Filling,
}

/// A generation being filled by one version.
struct Filling {
    /// As the chain had it at the beginning.
    source: Arc<Binding>,
    space: Arc<StorageSpace>,
    /// The source over the space.
    binding: Arc<Binding>,
    writer: Writer,
    progress: Arc<Progress>,
    /// Those that are read, and where each begins.
    logs: Vec<Log>,
    begins: Vec<Beginning>,
    /// Where this lap leads, and how far that was when it began.
    goals: Vec<u64>,
    far: u64,
}

/// Begins to rebuild; the caller holds the consumers' lock.
pub(super) fn start(
    consumers: &Arc<Consumers>,
    consumer: &Consumer,
    partial: bool,
) -> Result<Rebuild, RebuildRefused> {
    let filling = Filling::new(consumers, &consumer.source, &consumer.space, &consumer.fence, partial)?;
    if let Some(what) = filling.gone() {
        filling.abandon(&consumer.fence);
        consumer.thread.thread().unpark();
        return Err(RebuildRefused::Gone { plugin: consumer.source.name().to_string(), what });
    }
    let report = RebuildReport::new(&filling.source.shared.version, filling.begins.clone());
    let (report, stop) = (Arc::new(Mutex::new(report)), Arc::new(AtomicBool::new(false)));
    let run = Run {
        consumers: Arc::clone(consumers),
        live: Arc::clone(&consumer.binding),
        stored: Arc::clone(&consumer.progress),
        fence: Arc::clone(&consumer.fence),
        report: Arc::clone(&report),
        stop: Arc::clone(&stop),
        filling,
    };
    run.note();
    let name = format!("rebuild-{}", consumer.source.name());
    let thread = std::thread::Builder::new().name(name).spawn(move || run.run())?;
    Ok(Rebuild { report, stop, thread })
}

impl Run {
    fn run(mut self) {
        let (plugin, version) = (Arc::clone(self.filling.source.name()), &self.filling.source.shared.version);
        tracing::info!(%plugin, %version, "rebuild begins");
        while !self.stop.load(Ordering::Acquire) {
            match self.round() {
                Ok(true) => {
                    tracing::info!(%plugin, "rebuilt data is live");
                    return;
                }
                Ok(false) => {}
                Err(Failed::Gone(what)) => return self.end(Some(what)),
                Err(error) => self.rest(&error),
            }
        }
        self.end(None);
    }

    /// The data stays as it was.
    fn end(&self, error: Option<String>) {
        self.abandon();
        let (plugin, why) = (self.filling.source.name(), error.as_deref().unwrap_or("it was asked to end"));
        tracing::warn!(%plugin, why, "rebuild stopped: the data stays as it was");
        let mut report = self.report.lock();
        report.end(RebuildState::Stopped);
        report.error = error;
    }

    /// A batch of each log. True: the new data is live.
    fn round(&mut self) -> Result<bool, Failed> {
        if !self.is_current() {
            self.begin_again()?;
        }
        let worked = self.filling.writer.step()?;
        self.note();
        if self.filling.is_lap_done() && self.filling.is_time_to_switch()? {
            return self.switch();
        }
        if !worked {
            std::thread::park_timeout(LOOK);
        }
        Ok(false)
    }

    /// Whether the version that is being used is still the one that the chain has.
    fn is_current(&self) -> bool {
        let running = self.consumers.running.lock();
        let consumer = running.get(self.filling.source.name());
        consumer.is_none_or(|consumer| Arc::ptr_eq(&consumer.source, &self.filling.source))
    }

    /// Another version, or another configuration, would make other data: all of it shall be of one.
    fn begin_again(&mut self) -> Result<(), Failed> {
        let (source, space) = {
            let running = self.consumers.running.lock();
            let Some(consumer) = running.get(self.filling.source.name()) else { return Ok(()) };
            (Arc::clone(&consumer.source), Arc::clone(&consumer.space))
        };
        self.abandon();
        let partial = self.filling.writer.partial;
        self.filling = Filling::new(&self.consumers, &source, &space, &self.fence, partial)?;
        if let Some(what) = self.filling.gone() {
            return Err(Failed::Gone(format!("begun again with another version, but {what}")));
        }
        let (plugin, version) = (source.name(), &source.shared.version);
        tracing::info!(%plugin, %version, "rebuild begins again, with the version that is live now");
        *self.report.lock() = RebuildReport::new(version, self.filling.begins.clone());
        Ok(())
    }

    /// The last stretch, for which the storage thread stands still. True: the new data is live. False: there is a
    /// newer version.
    fn switch(&mut self) -> Result<bool, Failed> {
        let fence = Arc::clone(&self.fence);
        let turn = fence.turn.lock();
        while self.filling.distance()? > 0 {
            if self.stop.load(Ordering::Acquire) {
                return Ok(false);
            }
            self.filling.writer.step()?;
            self.note();
        }
        self.filling.space.flush()?;
        let old = {
            let mut running = self.consumers.running.lock();
            let consumer = running.get_mut(self.filling.source.name());
            let Some(consumer) = consumer.filter(|c| Arc::ptr_eq(&c.source, &self.filling.source)) else {
                return Ok(false);
            };
            self.filling.space.go_live()?;
            consumer.space = Arc::clone(&self.filling.space);
            self.live.swap(Arc::clone(&self.filling.binding))
        };
        self.stored.follow(&self.filling.progress);
        *self.fence.building.lock() = None;
        drop(turn);
        self.filling.writer.let_go();
        self.consumers.wake();
        self.retire(old);
        self.report.lock().end(RebuildState::Done);
        Ok(true)
    }

    /// The old data is deleted when the last question to it is answered: each holds the binding.
    fn retire(&self, old: Arc<Binding>) {
        while Arc::strong_count(&old) > 1 && !self.stop.load(Ordering::Acquire) {
            std::thread::park_timeout(ANSWERS);
        }
        if Arc::strong_count(&old) == 1 {
            self.litter();
        }
    }

    fn abandon(&self) {
        self.filling.abandon(&self.fence);
        self.consumers.wake();
    }

    fn litter(&self) {
        self.fence.litter.store(true, Ordering::Release);
        self.consumers.wake();
    }

    /// Waits after a failure, unless there is a new version that may do better.
    fn rest(&self, error: &Failed) {
        let (plugin, version) = (self.filling.source.name(), &self.filling.source.shared.version);
        tracing::error!(%plugin, %version, %error, "rebuild stands still");
        self.report.lock().error = Some(error.to_string());
        let until = Instant::now() + PAUSE;
        while Instant::now() < until && !self.stop.load(Ordering::Acquire) && self.is_current() {
            std::thread::park_timeout(LOOK);
        }
    }

    /// Writes down how far it is.
    fn note(&self) {
        // An error comes up again in the next round.
        let Ok(ends) = self.filling.ends() else { return };
        let (mut done, mut of) = (0, 0);
        for ((log, begin), end) in self.filling.logs.iter().zip(&self.filling.begins).zip(ends) {
            done += self.filling.progress.next(log.name()).saturating_sub(begin.offset);
            of += end.saturating_sub(begin.offset);
        }
        let mut report = self.report.lock();
        (report.done, report.of) = (done.min(of), of);
    }
}

impl Filling {
    /// A generation with nothing in it.
    fn new(
        consumers: &Arc<Consumers>,
        source: &Arc<Binding>,
        live: &StorageSpace,
        fence: &Fence,
        partial: bool,
    ) -> Result<Self, StoreError> {
        let logs = logs_of(consumers, source, live)?;
        // From here on the storage thread does not take the new generation for a dead one.
        let mut building = fence.building.lock();
        let space = Arc::new(live.next_generation()?);
        *building = Some(space.generation());
        drop(building);
        let binding = source.over(&space);
        let current = Arc::new(ArcSwap::new(Arc::clone(&binding)));
        let holder = format!("{}@rebuild", source.name());
        let mut writer = Writer::new(consumers, current, holder, logs.clone(), true);
        (writer.partial, writer.ahead) = (partial, Some(live.clone()));
        let progress = Arc::clone(writer.progress());
        writer.hold();
        let looked = || -> Result<_, StoreError> {
            let begins = logs.iter().map(Beginning::of).collect::<Result<Vec<_>, _>>()?;
            Ok((begins, logs.iter().map(|log| writer.end(log)).collect::<Result<Vec<_>, _>>()?))
        };
        let (begins, goals) = looked().inspect_err(|_| {
            writer.let_go();
            *fence.building.lock() = None;
        })?;
        Ok(Self {
            source: Arc::clone(source),
            space,
            binding,
            writer,
            progress,
            logs,
            begins,
            goals,
            far: u64::MAX,
        })
    }

    /// Why it would not make all of the data anew, unless that is wanted. Asked after its logs are held.
    fn gone(&self) -> Option<String> {
        let of = |log: &Log| {
            let most = log.oldest();
            (most > 0).then(|| format!("log {} no longer has its first {most} messages", log.name()))
        };
        let gone: Vec<_> = self.logs.iter().filter_map(of).collect();
        (!self.writer.partial && !gone.is_empty()).then(|| gone.join(", "))
    }

    fn abandon(&self, fence: &Fence) {
        self.writer.let_go();
        *fence.building.lock() = None;
        fence.litter.store(true, Ordering::Release);
    }

    /// How far the data that serves has come.
    fn ends(&self) -> Result<Vec<u64>, StoreError> {
        self.logs.iter().map(|log| self.writer.end(log)).collect()
    }

    fn distance(&self) -> Result<u64, StoreError> {
        let ends = self.ends()?;
        let logs = self.logs.iter().zip(ends);
        Ok(logs.map(|(log, end)| end.saturating_sub(self.progress.next(log.name()))).sum())
    }

    fn is_lap_done(&self) -> bool {
        let logs = self.logs.iter().zip(&self.goals);
        logs.into_iter().all(|(log, goal)| self.progress.next(log.name()) >= *goal)
    }

    /// Each lap leads to where the storage thread was when it began. While it runs, messages come in; as long as they become
    /// fewer from lap to lap, there is another one, so that the storage thread need not stand still for many.
    fn is_time_to_switch(&mut self) -> Result<bool, StoreError> {
        self.goals = self.ends()?;
        let distance = self.distance()?;
        let before = std::mem::replace(&mut self.far, distance);
        Ok(distance <= NEAR || distance > before / 2)
    }
}

/// The logs that the topics meet, and those that have been read before: what was kept there is in the data.
fn logs_of(consumers: &Consumers, source: &Binding, live: &StorageSpace) -> Result<Vec<Log>, StoreError> {
    let met = consumers.met(source);
    let mut logs = Vec::new();
    for log in consumers.store.logs() {
        if met.iter().any(|met| met.index() == log.index()) || live.cursor(log.name())?.is_some() {
            logs.push(log.clone());
        }
    }
    Ok(logs)
}

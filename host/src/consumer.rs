//! Durable readers of the logs: one thread per storage binding. It reads what is durable, in log order, and
//! commits the plugin's writes and posts together with its cursor.

mod again;
mod effects;
mod list;
mod placed;
mod progress;
mod query;
mod rebuild;
mod storage;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::dead_letters::DeadLetters;
use crate::message::{Accepted, Level};
use crate::metrics::Metrics;
use crate::outbox::Outbox;
use crate::plugin::{Binding, Chain, Instance};
use crate::sequencer::Sequencer;
use crate::store::{Cursor, Log, StorageSpace, Store, StoreError};
pub use again::NotAgain;
use progress::{Progress, Waiting};
pub use query::Unanswered;
pub use rebuild::{Beginning, RebuildRefused, RebuildReport, RebuildState, RebuildView};
use rebuild::{Fence, Rebuild};

/// All storage bindings' threads and who waits for them.
pub struct Consumers {
    store: Store,
    metrics: Arc<Metrics>,
    dead_letters: Arc<DeadLetters>,
    outbox: Arc<Outbox>,
    sequencer: Arc<Sequencer>,
    running: Mutex<BTreeMap<Arc<str>, Consumer>>,
    waiting: Mutex<Vec<Waiting>>,
}

/// One storage binding's thread, from the outside.
struct Consumer {
    /// As the chain has it; its key space may be an older generation.
    source: Arc<Binding>,
    /// The live generation.
    space: Arc<StorageSpace>,
    /// The source over the live generation: what stores and answers.
    binding: Arc<ArcSwap<Binding>>,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    idle: Arc<Mutex<Vec<Instance>>>,
    fence: Arc<Fence>,
    /// What operators want to be done again.
    again: Arc<Mutex<VecDeque<storage::Task>>>,
    /// The one under way, or the last one.
    rebuild: Option<Rebuild>,
    thread: JoinHandle<()>,
}

impl Consumers {
    /// None running yet.
    pub fn new(
        store: Store,
        metrics: Arc<Metrics>,
        dead_letters: Arc<DeadLetters>,
        outbox: Arc<Outbox>,
        sequencer: Arc<Sequencer>,
    ) -> Self {
        let (running, waiting) = (Mutex::default(), Mutex::default());
        Self { store, metrics, dead_letters, outbox, sequencer, running, waiting }
    }

    /// The logs that may keep messages for a binding.
    fn met(&self, binding: &Binding) -> Vec<Log> {
        self.sequencer.meet(&binding.spec.topics)
    }

    fn warn_of_no_log(&self, binding: &Binding) {
        if self.met(binding).is_empty() {
            tracing::warn!(plugin = %binding.name(), "its topics meet no log: it stores nothing");
        }
    }

    /// Starts, swaps and stops threads so that they are the chain's storage bindings.
    pub fn adopt(self: &Arc<Self>, chain: &Chain) {
        let mut gone = Vec::new();
        let mut running = self.running.lock();
        let wanted = |name: &Arc<str>| chain.storages.iter().any(|binding| binding.name() == name);
        let names: Vec<_> = running.keys().filter(|name| !wanted(name)).cloned().collect();
        for name in names {
            gone.extend(running.remove(&name));
        }
        for binding in &chain.storages {
            match running.get_mut(binding.name()) {
                Some(consumer) => {
                    if !Arc::ptr_eq(&consumer.source, binding) {
                        self.warn_of_no_log(binding);
                        consumer.source = Arc::clone(binding);
                        consumer.binding.store(binding.over(&consumer.space));
                    }
                    consumer.thread.thread().unpark();
                }
                None => {
                    self.warn_of_no_log(binding);
                    match storage::start(self, binding) {
                        Ok(consumer) => drop(running.insert(Arc::clone(binding.name()), consumer)),
                        Err(error) => {
                            tracing::error!(plugin = %binding.name(), %error, "storage thread cannot start");
                        }
                    }
                }
            }
        }
        drop(running);
        gone.into_iter().for_each(Consumer::end);
        self.settle();
    }

    /// After the first [`Self::adopt`]: logs are no longer held for plugins that are gone or disabled, only for those
    /// that run and those that `will_come` names, which failed to load.
    pub fn let_go(&self, will_come: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let running = self.running.lock();
        for name in self.store.storage_spaces()? {
            let Some(binding) = binding_of(&name) else { continue };
            if !running.contains_key(binding) && !will_come(binding) {
                self.store.logs().iter().for_each(|log| log.set_hold(binding, None));
            }
        }
        Ok(())
    }

    /// New messages are durable: wake everybody.
    pub fn wake(&self) {
        for consumer in self.running.lock().values() {
            consumer.thread.thread().unpark();
        }
    }

    /// Stops all threads after the batch in hand.
    pub fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        for consumer in running.values() {
            consumer.stop.store(true, Ordering::Release);
            consumer.rebuild.iter().for_each(Rebuild::stop);
        }
        running.into_values().for_each(Consumer::end);
        self.settle();
    }

    /// Calls `answer` once every storage binding whose topics match has passed the messages: with level `stored` if it
    /// has committed them, else with `logged` and the reason, as after five seconds.
    pub fn when_stored(
        &self,
        messages: Vec<Accepted>,
        answer: impl FnOnce(Vec<Accepted>, Level, Option<String>) + Send + 'static,
    ) {
        let running = self.running.lock();
        let mut wanted = Vec::new();
        for consumer in running.values() {
            let binding = consumer.binding.load();
            for message in messages.iter().filter(|message| binding.spec.takes(&message.topic)) {
                if let Some(place) = &message.place {
                    wanted.push((Arc::clone(&consumer.progress), place.clone()));
                }
            }
        }
        drop(running);
        self.waiting.lock().push(Waiting::new(messages, wanted, Box::new(answer)));
        self.settle();
    }

    /// Answers those whose wait is over.
    fn settle(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        let over: Vec<_> = waiting.extract_if(.., |waiting| waiting.is_over()).collect();
        drop(waiting);
        over.into_iter().for_each(Waiting::answer);
    }
}

impl Consumer {
    fn end(self) {
        self.stop.store(true, Ordering::Release);
        if let Some(rebuild) = self.rebuild {
            rebuild.end();
        }
        self.thread.thread().unpark();
        // A thread that panicked has said so; its cursor stands where it was.
        drop(self.thread.join());
        self.progress.end();
    }
}

/// Holds the logs for every storage plugin that ever read them: call it before retention may run, and
/// [`Consumers::let_go`] when it is known which of them are still there.
pub fn hold_all(store: &Store) -> Result<(), StoreError> {
    for name in store.storage_spaces()? {
        let Some(binding) = binding_of(&name) else { continue };
        let space = store.storage_space(&name)?;
        for log in store.logs() {
            if let Some(cursor) = space.cursor(log.name())? {
                log.set_hold(binding, Some(cursor.next));
            }
        }
    }
    Ok(())
}

/// A binding's cursor. One that is new to the log begins at its oldest message, and that is noted, since only who has a
/// cursor can be told what was missed.
fn begin(space: &StorageSpace, log: &Log) -> Result<Cursor, StoreError> {
    if let Some(cursor) = space.cursor(log.name())? {
        return Ok(cursor);
    }
    let cursor = Cursor { epoch: log.epoch(), next: log.oldest() };
    space.commit(&[], &[(log.name(), cursor)])?;
    Ok(cursor)
}

/// The binding in the name of its key space, `FILE.BINDING`; webhooks' names begin with `$`.
fn binding_of(space: &str) -> Option<&str> {
    space.split_once('.').filter(|(file, _)| !file.starts_with('$')).map(|(_, binding)| binding)
}

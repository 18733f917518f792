//! Gives accepted messages their place: offset, log and readers' queues agree, since all three happen under
//! the log's one lock. State that the pass changed is committed in the same step, or nothing is.

mod join;
mod keep;
mod plain;

pub use join::{Joined, Replay, Wanted, before_of, first_of};

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock};
use weir_contract::topic::Pattern;

use crate::message::{Accepted, Message, Outcome, Place, Routed, now_us};
use crate::metrics::LogMetrics;
use crate::plugin::space::{Change, Pairs, Space, Transaction, lock_all};
use crate::received::Received;
use crate::retained::Retained;
use crate::router::{Readers, Router};
use crate::store::{OnDurable, Queue, StateValue, Store, SubmitError};
use keep::Keeping;

/// What a pass read and wrote in one binding's state.
pub struct Effect {
    /// The binding's space.
    pub space: Arc<Space>,
    /// Its reads and writes.
    pub transaction: Transaction,
}

/// Why a pass was not committed.
#[derive(Debug)]
pub enum NotCommitted {
    /// Another shard changed what it read: run it again.
    Conflict,
    /// The log does not take it.
    Refused(Outcome),
}

/// One lane per log, and one for topics that belong to none.
pub struct Sequencer {
    store: Store,
    router: Arc<Router>,
    retained: Arc<Retained>,
    received: Arc<Received>,
    lanes: Vec<Lane>,
    unlogged: Mutex<Readers>,
    /// Held to read by every commit that touched state, to write by a pass that must run alone.
    pub alone: RwLock<()>,
}

struct Lane {
    name: Arc<str>,
    topics: Vec<Pattern>,
    readers: Mutex<Readers>,
    metrics: LogMetrics,
}

impl Sequencer {
    /// `topics` in the order of `store.logs()`.
    pub fn new(
        store: Store,
        router: Arc<Router>,
        retained: Arc<Retained>,
        received: Arc<Received>,
        topics: Vec<Vec<Pattern>>,
        metrics: impl Fn(&str) -> LogMetrics,
    ) -> Self {
        let lane = |(log, topics): (&crate::store::Log, Vec<Pattern>)| Lane {
            name: Arc::clone(log.name()),
            topics,
            readers: Mutex::default(),
            metrics: metrics(log.name()),
        };
        let lanes = store.logs().iter().zip(topics).map(lane).collect();
        Self { store, router, retained, received, lanes, unlogged: Mutex::default(), alone: RwLock::new(()) }
    }

    /// The log that a topic belongs to: the first rule that matches. The router's own topics belong to none.
    pub fn log_of(&self, topic: &str) -> Option<usize> {
        if topic.starts_with('$') {
            return None;
        }
        self.lanes.iter().position(|lane| lane.topics.iter().any(|pattern| pattern.matches(topic)))
    }

    /// The name of the log that a topic belongs to.
    pub fn log_name(&self, topic: &str) -> Option<Arc<str>> {
        self.lanes.get(self.log_of(topic)?).map(|lane| Arc::clone(&lane.name))
    }

    /// Commits a pass whose messages were all accepted: state, log and routing together.
    pub fn accept(
        &self,
        messages: Vec<Message>,
        effects: Vec<Effect>,
        on_durable: Option<OnDurable>,
    ) -> Result<Vec<Accepted>, NotCommitted> {
        let logs: Vec<Option<usize>> = messages.iter().map(|message| self.log_of(&message.topic)).collect();
        let spaces: Vec<_> = effects.iter().map(|effect| Arc::clone(&effect.space)).collect();
        let mut locked = lock_all(&spaces);
        let effects = sorted(effects);
        let unchanged = effects.iter().zip(&locked).all(|(effect, pairs)| effect.transaction.holds(pairs));
        if !unchanged {
            return Err(NotCommitted::Conflict);
        }
        let mut used: Vec<usize> = logs.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let mut lanes: Vec<_> =
            used.iter().filter_map(|at| Some((*at, self.lanes.get(*at)?.readers.lock()))).collect();
        let mut keeping = self.keeping(&messages, &logs).map_err(NotCommitted::Refused)?;
        // Else others could come between what is written and what is held.
        let mut unlogged = keeping.as_ref().is_some_and(Keeping::is_unlogged).then(|| self.unlogged.lock());
        let changes = changes(effects, &locked, true);
        let placed =
            self.submit(&messages, &logs, &changes, keeping.as_mut(), on_durable).map_err(refused)?;
        for ((_, changes), pairs) in changes.into_iter().zip(&mut locked) {
            pairs.apply(changes);
        }
        drop(locked);
        let route = |(message, place): (Message, Option<(usize, Place)>)| {
            let (lane, place) = place.unzip();
            let routed = Arc::new(Routed::new(message, place.clone()));
            let readers = lane.and_then(|lane| lanes.iter_mut().find(|(at, _)| *at == lane));
            match (readers, &mut unlogged) {
                (Some((_, readers)), _) => self.router.dispatch(readers, &routed, lane),
                (None, Some(unlogged)) => self.router.dispatch(unlogged, &routed, None),
                (None, None) => self.router.dispatch(&mut self.unlogged.lock(), &routed, None),
            };
            if keeping.is_some() {
                // After its readers have it: until then those who joined are owed what it takes the place of.
                self.keep(&routed, lane);
            }
            Accepted { topic: Arc::clone(&routed.message.topic), place, routed: Some(routed) }
        };
        Ok(messages.into_iter().zip(placed).map(route).collect())
    }

    /// Commits what the calls that stopped a message wrote. Err: run the pass again.
    pub fn commit_stopped(&self, effects: Vec<Effect>) -> Result<(), NotCommitted> {
        let spaces: Vec<_> = effects.iter().map(|effect| Arc::clone(&effect.space)).collect();
        let mut locked = lock_all(&spaces);
        let effects = sorted(effects);
        if !effects.iter().zip(&locked).all(|(effect, pairs)| effect.transaction.holds(pairs)) {
            return Err(NotCommitted::Conflict);
        }
        let changes = changes(effects, &locked, false);
        if changes.iter().any(|(_, changes)| !changes.is_empty()) {
            self.submit(&[], &[], &changes, None, None).map_err(refused)?;
            for ((_, changes), pairs) in changes.into_iter().zip(&mut locked) {
                pairs.apply(changes);
            }
        }
        Ok(())
    }

    /// One hand-over to the writer, all or nothing. Returns each message's lane and place.
    fn submit(
        &self,
        messages: &[Message],
        logs: &[Option<usize>],
        changes: &[Changes],
        keeping: Option<&mut Keeping<'_>>,
        on_durable: Option<OnDurable>,
    ) -> Result<Vec<Option<(usize, Place)>>, SubmitError> {
        let untouched = logs.iter().all(Option::is_none) && changes.iter().all(|(_, list)| list.is_empty());
        if untouched && keeping.is_none() && on_durable.is_none() {
            return Ok(vec![None; messages.len()]);
        }
        self.store.writer().submit(|queue| {
            let placed: Vec<_> =
                messages.iter().zip(logs).map(|(message, log)| self.record(queue, message, *log)).collect();
            if let Some(keeping) = keeping {
                keeping.submit(&self.retained, &self.store, queue, messages, &placed);
            }
            for (space, changes) in changes {
                for change in changes {
                    let value = change.value.as_ref().map(|value| StateValue {
                        bytes: Bytes::copy_from_slice(&value.bytes),
                        expires_us: value.expires_us,
                    });
                    queue.state(&space.name, change.key.clone(), value);
                }
            }
            if let Some(done) = on_durable {
                // Who does not wait for the log has given no identifier.
                self.receive(queue, messages, &placed);
                queue.on_durable(done);
            }
            placed
        })
    }

    fn receive(&self, queue: &mut Queue, messages: &[Message], placed: &[Option<(usize, Place)>]) {
        for (message, placed) in messages.iter().zip(placed) {
            if let Some((at, place)) = placed
                && let Some(log) = self.store.logs().get(*at)
            {
                self.received.submit(queue, message, place, log);
            }
        }
    }

    fn record(&self, queue: &mut Queue, message: &Message, log: Option<usize>) -> Option<(usize, Place)> {
        let at = log?;
        let lane = self.lanes.get(at)?;
        let (epoch, offset) = (queue.epoch(at), queue.next_offset(at));
        queue.record(at, offset, message.clone());
        lane.metrics.appended.inc();
        Some((at, Place { log: Arc::clone(&lane.name), epoch, offset }))
    }
}

type Changes = (Arc<Space>, Vec<Change>);

/// What each space is to be given: expired pairs go with whatever is written.
fn changes(effects: Vec<Effect>, locked: &[MutexGuard<'_, Pairs>], accepted: bool) -> Vec<Changes> {
    let now = now_us();
    let of = |(effect, pairs): (Effect, &MutexGuard<'_, Pairs>)| {
        let written = effect.transaction.into_changes(accepted);
        let swept = if written.is_empty() { Vec::new() } else { pairs.sweep(now) };
        (effect.space, swept.into_iter().chain(written).collect())
    };
    effects.into_iter().zip(locked).map(of).collect()
}

/// In the order in which `lock_all` locks.
fn sorted(mut effects: Vec<Effect>) -> Vec<Effect> {
    effects.sort_by_key(|effect| effect.space.rank());
    effects
}

fn refused(error: SubmitError) -> NotCommitted {
    NotCommitted::Refused(match error {
        SubmitError::Full { .. } => Outcome::Overloaded,
        SubmitError::Closed => Outcome::ShuttingDown,
        SubmitError::Broken(error) => Outcome::Unavailable { reason: error.to_string() },
        offset @ SubmitError::Offset { .. } => Outcome::Unavailable { reason: offset.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;
    use crate::store::StoreOptions;

    fn message(topic: &str) -> Message {
        Message { topic: topic.into(), meta: Bytes::from_static(&[1]), payload: Bytes::from_static(b"x") }
    }

    #[test]
    fn a_full_log_queue_takes_all_of_a_pass_or_nothing() {
        let home = tempfile::tempdir().unwrap();
        let options = StoreOptions { queue_records: 1, ..StoreOptions::default() };
        let store = Store::open(home.path(), options).unwrap();
        let topics = store.logs().iter().map(|_| vec![Pattern::parse("#").unwrap()]).collect();
        let metrics = crate::metrics::Metrics::new();
        let most = crate::retained::Most { messages: 1, bytes: 1 };
        let retained = Retained::load(store.clone(), most, metrics.retained.clone()).unwrap();
        let (received, _) = Received::open(store.clone()).unwrap();
        let sequencer =
            Sequencer::new(store.clone(), Arc::default(), retained, received, topics, |log| metrics.log(log));
        let two = sequencer.accept(vec![message("a"), message("b")], Vec::new(), None);
        assert!(matches!(two, Err(NotCommitted::Refused(Outcome::Overloaded))), "{two:?}");
        let one = sequencer.accept(vec![message("a")], Vec::new(), None).unwrap();
        assert_eq!(one[0].place.as_ref().unwrap().offset, 0, "the refused pass has taken no offset");
        store.close().unwrap();
        let late = sequencer.accept(vec![message("a")], Vec::new(), None);
        assert!(matches!(late, Err(NotCommitted::Refused(Outcome::ShuttingDown))), "{late:?}");
    }
}

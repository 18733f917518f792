//! What operators see of consumers, and what they can do about them.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::consumer::{Consumer, State};
use super::open::begin;
use super::window::Window;
use super::{Key, Refused, Registry};
use crate::message::{Places, Since};
use crate::store::Log;

/// Epochs that a refusal names.
const SHOWN_LIVES: usize = 4;

/// One consumer, as `weir consumer list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ConsumerInfo {
    /// What `reset` and `delete` want.
    pub id: Arc<str>,
    /// `consumer`, `group`, `storage` or `webhook`.
    pub kind: &'static str,
    /// The principal that it belongs to; none for the others.
    pub owner: Option<Arc<str>>,
    /// Its name.
    pub name: Arc<str>,
    /// What it reads.
    pub topics: Vec<String>,
    /// Sessions that read it now.
    pub members: Vec<Arc<str>>,
    /// Where it stands.
    pub logs: Vec<LogInfo>,
    /// Delivered, not acknowledged.
    pub in_flight: usize,
    /// Deliveries after the first, in all.
    pub redelivered: u64,
    /// Offsets that were gone before they were delivered, in all; for storage plugins and webhooks, since the
    /// router started.
    pub missed: u64,
    /// Since when nobody reads, Unix microseconds; none while somebody does.
    pub idle_since_us: Option<u64>,
}

/// Where a consumer stands in a log.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogInfo {
    /// The log.
    pub log: Arc<str>,
    /// Everything below is done with.
    pub cursor: u64,
    /// The first offset that was not read for it.
    pub next: u64,
    /// Offsets on the disk from the cursor on, whatever their topics.
    pub lag: u64,
    /// Bytes of the segments from the cursor on, which it keeps from retention.
    pub held_bytes: u64,
}

impl Registry {
    /// All of them, by name and owner.
    pub fn list(&self) -> Vec<ConsumerInfo> {
        let all: Vec<Arc<Consumer>> = self.all.read().values().cloned().collect();
        let mut all: Vec<ConsumerInfo> = all.iter().map(|consumer| info(consumer)).collect();
        all.sort_by(|a, b| (&a.name, &a.owner, &a.id).cmp(&(&b.name, &b.owner, &b.id)));
        all
    }

    /// Moves a consumer: what is in flight is forgotten, and reading goes on from there. On the disk when this
    /// is done. Places must be those of messages; logs that they do not name stay where they are.
    pub async fn reset(self: &Arc<Self>, id: &str, since: &Since) -> Result<(), Refused> {
        let consumer = self.by_id(id)?;
        if let Since::Places(places) = since {
            let reads = |log: &Arc<str>| consumer.logs.iter().any(|read| read.name() == log);
            if let Some(log) = places.0.keys().find(|log| !reads(log)) {
                return Err(Refused::Invalid(format!("the consumer does not read a log {log:?}")));
            }
            consumer.logs.iter().try_for_each(|log| check_place(log, places))?;
        }
        let (done, durable) = oneshot::channel();
        {
            let mut state = consumer.state.lock();
            let starts = self.store.writer().submit(|queue| {
                let named = |log: &Log| match since {
                    Since::Places(places) => places.0.contains_key(log.name()),
                    Since::Start | Since::Now => true,
                };
                let moved = consumer.logs.iter().enumerate().filter(|(_, log)| named(log));
                // What is missing is told as a gap.
                let start = |(at, log)| (at, begin(log, since, queue, &mut Places::default()));
                moved.map(start).collect::<Vec<_>>()
            })?;
            let State { windows, gaps, .. } = &mut *state;
            for (at, (next, missing)) in starts {
                if let Some((window, gap)) = windows.get_mut(at).zip(gaps.get_mut(at)) {
                    (*window, *gap) = (Window::new(next), missing);
                }
            }
            state.generation += 1;
            self.note_change(&consumer, &mut state);
            let saved = move |result: Result<u64, Refused>| drop(done.send(result));
            state.keeping.waiting.push((0, Box::new(saved)));
            self.save_now(&consumer, &mut state);
        }
        consumer.wake.notify_one();
        durable.await.map_err(|_| Refused::ShuttingDown)??;
        tracing::info!(consumer = %consumer.key.name, id, "a consumer was reset");
        Ok(())
    }

    /// Deletes a consumer; its readers are told.
    pub async fn remove_by_id(self: &Arc<Self>, id: &str) -> Result<(), Refused> {
        let consumer = self.by_id(id)?;
        self.delete(&consumer, "deleted by the operator").await?;
        tracing::info!(consumer = %consumer.key.name, id, "a consumer was deleted");
        Ok(())
    }

    /// Deletes a consumer of this name, behind what is written now. `owner`: none = a group, unless somebody reads it.
    pub fn remove_named(self: &Arc<Self>, tenant: &Arc<str>, owner: Option<&Arc<str>>, name: &str) {
        let key = Key { tenant: Arc::clone(tenant), owner: owner.cloned(), name: name.into() };
        let Some(consumer) = self.find(&key) else { return };
        if owner.is_some() || consumer.state.lock().members.is_empty() {
            self.forget(&consumer, "its session has ended");
        }
    }

    fn by_id(&self, id: &str) -> Result<Arc<Consumer>, Refused> {
        let found = self.all.read().values().find(|consumer| &*consumer.id == id).cloned();
        found.ok_or_else(|| Refused::Invalid(format!("no consumer has the id {id:?}")))
    }
}

/// Refuses a place that is none of the log: where reading would go on then is not what was asked for.
fn check_place(log: &Log, places: &Places) -> Result<(), Refused> {
    let Some((epoch, offset)) = places.0.get(log.name()) else { return Ok(()) };
    let given = |life: &Range<u64>| (life.start..life.end.min(log.assigned())).contains(offset);
    if log.life(*epoch).is_some_and(|life| given(&life)) {
        return Ok(());
    }
    let lives = log.epochs();
    // The latest ones: there is one for each crash.
    let shown = lives.iter().rev().take(SHOWN_LIVES).map(|(epoch, life)| {
        match life.end.min(log.assigned()).checked_sub(1) {
            Some(last) if last >= life.start => format!("{epoch}:{} to {epoch}:{last}", life.start),
            _ => format!("none of epoch {epoch}, which has no message"),
        }
    });
    let (log, shown) = (log.name(), shown.collect::<Vec<_>>().join(", "));
    Err(Refused::Invalid(format!("the log {log:?} has no place {epoch}:{offset}: accepted are {shown}")))
}

fn info(consumer: &Consumer) -> ConsumerInfo {
    let state = consumer.state.lock();
    let logs = consumer.logs.iter().zip(&state.windows).map(|(log, window)| {
        let cursor = window.cursor();
        LogInfo {
            log: Arc::clone(log.name()),
            cursor,
            next: window.next(),
            lag: log.durable().saturating_sub(cursor),
            held_bytes: log.bytes_from(cursor),
        }
    });
    ConsumerInfo {
        id: Arc::clone(&consumer.id),
        kind: if consumer.is_shared() { "group" } else { "consumer" },
        owner: consumer.key.owner.clone(),
        name: Arc::clone(&consumer.key.name),
        topics: vec![consumer.pattern.to_string()],
        members: state.members.iter().map(|member| Arc::clone(&member.session.id)).collect(),
        logs: logs.collect(),
        in_flight: state.in_flight(),
        redelivered: state.redelivered,
        missed: state.missed,
        idle_since_us: state.members.is_empty().then_some(state.active_us),
    }
}

//! The disk: when records are written, and what follows from it: holds, answers, expiry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::consumer::{Consumer, State};
use super::window::Window;
use super::{Refused, Registry};
use crate::message::now_us;
use crate::store::{OnDurable, StateValue, SubmitError};

/// The record of a consumer that is read says so at least this often.
const REFRESH: Duration = Duration::from_secs(60);

impl Registry {
    /// Sees to it that a change gets to the disk.
    pub(super) fn note_change(&self, consumer: &Arc<Consumer>, state: &mut State) {
        state.keeping.changes += 1;
        if !std::mem::replace(&mut state.keeping.listed, true) {
            self.list_changed(consumer);
        }
    }

    fn list_changed(&self, consumer: &Arc<Consumer>) {
        self.changed.lock().push(Arc::clone(consumer));
        self.behind.notify_one();
    }

    /// Until there is something for [`keep`](Self::keep) to do. One caller at a time.
    pub async fn behind(&self) {
        self.behind.notified().await;
    }

    /// Hands the records that changed to the writer. To be called while it is
    /// [`behind`](Self::behind), every [`super::KEEP_EVERY`].
    pub fn keep(self: &Arc<Self>) {
        let changed = std::mem::take(&mut *self.changed.lock());
        for consumer in changed {
            let mut state = consumer.state.lock();
            state.keeping.listed = false;
            if state.gone {
                continue;
            }
            if state.keeping.changes == state.keeping.submitted {
                // What was handed over before this round is on the disk by now, or as good as.
                consumer.set_holds(Some(&state.keeping.cursors));
                continue;
            }
            match self.submit(&consumer, &mut state, None) {
                Ok(())
                | Err(SubmitError::Full { .. } | SubmitError::Broken(_) | SubmitError::Offset { .. }) => {
                    state.keeping.listed = true;
                    self.list_changed(&consumer);
                }
                Err(SubmitError::Closed) => {}
            }
        }
    }

    fn submit(
        &self,
        consumer: &Consumer,
        state: &mut State,
        done: Option<OnDurable>,
    ) -> Result<(), SubmitError> {
        let value = serde_json::to_vec(&consumer.record(state)).unwrap_or_default();
        let value = StateValue { bytes: Bytes::from(value), expires_us: None };
        self.store.writer().submit(|queue| {
            queue.state(&self.space, consumer.id.as_bytes().to_vec(), Some(value));
            if let Some(done) = done {
                queue.on_durable(done);
            }
        })?;
        state.keeping.submitted = state.keeping.changes;
        state.keeping.cursors = state.windows.iter().map(Window::cursor).collect();
        Ok(())
    }

    /// Writes at once, for those who wait for it. While a flush is awaited, the next ones gather.
    pub(super) fn save_now(self: &Arc<Self>, consumer: &Arc<Consumer>, state: &mut State) {
        if state.keeping.saving || state.keeping.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut state.keeping.waiting);
        if state.gone {
            let gone = || Err(Refused::Invalid("the consumer was deleted".into()));
            return waiting.into_iter().for_each(|(_, saved)| saved(gone()));
        }
        // Whoever is called: the writer, or nobody because it takes nothing.
        let waiting = Arc::new(parking_lot::Mutex::new(waiting));
        let (registry, saved, told) = (Arc::clone(self), Arc::clone(consumer), Arc::clone(&waiting));
        let done = move |result: Result<(), crate::store::StoreError>| {
            for (acked, saved) in std::mem::take(&mut *told.lock()) {
                saved(match &result {
                    Ok(()) => Ok(acked),
                    Err(error) => Err(Refused::Unavailable(error.to_string())),
                });
            }
            let mut state = saved.state.lock();
            state.keeping.saving = false;
            registry.save_now(&saved, &mut state);
        };
        match self.submit(consumer, state, Some(Box::new(done))) {
            Ok(()) => state.keeping.saving = true,
            Err(error) => {
                let refused = Refused::from(error);
                for (_, saved) in std::mem::take(&mut *waiting.lock()) {
                    saved(Err(refused.clone()));
                }
            }
        }
    }

    /// Looks after consumers that nothing else looks after: those that nobody has read for too long are
    /// deleted, and what retention took is noted. To be called every second or so.
    pub fn sweep(self: &Arc<Self>) {
        let all: Vec<Arc<Consumer>> = self.all.read().values().cloned().collect();
        let now = now_us();
        for consumer in all {
            let mut state = consumer.state.lock();
            state.trim(&consumer);
            let behind = state.keeping.changes != state.keeping.submitted;
            let idle_us = now.saturating_sub(state.active_us);
            let most_us = u64::try_from(state.options.expires_after.as_micros()).unwrap_or(u64::MAX);
            if !state.members.is_empty() {
                let refresh = REFRESH.min(state.options.expires_after / 4);
                if behind || idle_us >= u64::try_from(refresh.as_micros()).unwrap_or(u64::MAX) {
                    state.active_us = now;
                    self.note_change(&consumer, &mut state);
                }
            } else if idle_us >= most_us {
                state.gone = true;
                drop(state);
                let (name, id) = (&consumer.key.name, &consumer.id);
                tracing::info!(consumer = %name, %id, idle_s = idle_us / 1_000_000, "a consumer that nobody reads is deleted");
                self.forget(&consumer, "expired");
            } else if behind {
                self.note_change(&consumer, &mut state);
            }
        }
    }

    /// Takes a consumer away from memory, and from the disk behind that.
    pub(super) fn forget(&self, consumer: &Arc<Consumer>, reason: &str) {
        self.remove(consumer, reason, None).unwrap_or_else(|error| {
            tracing::warn!(id = %consumer.id, %error, "the record of a deleted consumer stays on the disk");
        });
    }

    /// Deletes a consumer; that is on the disk when this is done.
    pub(super) async fn delete(&self, consumer: &Arc<Consumer>, reason: &str) -> Result<(), Refused> {
        let (done, durable) = oneshot::channel();
        self.remove(consumer, reason, Some(Box::new(move |result| drop(done.send(result)))))?;
        let result = durable.await.map_err(|_| Refused::ShuttingDown)?;
        result.map_err(|error| Refused::Unavailable(error.to_string()))
    }

    fn remove(
        &self,
        consumer: &Arc<Consumer>,
        reason: &str,
        done: Option<OnDurable>,
    ) -> Result<(), SubmitError> {
        {
            let mut all = self.all.write();
            if all.get(&consumer.key).is_some_and(|there| Arc::ptr_eq(there, consumer)) {
                all.remove(&consumer.key);
            }
        }
        let mut state = consumer.state.lock();
        state.gone = true;
        let members = std::mem::take(&mut state.members);
        // Under the lock, so that no record is written behind its removal.
        let submitted = self.store.writer().submit(|queue| {
            queue.state(&self.space, consumer.id.as_bytes().to_vec(), None);
            if let Some(done) = done {
                queue.on_durable(done);
            }
        });
        drop(state);
        consumer.set_holds(None);
        consumer.wake.notify_one();
        for member in members {
            self.metrics.attached.dec();
            consumer.dismiss(&member.session, reason);
            if let Some(attached) = self.sessions.lock().get_mut(&member.session.id) {
                attached.retain(|other| !Arc::ptr_eq(other, consumer));
            }
        }
        submitted
    }

    /// Ends all deliveries, and hands what is not on the disk to the writer, which must still take it.
    pub fn stop(self: &Arc<Self>) {
        self.closing.cancel();
        for consumer in self.all.read().values() {
            let mut state = consumer.state.lock();
            if state.members.is_empty() && state.keeping.changes == state.keeping.submitted {
                continue;
            }
            if let Err(error) = self.submit(consumer, &mut state, None) {
                tracing::warn!(id = %consumer.id, %error, "where a consumer stands is not written: some messages will come again");
            }
        }
    }
}

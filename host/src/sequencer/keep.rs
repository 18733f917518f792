//! What a pass retains, and what is retained no more: each under the lock of its topic's log, so that it agrees
//! with what readers of the topic have got.

use std::sync::Arc;

use super::{Readers, Sequencer};
use crate::message::{Message, Outcome, Place, Routed, now_us};
use crate::retained::{self, Draft, Reserved, Retained};
use crate::store::{OnDurable, Queue, Store, SubmitError};

/// Expired messages that are taken away in one go.
const SWEEP: usize = 1_024;

/// What the messages of a pass change.
pub(super) struct Keeping<'a> {
    /// By position in the pass.
    drafts: Vec<(usize, Draft)>,
    unlogged: bool,
    _reserved: Reserved<'a>,
}

impl Keeping<'_> {
    /// Whether a topic that belongs to no log is among them.
    pub(super) fn is_unlogged(&self) -> bool {
        self.unlogged
    }

    /// Hands it to the writer together with the messages.
    pub(super) fn submit(
        &mut self,
        retained: &Retained,
        store: &Store,
        queue: &mut Queue,
        messages: &[Message],
        placed: &[Option<(usize, Place)>],
    ) {
        for (at, draft) in self.drafts.drain(..) {
            let (Some(message), Some(place)) = (messages.get(at), placed.get(at)) else { continue };
            let of = place.as_ref().map(|(_, place)| place);
            retained.submit(queue, &message.topic, message.expires_us(), draft, of);
            if let Some(log) = place.as_ref().and_then(|(log, _)| store.logs().get(*log)) {
                retained.mark(queue, log);
            }
        }
    }
}

impl Sequencer {
    /// What these messages will change, with room for it. None: nothing. Called under the locks of their logs.
    pub(super) fn keeping(
        &self,
        messages: &[Message],
        logs: &[Option<usize>],
    ) -> Result<Option<Keeping<'_>>, Outcome> {
        let Some(reserved) = self.retained.reserve(messages)? else { return Ok(None) };
        let kept =
            messages.iter().zip(logs).enumerate().filter(|(_, (message, _))| retained::is_kept(message));
        let draft = |(at, (message, log)): (usize, (&Message, &Option<usize>))| {
            let lane = log.and_then(|at| self.lanes.get(at));
            (at, retained::draft(message, lane.map(|lane| &*lane.name)))
        };
        let unlogged = kept.clone().any(|(_, (_, log))| log.is_none());
        Ok(Some(Keeping { drafts: kept.map(draft).collect(), unlogged, _reserved: reserved }))
    }

    /// Makes a message that was accepted its topic's retained one, if it is to be.
    pub(super) fn keep(&self, routed: &Routed, log: Option<usize>) {
        if retained::is_kept(&routed.message) {
            self.retained.put(&routed.message, log.zip(routed.place.as_ref()));
        }
    }

    /// The retained messages.
    pub fn retained(&self) -> &Arc<Retained> {
        &self.retained
    }

    /// Takes a topic's retained message away; nobody is told. `done` is called when that is on the disk. False: there
    /// is none.
    pub fn forget_retained(&self, topic: &str, done: OnDurable) -> Result<bool, SubmitError> {
        self.in_lane_of(topic, |log| self.retained.remove(topic, log, |_| true, Some(done)))
    }

    /// Takes away what has expired, and lets the marks follow their logs. To be called now and then.
    pub fn tend_retained(&self) {
        let now = now_us();
        for topic in self.retained.expired(now, SWEEP) {
            let expired = |kept: &retained::Kept| kept.has_expired(now);
            if self.in_lane_of(&topic, |log| self.retained.remove(&topic, log, expired, None)).is_err() {
                // Later, when the writer takes it; until then nobody is sent it.
                break;
            }
        }
        self.retained.follow(false);
    }

    fn in_lane_of<R>(&self, topic: &str, work: impl FnOnce(Option<usize>) -> R) -> R {
        let log = self.log_of(topic);
        let lane = log.and_then(|at| self.lanes.get(at)).map_or(&self.unlogged, |lane| &lane.readers);
        let _readers: parking_lot::MutexGuard<'_, Readers> = lane.lock();
        work(log)
    }
}

//! Messages that change nothing but the log and their readers' queues, accepted many at a time: the locks are taken
//! and the readers' queues are met once for all of them.

use std::sync::Arc;

use super::Sequencer;
use crate::message::{Message, Place, Routed, Run};
use crate::retained;
use crate::session::Session;
use crate::store::SubmitError;

/// Messages, and the position of the log that each belongs to.
type Placed = Vec<(Option<usize>, Arc<Routed>)>;

impl Sequencer {
    /// Whether a message may be one of those that [`accept_plain`](Self::accept_plain) takes.
    pub fn is_plain(message: &Message) -> bool {
        !retained::is_kept(message)
    }

    /// Accepts messages in their order, each of a pass of its own without effects, and empties the list. Err: none of
    /// them was taken; one by one some may be. `woken` gets the sessions whose writers are to be woken.
    pub fn accept_plain(
        &self,
        messages: &mut Vec<Message>,
        woken: &mut Vec<Arc<Session>>,
    ) -> Result<Vec<Arc<Routed>>, SubmitError> {
        let logs = self.logs_of_all(messages);
        let mut used: Vec<usize> = logs.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let mut lanes: Vec<_> =
            used.iter().filter_map(|at| Some((*at, self.lanes.get(*at)?.readers.lock()))).collect();
        let mut unlogged = logs.iter().any(Option::is_none).then(|| self.unlogged.lock());
        let placed = self.place(messages, &logs)?;
        let mut rest = &*placed;
        while let Some((log, first)) = rest.first() {
            let lane = log.and_then(|log| lanes.iter_mut().find(|(at, _)| *at == log));
            let readers = match (lane, &mut unlogged) {
                (Some((_, readers)), _) | (None, Some(readers)) => readers,
                (None, None) => break,
            };
            let alike = rest.iter().take_while(|(_, routed)| routed.message.topic == first.message.topic);
            let routed: Vec<_> = alike.map(|(_, routed)| Arc::clone(routed)).collect();
            match Run::of(&routed) {
                Some(run) => {
                    rest = rest.get(run.messages().len()..).unwrap_or_default();
                    self.router.dispatch_run(readers, &Arc::new(run), *log, woken);
                }
                None => {
                    self.router.dispatch(readers, first, *log);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        Ok(placed.into_iter().map(|(_, routed)| routed).collect())
    }

    /// The log of each message; those of one topic mostly stand together.
    fn logs_of_all(&self, messages: &[Message]) -> Vec<Option<usize>> {
        let mut last: Option<(&str, Option<usize>)> = None;
        messages
            .iter()
            .map(|message| match last {
                Some((topic, log)) if topic == &*message.topic => log,
                _ => last.insert((&message.topic, self.log_of(&message.topic))).1,
            })
            .collect()
    }

    /// Hands all to the writer, or nothing.
    fn place(&self, messages: &mut Vec<Message>, logs: &[Option<usize>]) -> Result<Placed, SubmitError> {
        if logs.iter().all(Option::is_none) {
            return Ok(messages
                .drain(..)
                .map(|message| (None, Arc::new(Routed::new(message, None))))
                .collect());
        }
        let places: Vec<_> = self.store.writer().submit(|queue| {
            messages.iter().zip(logs).map(|(message, log)| self.record(queue, message, *log)).collect()
        })?;
        let routed = |(message, place): (Message, Option<(usize, Place)>)| {
            let (log, place) = place.unzip();
            (log, Arc::new(Routed::new(message, place)))
        };
        Ok(messages.drain(..).zip(places).map(routed).collect())
    }
}

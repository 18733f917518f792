//! Acknowledgements.

use std::sync::Arc;

use super::consumer::{Consumer, State};
use super::window::Acked;
use super::{Key, OFFSETS, Refused, Registry};
use crate::session::Session;

/// Hears how many messages were acknowledged, once that is on the disk. Called on the writer's thread: must
/// not block.
pub type Saved = Box<dyn FnOnce(Result<u64, Refused>) + Send>;

/// What was handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The consumer's name.
    pub name: String,
    /// It is a group.
    pub shared: bool,
    /// The log.
    pub log: String,
    /// The life of the log, of all these offsets.
    pub epoch: u64,
    /// 1 to 10,000.
    pub offsets: Vec<u64>,
    /// The last of them, and everything before it.
    pub up_to: bool,
}

impl Registry {
    /// Acknowledges. Never waits; with `saved`, that is called in the end unless this is an error.
    pub fn ack(self: &Arc<Self>, session: &Session, ack: &Ack, saved: Option<Saved>) -> Result<(), Refused> {
        let consumer = self.find(&Key::of(session, &ack.name, ack.shared));
        let what = if ack.shared { "group" } else { "consumer" };
        let unknown = || Refused::Invalid(format!("no {what} of yours is named {:?}", ack.name));
        let consumer = consumer.ok_or_else(unknown)?;
        let at = consumer.logs.iter().position(|log| **log.name() == *ack.log).ok_or_else(|| {
            let logs: Vec<_> = consumer.logs.iter().map(|log| &**log.name()).collect();
            Refused::Invalid(format!(
                "{:?} does not read a log {:?}: it reads {}",
                ack.name,
                ack.log,
                logs.join(", ")
            ))
        })?;
        check_offsets(&consumer, at, ack)?;
        let mut state = consumer.state.lock();
        if state.gone || (ack.shared && !is_member(&state, session)) {
            return Err(unknown());
        }
        let was_full = state.is_full();
        let acked = apply(&mut state, at, ack);
        self.note_change(&consumer, &mut state);
        let acked = acked?;
        self.metrics.acked.inc_by(acked);
        if let Some(saved) = saved {
            state.keeping.waiting.push((acked, saved));
            self.save_now(&consumer, &mut state);
        }
        drop(state);
        if was_full {
            consumer.wake.notify_one();
        }
        Ok(())
    }
}

fn is_member(state: &State, session: &Session) -> bool {
    state.members.iter().any(|member| member.session.id == session.id)
}

/// Only what the log has given out can be acknowledged.
fn check_offsets(consumer: &Consumer, at: usize, ack: &Ack) -> Result<(), Refused> {
    if !(1..=OFFSETS).contains(&ack.offsets.len()) {
        let count = ack.offsets.len();
        return Err(Refused::Invalid(format!("{count} offsets: 1 to {OFFSETS} are accepted")));
    }
    let Some(log) = consumer.logs.get(at) else { return Ok(()) };
    let (oldest, durable) = (log.oldest(), log.durable());
    // The offsets of a life stand in a row, so the first and the last speak for all.
    let ends = [ack.offsets.iter().min(), ack.offsets.iter().max()];
    for offset in ends.into_iter().flatten().copied() {
        if offset >= durable || (offset >= oldest && log.epoch_of(offset) != ack.epoch) {
            let (log, epoch) = (&ack.log, ack.epoch);
            return Err(Refused::Invalid(format!("log {log:?} has no message {offset} of epoch {epoch}")));
        }
    }
    Ok(())
}

fn apply(state: &mut State, at: usize, ack: &Ack) -> Result<u64, Refused> {
    let Some(window) = state.windows.get_mut(at) else { return Ok(0) };
    if ack.up_to {
        let last = ack.offsets.iter().max().copied().unwrap_or(0);
        return Ok(u64::try_from(window.ack_up_to(last)).unwrap_or(u64::MAX));
    }
    let mut acked = 0;
    for offset in &ack.offsets {
        match window.ack(*offset) {
            Acked::Now => acked += 1,
            Acked::Before => {}
            Acked::TooFar => {
                return Err(Refused::Invalid(format!(
                    "too many messages are acknowledged that have not been delivered: wait for offset {offset}"
                )));
            }
        }
    }
    Ok(acked)
}

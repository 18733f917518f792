//! A message on its way, as who watches is told of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::message::Outcome;
use crate::pipeline::explain::{Seen, Step, is_zero};

/// Messages that one became, of which their places are shown.
const BECAME: usize = 64;

/// One message on its way, from what was published to what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traced {
    /// The message as it was published.
    #[serde(flatten)]
    pub message: Seen,
    /// The publisher's principal.
    pub from: Arc<str>,
    /// The gateway through which it came.
    pub gateway: String,
    /// When it came, Unix microseconds.
    pub time_us: u64,
    /// What it met, in order. Empty when it was refused before.
    pub steps: Vec<Step>,
    /// Steps that are not shown, since there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: usize,
    /// Runs before this one that were taken back, because another message changed state that they had read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reruns: usize,
    /// What the publisher was told.
    pub outcome: String,
    /// And why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The messages that it became, the first 64 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Became>,
    /// Messages that it became beside these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// From its arrival to its answer, in microseconds.
    pub us: f64,
}

/// A message that was routed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Became {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its log, epoch and offset; none when the topic belongs to no log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(Arc<str>, u64, u64)>,
}

/// The messages of an outcome, and how many there are beside these.
pub(super) fn became(outcome: &Outcome) -> (Vec<Became>, usize) {
    let Outcome::Accepted { messages, .. } = outcome else { return (Vec::new(), 0) };
    let became = messages.iter().take(BECAME).map(|message| Became {
        topic: Arc::clone(&message.topic),
        place: message.place.as_ref().map(|place| (Arc::clone(&place.log), place.epoch, place.offset)),
    });
    (became.collect(), messages.len().saturating_sub(BECAME))
}

//! A shadow's thread: runs the candidate on what the live version has handled, on the same `state` without writing
//! to it, and compares.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::explain::Told;
use super::stages::Stage;
use super::{compare, explain, transform};
use crate::message::{Message, now_us};
use crate::metrics::{End, Metrics};
use crate::plugin::contract::TransformOutcome;
use crate::plugin::shadow::{Answer, Divergence, Made, Shadow, Shown, Sighting};
use crate::plugin::space::Transaction;
use crate::plugin::{CallError, Chain, Instance, Kind};

/// At most one line of the router's log in so long.
const TELL: Duration = Duration::from_secs(60);
/// Bytes that are kept of each payload of a difference.
const PAYLOAD_BYTES: usize = 256;
/// Messages that are kept of a difference, on either side.
const MESSAGES: usize = 4;

impl Stage {
    /// Shows shadows what came of a message, those that want to see it.
    pub(super) fn show<T: Told>(&mut self, message: &Message, answer: &Result<T, CallError>) {
        if self.rehearses {
            return;
        }
        for at in 0..self.shadows.len() {
            let Some(shadow) = self.shadows.get(at).filter(|shadow| shadow.wants()).cloned() else {
                continue;
            };
            let live = match answer {
                // The live version was not asked.
                Err(CallError::Skipped(_)) => continue,
                Err(error) => Answer::Failed(End::from(error).as_str(), error.to_string()),
                Ok(answer) => match answer.shown() {
                    Some(answer) => answer,
                    None => continue,
                },
            };
            shadow.show(Sighting { message: message.clone(), live, before: self.before_call() });
        }
    }
}

/// The shadows of a live binding; their threads run from now on.
pub(super) fn of(chain: &Chain, live: &str, metrics: &Arc<Metrics>) -> Box<[Arc<Shadow>]> {
    let beside = chain.shadows.iter().filter(|shadow| &*shadow.of == live).cloned();
    beside.inspect(|shadow| start(shadow, metrics)).collect()
}

/// Starts the shadow's thread, if that has not been done.
fn start(shadow: &Arc<Shadow>, metrics: &Arc<Metrics>) {
    let Some(queue) = shadow.take_queue() else { return };
    let (shadow, metrics) = (Arc::clone(shadow), Arc::clone(metrics));
    let name = format!("shadow-{}", shadow.binding.name());
    let started = std::thread::Builder::new().name(name).spawn(move || run(&shadow, &queue, &metrics));
    if let Err(error) = started {
        // Its queue is full from now on, so that what it misses is counted.
        tracing::error!(%error, "no thread for a shadow: it is not compared");
    }
}

/// Until the binding is gone.
fn run(shadow: &Arc<Shadow>, queue: &Receiver<Option<Sighting>>, metrics: &Metrics) {
    let binding = &shadow.binding;
    let mut stage = Stage::new(binding, metrics);
    let mut told: Option<Instant> = None;
    while let Some(sighting) = shadow.next(queue) {
        let _clock = binding.engine().running();
        if !compare_one(shadow, &mut stage, sighting) && told.is_none_or(|at| at.elapsed() >= TELL) {
            told = Some(Instant::now());
            let (counts, plugin, version) = (shadow.counts(), binding.name(), &binding.shared.version);
            tracing::warn!(
                %plugin, %version, of = %shadow.of, same = counts.same, different = counts.different,
                failed = counts.failed, skipped = counts.skipped,
                "the shadow does not do as the live version: `weir plugin shadow {plugin}` shows it"
            );
        }
    }
}

/// False: that was no agreement.
fn compare_one(shadow: &Shadow, stage: &mut Stage, sighting: Sighting) -> bool {
    let Sighting { message, live, before } = sighting;
    let mut before = Some(before);
    let mut over = |instance: &mut Instance| {
        if let Some(before) = before.take() {
            instance.guest().transaction = Transaction::over(before);
        }
    };
    let clock = Cell::new(Instant::now());
    let answer = match stage.binding.kind() {
        Kind::Filter => stage
            .call(
                &clock,
                || message.tenant(),
                |instance| {
                    over(instance);
                    instance.check(&message)
                },
            )
            .map(Answer::Filter),
        _ => stage
            .call(
                &clock,
                || message.tenant(),
                |instance| {
                    over(instance);
                    instance.apply(&message)
                },
            )
            .map(Answer::Transform),
    };
    stage.forget();
    let counted = &shadow.counted;
    let (candidate, failed) = match answer {
        Err(CallError::Skipped(_)) => {
            counted.skipped.inc();
            return false;
        }
        Err(error) => (Answer::Failed(End::from(&error).as_str(), error.to_string()), true),
        Ok(answer) => (answer, false),
    };
    let (live, candidate) = (Outcome::of(&message, live), Outcome::of(&message, candidate));
    if !failed && live.is_same(&candidate) {
        counted.same.inc();
        return true;
    }
    if failed {
        counted.failed.inc()
    } else {
        counted.different.inc()
    };
    if shadow.has_room() {
        shadow.keep(Divergence {
            time_us: now_us(),
            topic: Arc::clone(&message.topic),
            bytes: message.payload.len(),
            live: live.made(),
            shadow: candidate.made(),
        });
    }
    false
}

/// What one version made of the message.
struct Outcome {
    verdict: &'static str,
    reason: String,
    /// None: it said no, or failed.
    messages: Option<Vec<Message>>,
}

impl Outcome {
    fn of(message: &Message, answer: Answer) -> Self {
        match answer {
            Answer::Failed(verdict, reason) => Self { verdict, reason, messages: None },
            Answer::Filter(verdict) => {
                let messages = verdict.keeps().then(|| vec![message.clone()]);
                Self { verdict: explain::word(&verdict), reason: verdict.reason(), messages }
            }
            Answer::Transform(outcome) => {
                let (verdict, reason) = (explain::word(&outcome), outcome.reason());
                let messages = match outcome {
                    TransformOutcome::Refuse(_) => None,
                    outcome => Some(transform::messages(message.clone(), outcome)),
                };
                Self { verdict, reason, messages }
            }
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.messages, &other.messages) {
            (Some(one), Some(other)) => compare::is_same(one, other),
            (None, None) => self.verdict == other.verdict,
            _ => false,
        }
    }

    fn made(&self) -> Made {
        let messages = self.messages.as_deref().unwrap_or_default();
        Made {
            verdict: self.verdict.to_owned(),
            reason: self.reason.clone(),
            messages: messages.iter().take(MESSAGES).map(shown).collect(),
            more: messages.len().saturating_sub(MESSAGES),
        }
    }
}

fn shown(message: &Message) -> Shown {
    let text = message.payload.get(..explain::cut_at(&message.payload, PAYLOAD_BYTES)).unwrap_or_default();
    Shown {
        topic: Arc::clone(&message.topic),
        bytes: message.payload.len(),
        text: std::str::from_utf8(text).ok().map(str::to_owned),
        fields: compare::fields(message, PAYLOAD_BYTES),
    }
}

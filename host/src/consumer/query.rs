//! Questions to storage plugins, on instances of their own.

use std::sync::Arc;
use std::time::Instant;

use serde::de::IgnoredAny;

use super::Consumers;
use crate::metrics::{End, Limit};
use crate::plugin::contract::{AnswerOut, ConfigError, QueryError, QuestionIn};
use crate::plugin::{CallError, Instance};

/// Idle query instances kept per binding.
const IDLE: usize = 4;
/// Longest item of an answer, in bytes.
const ITEM_BYTES: usize = 64 * 1024;
/// Longest answer, in bytes.
const ANSWER_BYTES: usize = 1024 * 1024;
/// Longest `next`, in bytes.
const NEXT_BYTES: usize = 1024;

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// No storage binding of that name; there are these.
    NoPlugin(String),
    /// The caller's fault.
    Invalid {
        /// JSON Pointer into the parameters.
        path: String,
        /// What is accepted.
        reason: String,
    },
    /// Nothing is known about the topic.
    NotFound,
    /// Not now.
    Unavailable(String),
    /// The plugin failed.
    Failed(CallError),
}

impl Consumers {
    /// Asks a storage plugin. Blocks for as long as it computes: call it where blocking is allowed.
    pub fn query(&self, plugin: &str, question: QuestionIn<'_>) -> Result<AnswerOut, Unanswered> {
        let (binding, idle) = {
            let running = self.running.lock();
            let consumer = running.get(plugin).ok_or_else(|| {
                Unanswered::NoPlugin(running.keys().map(|name| &**name).collect::<Vec<_>>().join(", "))
            })?;
            (consumer.binding.load_full(), Arc::clone(&consumer.idle))
        };
        let waiting = {
            let mut idle = idle.lock();
            // Those of an older version or configuration go: they would answer as it does; and so do those over a
            // key space that a rebuild has replaced.
            idle.retain_mut(|instance| instance.guest().shared.is_same(&binding.shared));
            idle.pop()
        };
        binding.health.check().map_err(Unanswered::Failed)?;
        let mut instance = match waiting {
            Some(instance) => instance,
            None => binding.instance().map_err(Unanswered::Failed)?,
        };
        let stage = self.metrics.stage("query", binding.name(), &binding.shared.version);
        let started = Instant::now();
        let _clock = binding.engine().running();
        let answer = instance.query(question);
        let took = started.elapsed();
        stage.ended(ended(&answer), took);
        binding.shared.used.took(Limit::StoreDeadline, took);
        match &answer {
            Ok(_) => binding.health.answered(),
            Err(error) => binding.failed(error),
        }
        let answer = answer.map_err(Unanswered::Failed)?;
        keep(&mut idle.lock(), instance);
        match answer {
            Ok(answer) => checked(answer),
            Err(QueryError::Invalid(ConfigError { path, reason })) => {
                Err(Unanswered::Invalid { path, reason })
            }
            Err(QueryError::NotFound) => Err(Unanswered::NotFound),
            Err(QueryError::Unavailable(reason)) => Err(Unanswered::Unavailable(reason)),
            Err(QueryError::Internal(reason)) => Err(Unanswered::Failed(CallError::Internal(reason))),
        }
    }
}

fn ended(answer: &Result<Result<AnswerOut, QueryError>, CallError>) -> End {
    match answer {
        Ok(Ok(_) | Err(QueryError::NotFound | QueryError::Invalid(_))) => End::Done,
        Ok(Err(_)) => End::Error,
        Err(error) => End::from(error),
    }
}

fn keep(idle: &mut Vec<Instance>, instance: Instance) {
    if idle.len() < IDLE && !instance.is_dead() {
        idle.push(instance);
    }
}

/// Guest-controlled: every item must be one JSON text, since the gateway puts them into an array as they are.
fn checked(answer: AnswerOut) -> Result<AnswerOut, Unanswered> {
    let wrong = |what: String| Err(Unanswered::Failed(CallError::Output(what)));
    if answer.items.iter().map(String::len).sum::<usize>() > ANSWER_BYTES {
        return wrong(format!("an answer of more than {ANSWER_BYTES} bytes"));
    }
    if answer.next.as_ref().is_some_and(|next| next.len() > NEXT_BYTES) {
        return wrong(format!("a cursor of more than {NEXT_BYTES} bytes"));
    }
    for item in &answer.items {
        if item.len() > ITEM_BYTES {
            return wrong(format!("an item of {} bytes: at most {ITEM_BYTES}", item.len()));
        }
        if let Err(error) = serde_json::from_str::<IgnoredAny>(item) {
            return wrong(format!("an item that is not JSON: {error}"));
        }
    }
    Ok(answer)
}

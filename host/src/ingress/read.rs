//! What a session may read: history of a log, and what storage plugins made of it.

use std::sync::Arc;

use super::{HistoryPage, HistoryRequest, Ingress, Query, QueryFailure, QueryPage, invalid};
use crate::consumer::Unanswered;
use crate::message::{Outcome, Place};
use crate::plugin::contract::QuestionIn;
use crate::session::Session;
use crate::store::{Log, Resume, StoreError};
use weir_contract::topic::Pattern;

/// Messages of one page.
const PAGE: usize = 1_000;
/// Bytes of one page.
const PAGE_BYTES: usize = 1024 * 1024;
/// Longest parameters of a query, in bytes.
const PARAMS_BYTES: usize = 64 * 1024;

impl Ingress {
    /// A page of a log, once the session's auth plugin has allowed the pattern.
    pub async fn history(
        &self,
        session: &Arc<Session>,
        request: HistoryRequest,
    ) -> Result<HistoryPage, Outcome> {
        self.authorize(session, "history", &request.pattern).await?;
        if !(1..=PAGE).contains(&request.limit) {
            return Err(invalid(format!("limit {}: 1 to {PAGE} are accepted", request.limit)));
        }
        let log = self.log(&request)?.clone();
        let pattern = Pattern::parse(&request.pattern).map_err(|error| invalid(error.to_string()))?;
        let read = tokio::task::spawn_blocking(move || page(&log, &pattern, &request)).await;
        read.map_err(|_| Outcome::ShuttingDown)?
            .map_err(|error| Outcome::Unavailable { reason: error.to_string() })
    }

    fn log(&self, request: &HistoryRequest) -> Result<&Log, Outcome> {
        let store = &self.0.parts.store;
        let names = || store.logs().iter().map(|log| log.name().to_string()).collect::<Vec<_>>().join(", ");
        match &request.log {
            Some(name) => store
                .log(name)
                .ok_or_else(|| invalid(format!("no log is named {name:?}: there are {}", names()))),
            // A pattern with wildcards may span logs: the one that its literal part goes to.
            None => {
                let at = self.0.parts.sequencer.log_of(&request.pattern);
                at.or((store.logs().len() == 1).then_some(0))
                    .and_then(|at| store.logs().get(at))
                    .ok_or_else(|| invalid(format!("say which log to read (`log`): there are {}", names())))
            }
        }
    }

    /// Asks a storage plugin, once the session's auth plugin has allowed the topic.
    pub async fn query(&self, session: &Arc<Session>, query: Query) -> Result<QueryPage, QueryFailure> {
        let refused = |outcome: Outcome| match outcome {
            Outcome::Denied { .. } => QueryFailure::Denied,
            Outcome::Invalid(refusal) => {
                QueryFailure::Invalid { reason: refusal.reason, path: String::new() }
            }
            other => QueryFailure::Unavailable(other.reason().into()),
        };
        self.authorize(session, "query", &query.topic).await.map_err(refused)?;
        let wrong = |reason: String| QueryFailure::Invalid { reason, path: String::new() };
        if query.params.len() > PARAMS_BYTES {
            return Err(wrong(format!("parameters of {} bytes: at most {PARAMS_BYTES}", query.params.len())));
        }
        if !(1..=1_000).contains(&query.limit) {
            return Err(wrong(format!("limit {}: 1 to 1000 are accepted", query.limit)));
        }
        let consumers = Arc::clone(&self.0.parts.consumers);
        let session = session.principal.packed.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let question = QuestionIn {
                topic: &query.topic,
                params: &query.params,
                cursor: query.cursor.as_deref(),
                limit: query.limit,
                session: &session,
            };
            let answer = consumers.query(&query.plugin, question);
            answer.map_err(|error| unanswered(query.plugin, error))
        });
        let answer = asked.await.map_err(|_| QueryFailure::Failed)??;
        Ok(QueryPage { items: answer.items, next: answer.next })
    }
}

fn unanswered(plugin: String, error: Unanswered) -> QueryFailure {
    match error {
        Unanswered::NoPlugin(there_are) => QueryFailure::NoPlugin(plugin, there_are),
        Unanswered::Invalid { path, reason } => QueryFailure::Invalid { reason, path },
        Unanswered::NotFound => QueryFailure::NotFound,
        Unanswered::Unavailable(reason) => QueryFailure::Unavailable(reason.into()),
        Unanswered::Failed(error) => {
            tracing::warn!(plugin, %error, "query failed");
            QueryFailure::Failed
        }
    }
}

/// Reads until the page is full or the log ends: one read of the store looks at a bounded part of the log.
fn page(log: &Log, pattern: &Pattern, request: &HistoryRequest) -> Result<HistoryPage, StoreError> {
    let wanted = |topic: &str| pattern.matches(topic);
    let (mut at, recovered) = start(log, request);
    let mut messages = Vec::new();
    let mut bytes = 0;
    let more = loop {
        let (room, bytes_left) = (request.limit - messages.len(), PAGE_BYTES.saturating_sub(bytes));
        if room == 0 || bytes_left == 0 {
            break true;
        }
        let read = if request.reverse {
            log.read_reverse(at, &wanted, room, bytes_left)?
        } else {
            log.read(at, &wanted, room, bytes_left)?
        };
        bytes += read.messages.iter().map(|stored| stored.message.size()).sum::<usize>();
        messages.extend(read.messages);
        at = read.next;
        if read.end {
            break false;
        }
    };
    // `after` is exclusive: the last offset looked at, or, newest first, the first one.
    let last = if request.reverse { Some(at) } else { at.checked_sub(1) };
    let next =
        last.map(|last| Place { log: Arc::clone(log.name()), epoch: log.epoch_of(last), offset: last });
    Ok(HistoryPage { messages, next, more, recovered })
}

fn start(log: &Log, request: &HistoryRequest) -> (u64, bool) {
    match request.after {
        None if request.reverse => (log.durable(), true),
        None => (log.oldest(), true),
        Some((_, offset)) if request.reverse => (offset.min(log.durable()), true),
        Some((epoch, offset)) => match log.resume(epoch, offset) {
            Resume::Recovered => (offset + 1, true),
            Resume::Lost { oldest } => (oldest, false),
        },
    }
}

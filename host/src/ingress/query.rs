//! Questions to storage plugins.

use std::sync::Arc;

use super::{Ingress, Query, QueryFailure, QueryPage};
use crate::consumer::Unanswered;
use crate::message::Outcome;
use crate::plugin::contract::QuestionIn;
use crate::session::Session;

/// Longest parameters of a query, in bytes.
const PARAMS_BYTES: usize = 64 * 1024;

impl Ingress {
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

//! Which HTTP status says what.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use weir_contract::topic;

use crate::ingress::{QueryFailure, Unanswered};
use crate::message::Outcome;

/// The status of a publish to `topic`.
pub(super) fn of_publish(outcome: &Outcome, topic: &str) -> StatusCode {
    match outcome {
        Outcome::Accepted { .. } => StatusCode::CREATED,
        Outcome::Filtered { .. } => StatusCode::OK,
        Outcome::Denied { .. } => StatusCode::FORBIDDEN,
        // The topic is a part of the request; everything else was well-formed, and a plugin refused it.
        Outcome::Invalid(_) if topic::check(topic).is_err() => StatusCode::BAD_REQUEST,
        Outcome::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Outcome::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Outcome::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Outcome::PluginFailed { .. } | Outcome::DeadLettered { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Outcome::TimedOut | Outcome::Overloaded | Outcome::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        Outcome::Unavailable { .. } => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// The status of a reading that was refused.
pub(super) fn of_reading(outcome: &Outcome, pattern: &str) -> StatusCode {
    match outcome {
        Outcome::Invalid(_) => StatusCode::BAD_REQUEST,
        Outcome::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        other => of_publish(other, pattern),
    }
}

/// The status of a request without a reply.
pub(super) fn of_request(why: &Unanswered, topic: &str) -> StatusCode {
    match why {
        Unanswered::Refused(outcome) => of_publish(outcome, topic),
        Unanswered::Nobody(_) => StatusCode::GATEWAY_TIMEOUT,
        Unanswered::Busy { .. } | Unanswered::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The status of a question without an answer.
pub(super) fn of_query(failure: &QueryFailure) -> StatusCode {
    match failure {
        QueryFailure::NoPlugin(..) | QueryFailure::NotFound => StatusCode::NOT_FOUND,
        QueryFailure::Denied => StatusCode::FORBIDDEN,
        QueryFailure::Invalid { .. } => StatusCode::BAD_REQUEST,
        QueryFailure::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        QueryFailure::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Says when to try again, where the outcome knows.
pub(super) fn add_retry_after<'a>(response: &mut Response, outcomes: impl Iterator<Item = &'a Outcome>) {
    let waits = outcomes.filter_map(|outcome| match outcome {
        Outcome::RateLimited { retry_after_ms } => Some(retry_after_ms.div_ceil(1_000).max(1)),
        _ => None,
    });
    if let Some(seconds) = waits.max() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

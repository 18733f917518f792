//! `GET /v1/presence`.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::super::{answer, router::App};
use super::{bad_request, enter, only, required, status};
use crate::gateway::reply;

/// Answers who is present at a topic.
pub(in super::super) async fn presence(State(app): State<App>, request: Request) -> Response {
    let (visit, parameters) = match enter(&app, &request, None).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let topic = match only(&parameters, &["topic"]).and_then(|()| required(&parameters, "topic")) {
        Ok(topic) => topic,
        Err(fault) => return bad_request(&fault),
    };
    let see = |present: &_| answer::body(|object| answer::presence(object, topic, present));
    match visit.ingress().presence(visit.session(), topic, see).await {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(outcome) => {
            let body = answer::body(|object| answer::outcome(object, &outcome));
            reply::json(status::of_reading(&outcome, topic), body)
        }
    }
}

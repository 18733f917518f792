//! `GET /v1/history`.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::super::keys::Key;
use super::super::request::Fault;
use super::super::{answer, fields, router::App};
use super::{Parameters, bad_request, enter, given, limit, only, parameter, required, status};
use crate::gateway::reply;
use crate::ingress::HistoryRequest;

/// Answers with a page of messages.
pub(in super::super) async fn history(State(app): State<App>, request: Request) -> Response {
    let (visit, parameters) = match enter(&app, &request, None).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let asked = match read(&parameters) {
        Ok(asked) => asked,
        Err(fault) => return bad_request(&fault),
    };
    let pattern = asked.pattern.clone();
    match visit.ingress().history(visit.session(), asked).await {
        Ok(page) => reply::json(StatusCode::OK, answer::body(|object| answer::history(object, &page))),
        Err(outcome) => {
            let status = status::of_reading(&outcome, &pattern);
            let mut response = reply::json(status, answer::body(|object| answer::outcome(object, &outcome)));
            status::add_retry_after(&mut response, std::iter::once(&outcome));
            response
        }
    }
}

fn read(parameters: &Parameters) -> Result<HistoryRequest, Fault> {
    only(parameters, &["topic", "log", "since", "limit", "reverse"])?;
    let reverse = fields::check_flag(Key::Reverse, given(parameters, "reverse"))?;
    let since = fields::check_since(parameter(parameters, "since"))?;
    Ok(HistoryRequest {
        pattern: required(parameters, "topic")?.into(),
        log: parameter(parameters, "log").map(str::to_owned),
        since: fields::begin_history(since, reverse)?,
        limit: limit(parameters)?,
        reverse,
    })
}

//! `GET /v1/history`.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::super::request::Fault;
use super::super::{answer, router::App};
use super::{Parameters, bad_request, enter, limit, only, parameter, required, status};
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
    only(parameters, &["topic", "log", "after", "limit", "reverse"])?;
    Ok(HistoryRequest {
        pattern: required(parameters, "topic")?.into(),
        log: parameter(parameters, "log").map(str::to_owned),
        after: parameter(parameters, "after").map(place).transpose()?,
        limit: limit(parameters)?,
        reverse: match parameter(parameters, "reverse") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Fault::new("`reverse` must be true or false".into())),
        },
    })
}

/// `EPOCH:OFFSET`.
fn place(text: &str) -> Result<(u64, u64), Fault> {
    let parsed =
        text.split_once(':').and_then(|(epoch, offset)| Some((epoch.parse().ok()?, offset.parse().ok()?)));
    parsed.ok_or_else(|| Fault::new("`after` must be EPOCH:OFFSET, like 1:7".into()))
}

//! The native protocol without a connection: one session per request.

mod explain;
mod feed;
mod history;
mod presence;
mod publish;
mod query;
mod request;
mod status;
mod subscribe;

pub(super) use history::history;
pub(super) use presence::presence;
pub(super) use publish::publish;
pub(super) use query::query;
pub(super) use request::request;
pub(super) use subscribe::subscribe;

use std::collections::BTreeSet;

use axum::extract::Request;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::answer;
use super::credential::{credential, parameters};
use super::request::Fault;
use super::router::App;
use crate::gateway::lease::{Secure, TlsName};
use crate::gateway::visit::Visit;
use crate::gateway::{Peer, reply};
use crate::ingress::{Credential, Rejected};
use crate::session::NoticeEncoder;

/// Query parameters, in order.
pub(super) type Parameters = Vec<(String, String)>;

/// Authenticates a request. The error is the answer to be given.
pub(super) fn enter(
    app: &App,
    request: &Request,
    notices: Option<NoticeEncoder>,
) -> impl Future<Output = Result<(Visit, Parameters), Response>> + Send + use<> {
    // The request's body cannot be shared between threads, so the future keeps only what is read from it here.
    let said = said(request);
    let ingress = app.ingress.clone();
    async move {
        let (credential, parameters) = said.map_err(|fault| bad_request(&fault))?;
        match ingress.open(credential, notices).await {
            Ok(session) => Ok((Visit::new(ingress, session), parameters)),
            Err(rejected) => Err(rejection(&rejected)),
        }
    }
}

fn said(request: &Request) -> Result<(Credential, Parameters), Fault> {
    let parameters = parameters(request.uri())?;
    let of = request.extensions();
    let from = (of.get::<Peer>(), of.get::<Secure>(), of.get::<TlsName>());
    Ok((credential(request.uri(), request.headers(), &parameters, from)?, parameters))
}

fn rejection(rejected: &Rejected) -> Response {
    let (status, outcome) = match rejected {
        Rejected::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Rejected::Denied => (StatusCode::FORBIDDEN, "denied"),
        Rejected::Busy => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Rejected::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
    };
    let mut response = reply::fault(status, outcome, &rejected.to_string());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The request itself is wrong.
pub(super) fn bad_request(fault: &Fault) -> Response {
    reply::json(StatusCode::BAD_REQUEST, answer::body(|object| answer::fault(object, fault)))
}

/// Parameters of every request, which say who asks.
const WHO: [&str; 3] = ["api_key", "client_id", "origin"];

/// Refuses parameters that mean nothing here, or are given twice.
pub(super) fn only(parameters: &Parameters, accepted: &[&str]) -> Result<(), Fault> {
    known(parameters, accepted)?;
    once(parameters)
}

/// Refuses parameters that mean nothing here: a typo would otherwise silently be something else.
fn known(parameters: &Parameters, accepted: &[&str]) -> Result<(), Fault> {
    let known = |name: &str| accepted.contains(&name) || WHO.contains(&name);
    match parameters.iter().find(|(name, _)| !known(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Fault::new(format!(
            "the query parameter {name:?} is not known here: accepted are {}",
            accepted.iter().chain(&WHO).copied().collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Refuses what is given twice: one of the two would otherwise silently not count.
fn once<'a>(parameters: impl IntoIterator<Item = &'a (String, String)>) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    match parameters.into_iter().find(|(name, _)| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(Fault::new(format!("the query parameter {name:?} is given twice"))),
    }
}

/// The value of a query parameter.
fn given<'a>(parameters: &'a Parameters, wanted: &str) -> Option<&'a str> {
    parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// The value of a query parameter; an empty one is as good as none.
fn parameter<'a>(parameters: &'a Parameters, wanted: &str) -> Option<&'a str> {
    given(parameters, wanted).filter(|value| !value.is_empty())
}

fn required<'a>(parameters: &'a Parameters, wanted: &str) -> Result<&'a str, Fault> {
    parameter(parameters, wanted)
        .ok_or_else(|| Fault::new(format!("the query parameter `{wanted}` is missing")))
}

/// `limit` among the query parameters.
fn limit(parameters: &Parameters) -> Result<usize, Fault> {
    // What is no number at all is as far out of range as zero.
    let limit = parameter(parameters, "limit").map(|limit| limit.parse().unwrap_or(0));
    super::fields::check_limit(limit)
}

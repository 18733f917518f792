//! `GET /v1/subscribe`: a connection that only listens.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::Response;

use super::super::request::Fault;
use super::super::{answer, router::App, sse};
use super::feed::{Feed, Ids};
use super::{Parameters, bad_request, enter, only, status};
use crate::gateway::lease::Lease;
use crate::gateway::{json, reply};
use crate::message::{Outcome, Places};

/// Asks nginx, which would hold events back, not to.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers with a stream of events that ends with the session.
pub(in super::super) async fn subscribe(
    State(app): State<App>,
    Extension(lease): Extension<Lease>,
    request: Request,
) -> Response {
    let (visit, parameters) = match enter(&app, &request, Some(sse::notice)).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let topics = match topics(&parameters) {
        Ok(topics) => topics,
        Err(fault) => return bad_request(&fault),
    };
    for topic in &topics {
        if let Err(outcome) = visit.ingress().subscribe(visit.session(), topic, false).await {
            return refused(&outcome, topic);
        }
    }
    let ids = Ids::new(Places::default(), 0);
    let opening = sse::opening(ids.text(), |object| {
        object.flag("ok", true);
        json::put_array(object.key("topics"), &topics, |out, topic| json::put_text(out, topic));
    });
    let mut response = Response::new(Feed::new(visit, lease, ids, opening).into_body());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn refused(outcome: &Outcome, topic: &str) -> Response {
    let body = answer::body(|object| answer::outcome(object, outcome));
    reply::json(status::of_reading(outcome, topic), body)
}

/// The patterns, each once.
fn topics(parameters: &Parameters) -> Result<Vec<&str>, Fault> {
    only(parameters, &["topic"])?;
    let mut topics: Vec<&str> = Vec::new();
    for (_, topic) in parameters.iter().filter(|(name, _)| name == "topic") {
        if !topics.contains(&topic.as_str()) {
            topics.push(topic);
        }
    }
    if topics.is_empty() {
        return Err(Fault::new("the query parameter `topic` is missing: one or more are accepted".into()));
    }
    Ok(topics)
}

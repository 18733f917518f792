//! `POST /v1/publish?explain=true`: what would become of a message, and what every plugin says of it.

use axum::http::StatusCode;
use axum::response::Response;

use super::super::answer;
use super::super::payload::put_message;
use super::super::request::Fault;
use super::{Parameters, given, status};
use crate::gateway::json::{self, Object};
use crate::gateway::reply;
use crate::gateway::visit::Visit;
use crate::ingress::{Explained, Publish, WouldBe};

/// What is to be explained.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// The steps show payloads.
    payloads: bool,
}

/// Whether the message is to be explained, instead of published.
pub(super) fn asked(parameters: &Parameters) -> Result<Option<Asked>, Fault> {
    let payloads = flag(parameters, "payload")?;
    if flag(parameters, "explain")? {
        return Ok(Some(Asked { payloads }));
    }
    if payloads {
        return Err(Fault::new("`payload` is for `explain`: give both".into()));
    }
    Ok(None)
}

fn flag(parameters: &Parameters, name: &str) -> Result<bool, Fault> {
    match given(parameters, name) {
        Some("1" | "true") => Ok(true),
        None | Some("0" | "false") => Ok(false),
        Some(other) => {
            let shown = other.get(..other.floor_char_boundary(64)).unwrap_or_default();
            Err(Fault::new(format!("`{name}` is {shown:?}: accepted are 1, true, 0, false")))
        }
    }
}

/// Explains one message.
pub(super) async fn one(visit: &Visit, publish: Publish, asked: Asked) -> Response {
    let topic = publish.topic.clone();
    match visit.ingress().explain(visit.session(), publish, asked.payloads).await {
        Ok(explained) => reply::json(StatusCode::OK, answer::body(|object| put(object, &explained))),
        Err(outcome) => {
            let body = answer::body(|object| answer::outcome(object, &outcome));
            let mut response = reply::json(status::of_publish(&outcome, &topic), body);
            status::add_retry_after(&mut response, std::iter::once(&outcome));
            response
        }
    }
}

/// Several at once could not say what those before would have changed.
pub(super) fn several() -> Fault {
    Fault::new("`explain` is for a single message: an array is not accepted".into())
}

fn put(object: &mut Object<'_>, explained: &Explained) {
    match &explained.became {
        Ok(messages) => {
            object.flag("ok", true);
            object.text("outcome", "accepted");
            json::put_array(object.key("messages"), messages, would_be);
        }
        Err(outcome) => answer::outcome(object, outcome),
    }
    let record = &explained.record;
    // Writing to memory cannot fail, and everything in it is a text or a number.
    let _ = serde_json::to_writer(object.key("steps"), &record.steps);
    if record.omitted > 0 {
        object.number("omitted", u64::try_from(record.omitted).unwrap_or(u64::MAX));
    }
}

fn would_be(out: &mut Vec<u8>, of: &WouldBe) {
    let mut object = Object::begin(out);
    if let Some(log) = &of.log {
        object.text("log", log);
    }
    object.number("bytes", u64::try_from(of.bytes).unwrap_or(u64::MAX));
    if of.bytes > of.message.payload.len() {
        object.flag("cut", true);
    }
    put_message(&mut object, &of.message, None);
    object.end();
}

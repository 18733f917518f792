//! `POST /v1/publish`.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::super::keys::{Key, Keys};
use super::super::message::{self, MESSAGE, Source};
use super::super::request::Fault;
use super::super::{answer, fields, router::App};
use super::{Parameters, bad_request, enter, explain, given, only, parameter, status};
use crate::gateway::visit::Visit;
use crate::gateway::{body, json, reply};
use crate::ingress::Publish;
use crate::message::{Outcome, Responder};

/// What the body turned out to be.
enum Batch {
    One(Box<Publish>),
    Many(Vec<Publish>),
}

/// Publishes one message, several, or a raw payload.
pub(in super::super) async fn publish(State(app): State<App>, request: Request) -> Response {
    let (visit, parameters) = match enter(&app, &request, None).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let (parts, incoming) = request.into_parts();
    let bytes = match body::read(incoming, &app.limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let asked = match explain::asked(&parameters) {
        Ok(asked) => asked,
        Err(fault) => return bad_request(&fault),
    };
    match (read(&parts.headers, &parameters, &bytes, app.limits.requests_messages), asked) {
        (Ok(Batch::One(publish)), None) => one(&visit, *publish).await,
        (Ok(Batch::One(publish)), Some(asked)) => explain::one(&visit, *publish, asked).await,
        (Ok(Batch::Many(all)), None) => many(&visit, all).await,
        (Ok(Batch::Many(_)), Some(_)) => bad_request(&explain::several()),
        (Err(refusal), _) => *refusal,
    }
}

async fn one(visit: &Visit, publish: Publish) -> Response {
    let topic = publish.topic.clone();
    let (responder, outcome) = Responder::channel();
    visit.ingress().publish(visit.session(), publish, responder).await;
    let outcome = outcome.await.unwrap_or(Outcome::ShuttingDown);
    let status = status::of_publish(&outcome, &topic);
    let mut response = reply::json(status, answer::body(|object| answer::outcome(object, &outcome)));
    status::add_retry_after(&mut response, std::iter::once(&outcome));
    response
}

/// Hands over all messages before it waits for the first answer: they are on their way together, in order.
async fn many(visit: &Visit, all: Vec<Publish>) -> Response {
    let mut waiting = Vec::with_capacity(all.len());
    for publish in all {
        let topic = publish.topic.clone();
        let (responder, outcome) = Responder::channel();
        visit.ingress().publish(visit.session(), publish, responder).await;
        waiting.push((topic, outcome));
    }
    let mut worst = StatusCode::OK;
    let mut outcomes = Vec::with_capacity(waiting.len());
    for (topic, outcome) in waiting {
        let outcome = outcome.await.unwrap_or(Outcome::ShuttingDown);
        worst = worst.max(status::of_publish(&outcome, &topic));
        outcomes.push(outcome);
    }
    let body = answer::body(|object| {
        object.flag("ok", outcomes.iter().all(answer::is_ok));
        json::put_array(object.key("results"), &outcomes, |out, outcome| {
            out.extend_from_slice(&answer::body(|object| answer::outcome(object, outcome)));
        });
    });
    let mut response = reply::json(worst, body);
    status::add_retry_after(&mut response, outcomes.iter());
    response
}

/// Reads the body; the error is the answer to be given.
fn read(
    headers: &HeaderMap,
    parameters: &Parameters,
    bytes: &Bytes,
    most: usize,
) -> Result<Batch, Box<Response>> {
    let idempotency_key = idempotency_key(headers).map_err(|fault| Box::new(bad_request(&fault)))?;
    if parameter(parameters, "topic").is_some() {
        let publish = raw(headers, parameters, idempotency_key, bytes);
        return publish.map(|one| Batch::One(Box::new(one))).map_err(|fault| Box::new(bad_request(&fault)));
    }
    // A misspelt `explain` must not publish.
    only(parameters, &["topic", "explain", "payload"]).map_err(|fault| Box::new(bad_request(&fault)))?;
    let is_array = bytes.trim_ascii_start().first() == Some(&b'[');
    if !is_array {
        let publish = single(idempotency_key, bytes);
        return publish.map(|one| Batch::One(Box::new(one))).map_err(|fault| Box::new(bad_request(&fault)));
    }
    if idempotency_key.is_some() {
        let fault = "`Idempotency-Key` is for a single message: give each its own `message_id`";
        return Err(Box::new(bad_request(&Fault::new(fault.into()))));
    }
    several(bytes, most).map(Batch::Many)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Fault> {
    let key = headers.get("idempotency-key").map(|value| std::str::from_utf8(value.as_bytes())).transpose();
    key.map_err(|_| Fault::new("`Idempotency-Key` must be UTF-8".into()))
}

/// The body is the payload.
fn raw(
    headers: &HeaderMap,
    parameters: &Parameters,
    idempotency_key: Option<&str>,
    bytes: &Bytes,
) -> Result<Publish, Fault> {
    let content_type = headers.get(CONTENT_TYPE).map(|value| std::str::from_utf8(value.as_bytes()));
    let content_type =
        content_type.transpose().map_err(|_| Fault::new("`Content-Type` must be UTF-8".into()))?;
    fields::check_content_type(content_type.unwrap_or_default())?;
    let accepted =
        ["topic", "message_id", "level", "retain", "expires_in_ms", "reply_to", "explain", "payload"];
    only(parameters, &accepted)?;
    let message_id = same_id(idempotency_key, given(parameters, "message_id"))?;
    let topic = parameter(parameters, "topic").unwrap_or_default();
    let payload = message::keep(bytes, bytes, body::memory(bytes));
    Ok(Publish {
        content_type: content_type.map(|given| given.to_owned().into()),
        message_id: fields::check_message_id(message_id)?,
        retain: fields::check_flag(Key::Retain, given(parameters, "retain"))?,
        expires_in_ms: fields::parse_number(
            Key::ExpiresInMs,
            parameter(parameters, "expires_in_ms"),
            message::EXPIRES_IN_MS,
        )?,
        reply_to: parameter(parameters, "reply_to").map(str::to_owned),
        level: message::level(parameter(parameters, "level"))?,
        ..Publish::new(topic, payload)
    })
}

/// The body is one message.
fn single(idempotency_key: Option<&str>, bytes: &Bytes) -> Result<Publish, Fault> {
    let text = text(bytes)?;
    let mut publish = message(text, bytes)?;
    let id = same_id(idempotency_key, publish.message_id.as_deref())?;
    publish.message_id = fields::check_message_id(id)?;
    Ok(publish)
}

/// The body is an array of messages.
fn several(bytes: &Bytes, most: usize) -> Result<Vec<Publish>, Box<Response>> {
    let refuse = |fault: &Fault| Box::new(bad_request(fault));
    let text = text(bytes).map_err(|fault| refuse(&fault))?;
    let elements: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| refuse(&Fault::new(format!("the body is no array of messages: {error}"))))?;
    if elements.is_empty() {
        return Err(refuse(&Fault::new("the array is empty: 1 message or more is accepted".into())));
    }
    if elements.len() > most {
        let reason = format!("the array has {} messages: {most} are accepted", elements.len());
        return Err(Box::new(reply::fault(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &reason)));
    }
    let messages = elements.iter().enumerate().map(|(index, element)| {
        message(element.get(), bytes).map_err(|fault| {
            let body = answer::body(|object| {
                answer::fault(object, &fault);
                object.number("index", u64::try_from(index).unwrap_or(u64::MAX));
            });
            Box::new(reply::json(StatusCode::BAD_REQUEST, body))
        })
    });
    messages.collect()
}

/// One message, in a text that is a part of `bytes`.
fn message(text: &str, bytes: &Bytes) -> Result<Publish, Fault> {
    let keys =
        Keys::read(text).map_err(|error| Fault::new(format!("a message is one JSON object: {error}")))?;
    keys.only(&MESSAGE)?;
    message::publish(&keys, &Source { text, bytes, memory: body::memory(bytes), before: None })
}

fn text(bytes: &Bytes) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| {
        Fault::new("the body is not UTF-8: for a raw payload name its topic, `?topic=a/b`".into())
    })
}

/// The message id, which may be given in two places but not in two ways.
fn same_id<'a>(header: Option<&'a str>, other: Option<&'a str>) -> Result<Option<&'a str>, Fault> {
    match (header, other) {
        (Some(header), Some(other)) if header != other => {
            Err(Fault::new("`Idempotency-Key` and `message_id` differ: give one".into()))
        }
        (header, other) => Ok(header.or(other)),
    }
}

//! `POST /v1/request`.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::super::keys::Keys;
use super::super::message::{self, REQUEST, Source};
use super::super::request::Fault;
use super::super::{answer, fields, router::App};
use super::{bad_request, enter, only, status};
use crate::gateway::lease::Lease;
use crate::gateway::tcp::Watch;
use crate::gateway::{body, reply};
use crate::ingress::{Publish, Unanswered};

/// Publishes a message and answers with the reply to it.
pub(in super::super) async fn request(
    State(app): State<App>,
    Extension(lease): Extension<Lease>,
    Extension(watch): Extension<Watch>,
    request: Request,
) -> Response {
    let (visit, parameters) = match enter(&app, &request, None).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    if let Err(fault) = only(&parameters, &[]) {
        return bad_request(&fault);
    }
    let bytes = match body::read(request.into_body(), &app.limits).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let (publish, timeout) = match read(&bytes) {
        Ok(read) => read,
        Err(fault) => return bad_request(&fault),
    };
    drop(bytes);
    let topic = publish.topic.clone();
    let replied = match visit.ingress().request(visit.session(), publish, timeout).await {
        Ok(asked) => tokio::select! {
            replied = asked.reply(lease.shutdown()) => replied,
            // Nobody is there to read it.
            () = watch.broken() => Err(Unanswered::Nobody(timeout)),
        },
        Err(unanswered) => Err(unanswered),
    };
    let status = replied.as_ref().map_or_else(|why| status::of_request(why, &topic), |_| StatusCode::OK);
    let mut response = reply::json(status, answer::body(|object| answer::replied(object, &replied)));
    if let Err(Unanswered::Refused(outcome)) = &replied {
        status::add_retry_after(&mut response, std::iter::once(outcome));
    }
    response
}

fn read(bytes: &Bytes) -> Result<(Publish, Duration), Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("the body is not UTF-8".into()))?;
    let keys =
        Keys::read(text).map_err(|error| Fault::new(format!("a request is one JSON object: {error}")))?;
    keys.only(&REQUEST)?;
    let publish =
        message::publish(&keys, &Source { text, bytes, memory: body::memory(bytes), before: None })?;
    Ok((publish, fields::timeout(&keys)?))
}

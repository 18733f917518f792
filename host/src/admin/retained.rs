//! Retained messages: which there are, and getting rid of one.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use weir_contract::topic::{self, Pattern};

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::retained::{Kept, Looked};
use crate::sequencer::Sequencer;
use crate::store::SubmitError;

/// Messages of one answer.
const PAGE: usize = 1_000;
/// Topics that are looked at in one go, so that publishers need not wait for all of them.
const LOOK: usize = 1_024;

/// The parameters of `GET /v1/retained`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// A pattern; default `#`.
    topic: Option<String>,
    /// `next` of the answer before.
    after: Option<String>,
    /// 1 to 1,000, default 1,000.
    limit: Option<usize>,
}

/// The parameters of `DELETE /v1/retained`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    topic: String,
}

/// The answer: a page in order of topics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RetainedList {
    /// How many there are of all topics.
    pub messages: usize,
    /// Their bytes: topics, metadata and payloads.
    pub bytes: usize,
    /// Those that match.
    pub retained: Vec<RetainedInfo>,
    /// Where the next page begins (`after`); none: this is the last one.
    pub next: Option<String>,
}

/// One line of `weir retained list`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RetainedInfo {
    /// Its topic.
    pub topic: String,
    /// Bytes of its payload.
    pub bytes: usize,
    /// The publisher's principal.
    pub from: String,
    /// When the router took it, Unix microseconds.
    pub time_us: u64,
    /// As the publisher gave it.
    pub content_type: Option<String>,
    /// When it goes, Unix microseconds.
    pub expires_us: Option<u64>,
    /// The log in which it stands, if it does.
    pub log: Option<String>,
    /// The life of the log in which it was given its offset.
    pub epoch: Option<u64>,
    /// Its place there.
    pub offset: Option<u64>,
}

impl RetainedInfo {
    fn of(kept: &Kept) -> Self {
        let (message, place) = (&kept.message, kept.place.as_ref());
        Self {
            topic: message.topic.to_string(),
            bytes: message.payload.len(),
            from: message.publisher().to_owned(),
            time_us: message.received_us(),
            content_type: message.content_type().map(str::to_owned),
            expires_us: kept.expires_us,
            log: place.map(|place| place.log.to_string()),
            epoch: place.map(|place| place.epoch),
            offset: place.map(|place| place.offset),
        }
    }
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<RetainedList>, Fault> {
    let Query(asked) = asked.map_err(|error| Fault::invalid(error.body_text()))?;
    let pattern = asked.topic.as_deref().unwrap_or("#");
    let pattern = Pattern::parse(pattern)
        .map_err(|error| Fault::invalid(format!("topic pattern {pattern:?}: {error}")))?;
    let limit = asked.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Fault::invalid(format!("limit {limit}: 1 to {PAGE} are accepted")));
    }
    let page = blocking(move || page(&state.sequencer, &pattern, asked.after.map(Into::into), limit));
    page.await.map(Json)
}

fn page(sequencer: &Sequencer, pattern: &Pattern, after: Option<Arc<str>>, limit: usize) -> RetainedList {
    let retained = sequencer.retained();
    let (messages, bytes) = retained.usage();
    let mut list = RetainedList { messages, bytes, retained: Vec::new(), next: None };
    let mut after = after;
    loop {
        let looked = retained.look(pattern, after.as_deref(), LOOK, |_, kept| {
            if list.retained.len() == limit {
                return ControlFlow::Break(());
            }
            list.retained.push(RetainedInfo::of(kept));
            ControlFlow::Continue(())
        });
        match looked {
            Looked::UpTo(topic) => after = Some(topic),
            Looked::All => return list,
            Looked::Stopped => {
                list.next = list.retained.last().map(|last| last.topic.clone());
                return list;
            }
        }
    }
}

pub(super) async fn delete(
    State(state): State<Arc<AdminState>>,
    named: Result<Query<Named>, QueryRejection>,
) -> Result<Json<serde_json::Value>, Fault> {
    let Query(Named { topic }) = named.map_err(|error| Fault::invalid(error.body_text()))?;
    topic::check(&topic).map_err(|error| Fault::invalid(format!("topic {topic:?}: {error}")))?;
    let gone = topic.clone();
    let (done, wait) = sync_channel(1);
    let deleted = blocking(move || {
        let there =
            state.sequencer.forget_retained(&gone, Box::new(move |result| drop(done.send(result))))?;
        // Answered when it is on the disk: no crash brings it back.
        if there {
            wait.recv().map_err(|_| SubmitError::Closed)?.map_err(SubmitError::Broken)?;
        }
        Ok(there)
    });
    let unavailable =
        |error: SubmitError| Fault::new(StatusCode::INSUFFICIENT_STORAGE, "unavailable", error.to_string());
    if !deleted.await?.map_err(unavailable)? {
        let reason = format!("the topic {topic:?} has no retained message");
        return Err(Fault::new(StatusCode::NOT_FOUND, "not-found", reason));
    }
    tracing::info!(topic, "retained message deleted");
    Ok(Json(serde_json::json!({"deleted": topic})))
}

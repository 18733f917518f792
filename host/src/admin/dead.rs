//! Dead letters: which there are, what they say, and getting rid of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use ulid::Ulid;

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::dead_letters::{Letter, NotKept, Why};

/// Letters of one answer.
const PAGE: usize = 1_000;

/// The parameters of `GET /v1/dead`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// 1 to 1,000, default 1,000.
    limit: Option<usize>,
    /// `next` of the answer before.
    before: Option<String>,
}

/// The answer: newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadList {
    /// Letters that are kept, of `dead_letters.max_letters` at most.
    pub letters: usize,
    /// Their bytes, of `dead_letters.max_bytes` at most; beyond either the oldest goes.
    pub bytes: usize,
    /// A page of them.
    pub dead: Vec<DeadInfo>,
    /// Where the next page begins (`before`); none: this is the last one.
    pub next: Option<String>,
}

/// One line of `weir dead list`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadInfo {
    /// Its id, a ULID.
    pub id: String,
    /// When it was set aside, Unix microseconds.
    pub time_us: u64,
    /// Why, and by whom.
    #[serde(flatten)]
    pub why: Why,
    /// The message's topic; `$outbox/NAME` of a post, `$gap` of what a reader never saw.
    pub topic: String,
    /// Bytes of its payload.
    pub payload_bytes: usize,
}

/// A whole letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// As in the list.
    #[serde(flatten)]
    pub info: DeadInfo,
    /// Who published the message.
    pub from: String,
    /// When the router took it, Unix microseconds; 0 where it is no message of a publisher.
    pub received_us: u64,
    /// As the publisher gave it.
    pub content_type: Option<String>,
    /// The payload, if it is text.
    pub text: Option<String>,
    /// Else in base64.
    pub base64: Option<String>,
}

impl DeadInfo {
    fn of(letter: &Letter) -> Self {
        Self {
            id: letter.id.to_string(),
            time_us: letter.time_us,
            why: letter.about.clone(),
            topic: letter.message.topic.to_string(),
            payload_bytes: letter.message.payload.len(),
        }
    }
}

impl DeadLetter {
    fn of(letter: &Letter) -> Self {
        let message = &letter.message;
        let text = std::str::from_utf8(&message.payload).ok().map(str::to_owned);
        Self {
            info: DeadInfo::of(letter),
            from: message.publisher().to_owned(),
            received_us: message.received_us(),
            content_type: message.content_type().map(str::to_owned),
            base64: text.is_none().then(|| STANDARD.encode(&message.payload)),
            text,
        }
    }
}

pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<DeadList>, Fault> {
    let Query(Asked { limit, before }) = asked.map_err(|error| Fault::invalid(error.body_text()))?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Fault::invalid(format!("limit {limit}: 1 to {PAGE} are accepted")));
    }
    let before = before.as_deref().map(parse).transpose()?;
    let (letters, bytes) = state.dead_letters.usage();
    let all = read(&state).await?;
    let end = before.map_or(all.len(), |id| all.iter().position(|letter| letter.id == id).unwrap_or(0));
    let page: Vec<_> = all.iter().take(end).rev().take(limit).map(DeadInfo::of).collect();
    let next = (end > page.len()).then(|| page.last().map(|last| last.id.clone())).flatten();
    Ok(Json(DeadList { letters, bytes, dead: page, next }))
}

pub(super) async fn show(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<DeadLetter>, Fault> {
    let id = parse(&id)?;
    let all = read(&state).await?;
    let letter = all.iter().find(|letter| letter.id == id).ok_or_else(|| unknown(id))?;
    Ok(Json(DeadLetter::of(letter)))
}

pub(super) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Fault> {
    let id = parse(&id)?;
    if purge(&state, Some(vec![id])).await? == 0 {
        return Err(unknown(id));
    }
    Ok(Json(json!({"deleted": 1})))
}

pub(super) async fn delete_all(
    State(state): State<Arc<AdminState>>,
) -> Result<Json<serde_json::Value>, Fault> {
    let deleted = purge(&state, None).await?;
    Ok(Json(json!({"deleted": deleted})))
}

pub(super) fn parse(id: &str) -> Result<Ulid, Fault> {
    Ulid::from_string(id)
        .map_err(|_| Fault::invalid(format!("{id:?} is no id, as `weir dead list` shows them")))
}

fn unknown(id: Ulid) -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "not-found", format!("there is no dead letter {id}"))
}

fn unavailable(reason: impl ToString) -> Fault {
    Fault::new(StatusCode::INSUFFICIENT_STORAGE, "unavailable", reason.to_string())
}

pub(super) async fn read(state: &Arc<AdminState>) -> Result<Vec<Letter>, Fault> {
    let letters = Arc::clone(&state.dead_letters);
    blocking(move || letters.letters()).await?.map_err(unavailable)
}

async fn purge(state: &Arc<AdminState>, ids: Option<Vec<Ulid>>) -> Result<usize, Fault> {
    let letters = Arc::clone(&state.dead_letters);
    let deleted = blocking(move || letters.purge(ids.as_deref())).await?;
    let deleted = deleted.map_err(|error: NotKept| unavailable(error))?;
    tracing::info!(deleted, "dead letters deleted");
    Ok(deleted)
}

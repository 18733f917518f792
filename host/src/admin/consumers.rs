//! Durable readers of the logs: where they stand, and moving or deleting them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::durable::{ConsumerInfo, Refused};
use crate::message::{Places, Since};

/// Consumers, as the operator sees and changes them. Calls may wait for the disk.
pub trait ConsumerView: Send + Sync {
    /// All of them, those of storage plugins and webhooks too.
    fn list(&self) -> Vec<ConsumerInfo>;
    /// Moves one.
    fn reset(&self, id: &str, since: &Since) -> Result<(), Refused>;
    /// Deletes one.
    fn delete(&self, id: &str) -> Result<(), Refused>;
}

/// The body of `POST /v1/consumers/ID/reset`: `{"to":"start"}`, `{"to":"now"}`, or behind places of its logs:
/// `{"to":{"LOG":{"epoch":1,"offset":7}}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// Where to go on.
    pub to: To,
}

/// See [`ResetRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum To {
    /// `start` or `now`.
    Word(String),
    /// The last place that counts as seen, by log; logs that are not named stay where they are.
    Places(BTreeMap<String, PlaceIn>),
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceIn {
    /// The life of the log.
    pub epoch: u64,
    /// The offset.
    pub offset: u64,
}

impl To {
    fn since(self) -> Result<Since, Fault> {
        match self {
            Self::Word(word) if word == "start" => Ok(Since::Start),
            Self::Word(word) if word == "now" => Ok(Since::Now),
            Self::Word(word) => Err(accepted(&format!("found {word:?}"))),
            Self::Places(places) => {
                let places = places.into_iter().map(|(log, at)| (log.into(), (at.epoch, at.offset)));
                Ok(Since::Places(Places(places.collect())))
            }
        }
    }
}

fn accepted(found: &str) -> Fault {
    let to = r#"{"to":"start"}, {"to":"now"} or {"to":{"LOG":{"epoch":1,"offset":7}}}"#;
    Fault::invalid(format!("{found}: accepted are {to}"))
}

pub(super) async fn list(State(state): State<Arc<AdminState>>) -> Result<impl IntoResponse, Fault> {
    let consumers = Arc::clone(&state.consumers);
    let all = blocking(move || consumers.list()).await?;
    Ok(Json(json!({"consumers": all})))
}

pub(super) async fn reset(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<serde_json::Value>, Fault> {
    let asked: ResetRequest =
        serde_json::from_slice(&body).map_err(|error| accepted(&format!("the body is wrong ({error})")))?;
    let since = asked.to.since()?;
    let (consumers, moved) = (Arc::clone(&state.consumers), id.clone());
    blocking(move || consumers.reset(&moved, &since)).await?.map_err(refused)?;
    Ok(Json(json!({"reset": id})))
}

pub(super) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<serde_json::Value>, Fault> {
    let (consumers, gone) = (Arc::clone(&state.consumers), id.clone());
    blocking(move || consumers.delete(&gone)).await?.map_err(refused)?;
    Ok(Json(json!({"deleted": id})))
}

fn refused(refused: Refused) -> Fault {
    match refused {
        Refused::Invalid(reason) => Fault::invalid(reason),
        Refused::ShuttingDown => {
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the router is stopping")
        }
        other => Fault::new(StatusCode::INSUFFICIENT_STORAGE, "unavailable", other.to_string()),
    }
}

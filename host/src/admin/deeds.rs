//! What the operator does to bindings: an older version again, off, on, forgotten; and what happened to them.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::plugin::{Deed, Refused};

type Answer = Result<Json<Value>, Fault>;

/// The body of `POST /v1/plugins/NAME/rollback`; without one, the version before.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// A kept version: its number, or the first digits of its component's digest.
    to: Option<String>,
}

pub(super) async fn rollback(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Answer {
    let Asked { to } = match &*body {
        [] => Asked::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            let accepted = r#"accepted are no body and {"to":"VERSION"}"#;
            Fault::invalid(format!("the body is wrong ({error}): {accepted}"))
        })?,
    };
    act(state, name, Deed::Rollback(to)).await
}

pub(super) async fn disable(State(state): State<Arc<AdminState>>, Path(name): Path<String>) -> Answer {
    act(state, name, Deed::Disable).await
}

pub(super) async fn enable(State(state): State<Arc<AdminState>>, Path(name): Path<String>) -> Answer {
    act(state, name, Deed::Enable).await
}

pub(super) async fn forget(State(state): State<Arc<AdminState>>, Path(name): Path<String>) -> Answer {
    act(state, name, Deed::Forget).await
}

pub(super) async fn history(State(state): State<Arc<AdminState>>, Path(name): Path<String>) -> Answer {
    let asked = name.clone();
    let lines = blocking(move || state.plugins.history(&asked)).await?.map_err(refused)?;
    Ok(Json(json!({"name": name, "history": lines})))
}

async fn act(state: Arc<AdminState>, name: String, deed: Deed) -> Answer {
    let asked = name.clone();
    let done = blocking(move || state.plugins.act(&asked, deed)).await?.map_err(refused)?;
    tracing::info!(plugin = name, done, "the operator changed a plugin");
    Ok(Json(json!({"name": name, "done": done})))
}

fn refused(error: Refused) -> Fault {
    let (status, outcome) = match error {
        Refused::Unknown { .. } => (StatusCode::NOT_FOUND, "not-found"),
        Refused::Impossible(_) => (StatusCode::CONFLICT, "invalid"),
        Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down"),
    };
    Fault::new(status, outcome, error.to_string())
}

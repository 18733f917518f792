//! Storage plugins' data, made anew from the log.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use serde::Deserialize;

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::consumer::{RebuildRefused, RebuildReport};

/// The body of `POST /v1/plugins/NAME/rebuild`; without one, nothing special is wanted.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Also when the logs no longer have everything that the data may have come of.
    partial: bool,
}

pub(super) async fn begin(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Fault> {
    let Asked { partial } = match &*body {
        [] => Asked::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            let accepted = r#"accepted are no body and {"partial":true}"#;
            Fault::invalid(format!("the body is wrong ({error}): {accepted}"))
        })?,
    };
    let report = blocking(move || {
        let kind = state.plugins.list().into_iter().find(|plugin| plugin.name == name).map(|it| it.kind);
        match kind.as_deref() {
            Some("storage" | "") | None => state.rebuilds.rebuild(&name, partial).map_err(refused),
            Some(kind) => {
                let reason =
                    format!("{name} is of the kind {kind}: only storage plugins have data to be rebuilt");
                Err(Fault::new(StatusCode::CONFLICT, "invalid", reason))
            }
        }
    });
    let report = report.await??;
    Ok((StatusCode::ACCEPTED, Json(report)).into_response())
}

pub(super) async fn report(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<RebuildReport>, Fault> {
    if let Some(report) = state.rebuilds.rebuilds().remove(&name) {
        return Ok(Json(report));
    }
    let is_there = state.plugins.list().iter().any(|plugin| plugin.name == name);
    let reason = if is_there {
        format!("{name} has not been rebuilt since the router started")
    } else {
        format!("no plugin is named {name:?}: if there was one, its binding is gone, and so is its rebuild")
    };
    Err(Fault::new(StatusCode::NOT_FOUND, "not-found", reason))
}

fn refused(error: RebuildRefused) -> Fault {
    let (status, outcome) = match error {
        RebuildRefused::Unknown { .. } => (StatusCode::NOT_FOUND, "not-found"),
        RebuildRefused::Running(_) | RebuildRefused::Gone { .. } => (StatusCode::CONFLICT, "invalid"),
        RebuildRefused::Store(_) | RebuildRefused::Thread(_) => {
            (StatusCode::INSUFFICIENT_STORAGE, "unavailable")
        }
    };
    Fault::new(status, outcome, error.to_string())
}

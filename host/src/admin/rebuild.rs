//! Storage plugins' data, made anew from the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::consumer::{RebuildRefused, RebuildReport};

pub(super) async fn begin(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Response, Fault> {
    let report = blocking(move || {
        let kind = state.plugins.list().into_iter().find(|plugin| plugin.name == name).map(|it| it.kind);
        match kind.as_deref() {
            Some("storage" | "") | None => state.rebuilds.rebuild(&name).map_err(refused),
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
    let none = || {
        let reason = format!("{name} has not been rebuilt since the router started");
        Fault::new(StatusCode::NOT_FOUND, "not-found", reason)
    };
    state.rebuilds.rebuilds().remove(&name).map(Json).ok_or_else(none)
}

fn refused(error: RebuildRefused) -> Fault {
    let (status, outcome) = match error {
        RebuildRefused::Unknown { .. } => (StatusCode::NOT_FOUND, "not-found"),
        RebuildRefused::Running(_) => (StatusCode::CONFLICT, "invalid"),
        RebuildRefused::Store(_) | RebuildRefused::Thread(_) => {
            (StatusCode::INSUFFICIENT_STORAGE, "unavailable")
        }
    };
    Fault::new(status, outcome, error.to_string())
}

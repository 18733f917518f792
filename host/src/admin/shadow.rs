//! Candidates beside live versions: what came of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::AdminState;
use super::answer::Fault;
use crate::plugin::PluginState;
use crate::plugin::shadow::ShadowReport;

pub(super) async fn report(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<ShadowReport>, Fault> {
    if let Some(report) = state.plugins.shadow(&name) {
        return Ok(Json(report));
    }
    let reason = match state.plugins.list().into_iter().find(|plugin| plugin.name == name) {
        None => format!("no plugin is named {name:?}; `weir plugin list` shows the names"),
        Some(plugin) if plugin.state == PluginState::Active => format!(
            "{name} is live and no shadow: a shadow has `mode = \"shadow\"` and `shadow-of` in its binding"
        ),
        Some(plugin) => format!("{name} does not run: {}", plugin.reason.unwrap_or_default()),
    };
    Err(Fault::new(StatusCode::NOT_FOUND, "not-found", reason))
}

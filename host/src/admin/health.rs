//! `/healthz`, `/readyz`, `/metrics`: open to whoever reaches the listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::AdminState;
use crate::metrics::Load;
use crate::session::Sessions;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn healthz() -> impl IntoResponse {
    Json(serde_json::json!({"ok": true}))
}

pub(super) async fn readyz(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    let reasons = state.ready.reasons();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(serde_json::json!({"ready": reasons.is_empty(), "reasons": reasons})))
}

pub(super) async fn metrics(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    state.metrics.set_load(&load(&state.sessions));
    state.metrics.store_incidents.set(i64::try_from(state.logs.incident_count()).unwrap_or(i64::MAX));
    ([(header::CONTENT_TYPE, TEXT)], state.metrics.encode())
}

/// Counted when asked for, so that no connection's way to end can be forgotten.
fn load(sessions: &Sessions) -> BTreeMap<&'static str, Load> {
    let mut loads = BTreeMap::<_, Load>::new();
    for session in sessions.all() {
        let load = loads.entry(session.gateway).or_default();
        load.connections += 1;
        load.subscriptions += i64::try_from(session.subscription_count()).unwrap_or(i64::MAX);
        let backlog = session.outbound.backlog();
        load.queued_messages += i64::try_from(backlog.items).unwrap_or(i64::MAX);
        load.queued_bytes += i64::try_from(backlog.bytes).unwrap_or(i64::MAX);
    }
    loads
}

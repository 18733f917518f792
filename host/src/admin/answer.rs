//! Answers in JSON, errors too: `{"ok":false,"outcome":…,"reason":…}` as on the public listener.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A refusal.
#[derive(Debug, Serialize)]
pub(super) struct Fault {
    ok: bool,
    outcome: &'static str,
    reason: String,
    #[serde(skip)]
    status: StatusCode,
}

impl Fault {
    pub(super) fn new(status: StatusCode, outcome: &'static str, reason: impl Into<String>) -> Self {
        Self { ok: false, outcome, reason: reason.into(), status }
    }

    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", reason)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// Store and plugins wait for disks and threads, which must not hold up other requests.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let stopped = |_| Fault::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the router is stopping");
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}

pub(super) async fn not_found(uri: Uri) -> Fault {
    let reason = format!(
        "there is no {:?}: there are /healthz, /readyz, /metrics, /v1/keys, /v1/logins, /v1/tenants, /v1/users, /v1/rooms, /v1/endpoints, /v1/tenta, /v1/plugins, /v1/consumers, /v1/logs, /v1/retained, /v1/dead, /v1/trace, /v1/connections, /v1/subscriptions",
        uri.path()
    );
    Fault::new(StatusCode::NOT_FOUND, "not-found", reason)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Fault {
    let reason = format!("{method} is not for {:?}: see the header `Allow`", uri.path());
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", reason)
}

//! API keys: list, make, take back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::accounts::fault;
use super::answer::{Fault, blocking};
use crate::accounts::{KeyInfo, NewKey};
use crate::config;
use crate::message::now_us;
use crate::session::Session;

/// Far more than 128 patterns of 512 bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// How long the body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// Body of `POST /v1/keys`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// Becomes the principal's name.
    pub name: String,
    /// None = `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `device`, `page`, `sensor` or `service`.
    pub origin: String,
    /// Patterns of topics to publish to.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Patterns of topics to subscribe to.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// Stamped on every message.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// `"30d"`: from now on; none = never.
    #[serde(default)]
    pub expires: Option<String>,
}

impl KeyRequest {
    /// As the accounts take it. Errors name the duration.
    pub fn into_new_key(self) -> Result<NewKey, String> {
        let expires_us = match self.expires.as_deref().map(|text| (text, config::parse_duration(text))) {
            None => None,
            Some((_, Some(after))) => {
                Some(now_us().saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
            }
            Some((text, None)) => {
                return Err(format!(
                    "expires: found {text:?}, expected a duration such as \"24h\" or \"30d\""
                ));
            }
        };
        Ok(NewKey {
            name: self.name,
            tenant: self.tenant,
            origin: self.origin,
            publish: self.publish,
            subscribe: self.subscribe,
            attributes: self.attributes.into_iter().collect(),
            expires_us,
        })
    }
}

/// Answer of `POST /v1/keys`: the only place where the key ever stands.
#[derive(Serialize, Deserialize)]
pub struct CreatedKey {
    /// To be handed to the client.
    pub key: String,
    /// What may be shown of it.
    #[serde(flatten)]
    pub info: KeyInfo,
}

/// Answer of `DELETE /v1/keys/ID`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RevokedKey {
    /// Connections that were closed because they rested on it.
    pub connections_closed: usize,
    /// The key.
    #[serde(flatten)]
    pub info: KeyInfo,
}

pub(super) async fn list(State(state): State<Arc<AdminState>>) -> impl IntoResponse {
    Json(serde_json::json!({"keys": state.accounts.list()}))
}

pub(super) async fn create(State(state): State<Arc<AdminState>>, body: Body) -> Result<Response, Fault> {
    let bytes = read(body).await?;
    let request: KeyRequest =
        serde_json::from_slice(&bytes).map_err(|error| Fault::invalid(format!("the body: {error}")))?;
    let new = request.into_new_key().map_err(Fault::invalid)?;
    let (key, info) =
        blocking(move || state.accounts.create_key(new)).await?.map_err(|error| fault(&error))?;
    tracing::info!(key = info.id, name = info.name, origin = info.origin, "key created");
    Ok((StatusCode::CREATED, Json(CreatedKey { key, info })).into_response())
}

pub(super) async fn revoke(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<RevokedKey>, Fault> {
    let (accounts, account) = (Arc::clone(&state.accounts), id.clone());
    let rests_on_it = |session: &Session| session.principal.account.as_deref() == Some(&id);
    // Counted before: whoever else watches the accounts may close them first.
    let connected = state.sessions.all().iter().filter(|session| rests_on_it(session)).count();
    let revoked = blocking(move || accounts.revoke(&account)).await?;
    // Also when the disk refused: the key does not work any more, so its connections must not live on.
    let closed = state.sessions.close_where(rests_on_it, 1008, "key revoked");
    let info = revoked.map_err(|error| fault(&error))?;
    let connections_closed = connected.max(closed);
    tracing::info!(key = info.id, name = info.name, connections_closed, "key revoked");
    Ok(Json(RevokedKey { connections_closed, info }))
}

pub(super) async fn read(body: Body) -> Result<Bytes, Fault> {
    match tokio::time::timeout(BODY_DEADLINE, axum::body::to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(Fault::invalid(format!("the body, at most {MAX_BODY_BYTES} bytes: {error}"))),
        Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "invalid", "the body did not come in time")),
    }
}

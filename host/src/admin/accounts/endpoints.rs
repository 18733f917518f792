//! `/v1/endpoints`. Paths name them by id: their codes are credentials, and paths end up in logs.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminState, Deed, Fault, NotDone, act, change, main_tenant};
use crate::accounts::{Accounts, AccountsError, Endpoint, EndpointInfo, NewEndpoint, RoomName};

/// Body of `POST /v1/endpoints`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// The room's.
    #[serde(default = "main_tenant")]
    pub tenant: String,
    /// The room's.
    pub owner: String,
    /// An existing one.
    pub room: String,
    /// `read`, `write` or `readwrite`.
    pub permissions: String,
    /// Stands on every message.
    #[serde(default = "anonymous")]
    pub identity: String,
    /// None = 100 random letters and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Answer of `GET /v1/endpoints`.
#[derive(Serialize, Deserialize)]
pub struct EndpointList {
    /// By room, oldest first.
    pub endpoints: Vec<EndpointInfo>,
}

fn anonymous() -> String {
    "Anonymous".to_owned()
}

impl Deed for EndpointRequest {
    type Done = EndpointInfo;

    fn apply(self, accounts: &Accounts) -> Result<EndpointInfo, NotDone> {
        if !["read", "write", "readwrite", "read_and_write"].contains(&self.permissions.as_str()) {
            let found = self.permissions;
            return Err(NotDone::Invalid(format!(
                "permissions: found {found:?}, accepted are read, write, readwrite"
            )));
        }
        let room = RoomName { tenant: self.tenant, owner: self.owner, room: self.room };
        let (permissions, identity) = (self.permissions, self.identity);
        let new = NewEndpoint { room, code: self.code, permissions, identity };
        Ok(Endpoint::clone(&*accounts.create_endpoint(new)?))
    }
}

/// Deletes the endpoint of this id or code. Blocks until it is on disk.
pub(crate) fn remove(accounts: &Accounts, id: &str) -> Result<EndpointInfo, AccountsError> {
    let code = accounts.endpoint_of_id(id).map_or_else(|| id.to_owned(), |found| found.code.clone());
    Ok(Endpoint::clone(&*accounts.delete_endpoint(&code)?))
}

pub(in crate::admin) async fn list(State(state): State<Arc<AdminState>>) -> Json<EndpointList> {
    let endpoints = state.accounts.endpoints();
    Json(EndpointList { endpoints: endpoints.iter().map(|endpoint| Endpoint::clone(endpoint)).collect() })
}

pub(in crate::admin) async fn create(
    State(state): State<Arc<AdminState>>,
    body: Body,
) -> Result<(StatusCode, Json<EndpointInfo>), Fault> {
    let made = act::<EndpointRequest>(state, body).await?;
    tracing::info!(endpoint = made.id, owner = made.room.owner, room = made.room.room, "endpoint created");
    Ok((StatusCode::CREATED, Json(made)))
}

pub(in crate::admin) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<EndpointInfo>, Fault> {
    let gone = change(state, move |accounts| Ok(remove(accounts, &id)?)).await?;
    tracing::info!(endpoint = gone.id, owner = gone.room.owner, room = gone.room.room, "endpoint deleted");
    Ok(Json(gone))
}

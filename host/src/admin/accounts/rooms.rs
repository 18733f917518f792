//! `/v1/rooms`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminState, Deed, Fault, NotDone, act, change, main_tenant};
use crate::accounts::{Accounts, NewRoom, Room, RoomInfo, RoomName, Unique};
use crate::config::Endpoint;

/// Body of `POST /v1/rooms`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRequest {
    /// The owner's.
    #[serde(default = "main_tenant")]
    pub tenant: String,
    /// An existing user.
    pub owner: String,
    /// Unique among the owner's rooms.
    pub room: String,
    /// Where its messages are posted; empty = nowhere.
    #[serde(default)]
    pub webhook: String,
}

/// Body of `PUT /v1/rooms/TENANT/OWNER/ROOM/webhook`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Empty = nowhere.
    pub webhook: String,
}

/// Answer of `GET /v1/rooms`.
#[derive(Debug, Serialize, Deserialize)]
pub struct RoomList {
    /// By tenant, owner and name.
    pub rooms: Vec<RoomInfo>,
}

impl Deed for RoomRequest {
    type Done = RoomInfo;

    fn apply(self, accounts: &Accounts) -> Result<RoomInfo, NotDone> {
        check_url(&self.webhook)?;
        let name = RoomName { tenant: self.tenant, owner: self.owner, room: self.room };
        let room = accounts.create_room(NewRoom { name, webhook: self.webhook, unique: Unique::Owner })?;
        Ok(RoomInfo { room: Room::clone(&room), endpoints: 0 })
    }
}

impl WebhookRequest {
    /// Sets it. Blocks until it is on disk.
    pub fn apply(&self, accounts: &Accounts, room: &RoomName) -> Result<Room, NotDone> {
        check_url(&self.webhook)?;
        Ok(Room::clone(&*accounts.set_webhook(room, &self.webhook)?))
    }
}

/// What could never be posted to is refused while the operator is there to read it.
fn check_url(url: &str) -> Result<(), NotDone> {
    if url.is_empty() {
        return Ok(());
    }
    let parsed = url.parse::<Endpoint>();
    parsed.map(drop).map_err(|error| NotDone::Invalid(format!("the webhook's URL: {error}")))
}

pub(in crate::admin) async fn list(State(state): State<Arc<AdminState>>) -> Json<RoomList> {
    Json(RoomList { rooms: state.accounts.rooms() })
}

pub(in crate::admin) async fn create(
    State(state): State<Arc<AdminState>>,
    body: Body,
) -> Result<(StatusCode, Json<RoomInfo>), Fault> {
    let info = act::<RoomRequest>(state, body).await?;
    let name = &info.room.name;
    tracing::info!(tenant = name.tenant, owner = name.owner, room = name.room, "room created");
    Ok((StatusCode::CREATED, Json(info)))
}

pub(in crate::admin) async fn webhook(
    State(state): State<Arc<AdminState>>,
    Path((tenant, owner, room)): Path<(String, String, String)>,
    body: Body,
) -> Result<Json<Room>, Fault> {
    let bytes = crate::admin::keys::read(body).await?;
    let request: WebhookRequest =
        serde_json::from_slice(&bytes).map_err(|error| Fault::invalid(format!("the body: {error}")))?;
    let name = RoomName { tenant, owner, room };
    Ok(Json(change(state, move |accounts| request.apply(accounts, &name)).await?))
}

pub(in crate::admin) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path((tenant, owner, room)): Path<(String, String, String)>,
) -> Result<Json<Room>, Fault> {
    let name = RoomName { tenant, owner, room };
    let room = change(state, move |accounts| Ok(accounts.delete_room(&name)?)).await?;
    let name = &room.name;
    tracing::info!(tenant = name.tenant, owner = name.owner, room = name.room, "room deleted");
    Ok(Json(Room::clone(&room)))
}

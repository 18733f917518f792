//! What users do over HTTP: rooms and endpoints.

use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value};

use super::route::Call;
use super::{App, access, answer, wire};
use crate::accounts::{Accounts, AccountsError, NewEndpoint, NewRoom, RoomName, Unique, User};
use crate::config::Flavour;
use crate::gateway::body;

/// What the first version knew.
const PERMISSIONS: [&str; 4] = ["read", "write", "readwrite", "read_and_write"];

/// Methods, then the key, then what is asked, as the original has it.
pub(super) async fn answer(app: &App, request: Request, call: Call<'_>) -> Response {
    let with_body = matches!(call, Call::CreateRoom | Call::AddEndpoint);
    match (with_body, request.method()) {
        (true, &Method::POST) | (false, &Method::GET | &Method::HEAD) => {}
        (true, _) => return answer::wrong_method(),
        (false, _) => return answer::forged(),
    }
    let Some(user) = access::user(app, request.headers()) else { return answer::no_key() };
    match call {
        Call::CreateRoom | Call::AddEndpoint => {
            let bytes = match body::read(request.into_body(), &app.limits).await {
                Ok(bytes) => bytes,
                Err(refusal) => return refusal,
            };
            let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(&bytes) else {
                return answer::failed();
            };
            match call {
                Call::CreateRoom => create_room(app, user, &fields).await,
                _ => add_endpoint(app, user, &fields).await,
            }
        }
        Call::EarlyCreateRoom(room) => early_create_room(app, user, room).await,
        Call::EarlyAddEndpoint(room, permissions) => {
            let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
            let all = query.map(|Query(all)| all).unwrap_or_default();
            let identity = all.into_iter().find(|(name, _)| name == "identity").map(|(_, value)| value);
            early_add_endpoint(app, user, room, permissions, identity).await
        }
        Call::DeleteRoom(room) => {
            let name = RoomName::of(&user.name, room);
            deleted(app, "Room deleted successfully", move |all| all.delete_room(&name).map(drop)).await
        }
        Call::DeleteEndpoint(room, code) => {
            let (name, code) = (RoomName::of(&user.name, room), code.to_owned());
            let delete = move |all: &Accounts| match all.endpoint(&code).filter(|one| one.room == name) {
                Some(endpoint) => all.delete_endpoint(&endpoint.code).map(drop),
                None => Err(AccountsError::Unknown { what: "endpoint", name: String::new() }),
            };
            deleted(app, "Endpoint deleted successfully", delete).await
        }
        Call::ListRooms => list_rooms(app, &user),
        Call::ListEndpoints(room) => list_endpoints(app, &RoomName::of(&user.name, room)),
    }
}

async fn create_room(app: &App, user: Arc<User>, fields: &Map<String, Value>) -> Response {
    let Some(room) = text(fields, "room_name") else {
        return answer::text(StatusCode::BAD_REQUEST, "Invalid room name");
    };
    let name = RoomName::of(&user.name, &room);
    let webhook = text(fields, "webhook").unwrap_or_default();
    let made = change(app, move |all| {
        let new = NewRoom { name: name.clone(), webhook: webhook.clone(), unique: Unique::Owner };
        match all.create_room(new) {
            Ok(_) => Ok("Room created successfully"),
            Err(AccountsError::Exists { .. }) => {
                all.set_webhook(&name, &webhook)?;
                Ok("Room already exists. Webhook updated successfully.")
            }
            Err(error) => Err(error),
        }
    });
    made.await.map_or_else(|error| refused(&error, "Invalid room name"), answer::done)
}

async fn early_create_room(app: &App, user: Arc<User>, room: &str) -> Response {
    let name = RoomName::of(&user.name, room);
    let new = NewRoom { name, webhook: String::new(), unique: Unique::Tenant };
    match change(app, move |all| all.create_room(new).map(drop)).await {
        Ok(()) => answer::done("Room created successfully"),
        Err(AccountsError::Exists { .. }) => answer::text(StatusCode::NOT_FOUND, "Room already exists"),
        Err(error) => refused(&error, "Invalid room name"),
    }
}

async fn add_endpoint(app: &App, user: Arc<User>, fields: &Map<String, Value>) -> Response {
    let Some(room) = text(fields, "room_name") else {
        return answer::text(StatusCode::BAD_REQUEST, "Invalid room name");
    };
    let wrong = "Invalid permissions: read, write or readwrite";
    let Some(permissions) = text(fields, "permissions") else {
        return answer::text(StatusCode::BAD_REQUEST, wrong);
    };
    let identity = match fields.get("identity") {
        None => "Anonymous".to_owned(),
        Some(Value::String(identity)) => identity.clone(),
        Some(other) => other.to_string(),
    };
    let room = RoomName::of(&user.name, &room);
    added(app, NewEndpoint { room, code: None, permissions, identity }, true).await
}

async fn early_add_endpoint(
    app: &App,
    user: Arc<User>,
    room: &str,
    permissions: &str,
    identity: Option<String>,
) -> Response {
    if !PERMISSIONS.contains(&permissions) {
        return answer::text(StatusCode::NOT_FOUND, "Invalid permissions");
    }
    let with_identity = identity.is_some();
    let new = NewEndpoint {
        room: RoomName::of(&user.name, room),
        code: None,
        permissions: permissions.to_owned(),
        identity: identity.unwrap_or_default(),
    };
    added(app, new, with_identity).await
}

async fn added(app: &App, new: NewEndpoint, with_identity: bool) -> Response {
    match change(app, move |all| all.create_endpoint(new)).await {
        Ok(endpoint) => answer::json(wire::added(&endpoint, with_identity)),
        Err(error) => refused(&error, "Invalid permissions"),
    }
}

async fn deleted(
    app: &App,
    said: &str,
    delete: impl FnOnce(&Accounts) -> Result<(), AccountsError> + Send + 'static,
) -> Response {
    match change(app, delete).await {
        Ok(()) => answer::done(said),
        Err(error) => refused(&error, said),
    }
}

fn list_rooms(app: &App, user: &User) -> Response {
    let rooms = app.ingress.accounts().rooms_of(&user.name);
    answer::json(match app.config.flavour {
        Flavour::Newest => wire::rooms(&rooms),
        Flavour::Seed => wire::early_rooms(&rooms),
    })
}

fn list_endpoints(app: &App, room: &RoomName) -> Response {
    let accounts = app.ingress.accounts();
    if accounts.room(room).is_none() {
        return answer::not_found();
    }
    let with_identity = app.config.flavour == Flavour::Newest;
    answer::json(wire::endpoints(&accounts.endpoints_of(room), with_identity))
}

/// A text that is there and not empty.
fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Changes the accounts, on a thread that may wait for the disk.
async fn change<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Accounts) -> Result<T, AccountsError> + Send + 'static,
) -> Result<T, AccountsError> {
    let accounts = Arc::clone(app.ingress.accounts());
    let stopped = |error: tokio::task::JoinError| AccountsError::Store(error.into());
    tokio::task::spawn_blocking(move || work(&accounts)).await.map_err(stopped)?
}

/// What the original has no answer for, beside a room or endpoint that is not there: `wrong` names what was asked.
fn refused(error: &AccountsError, wrong: &str) -> Response {
    match error {
        AccountsError::Unknown { .. } => answer::not_found(),
        AccountsError::Store(_) | AccountsError::Random(_) | AccountsError::Orphan(_) => {
            tracing::error!(%error, "the accounts of rooms cannot be changed");
            answer::failed()
        }
        AccountsError::Text { .. } => answer::text(StatusCode::BAD_REQUEST, wrong),
        other => answer::text(StatusCode::BAD_REQUEST, other.to_string()),
    }
}

//! `/v1/users`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminState, Deed, Fault, NotDone, act, change, main_tenant};
use crate::accounts::{Accounts, KeyKind, NewUser, UserInfo, UserKey, UserName};

/// Which API key a user shall have; a random one, if nothing is said.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyChoice {
    /// This one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// It may be shorter than 16 bytes.
    pub weak: bool,
    /// None: whoever presents no API key is this user.
    pub absent: bool,
}

/// Body of `POST /v1/users`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// Unique in its tenant.
    pub name: String,
    /// An existing one.
    #[serde(default = "main_tenant")]
    pub tenant: String,
    /// As of [`KeyChoice`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Likewise.
    #[serde(default)]
    pub weak: bool,
    /// Likewise.
    #[serde(default)]
    pub absent: bool,
}

/// Answer of `POST /v1/users` and `POST /v1/users/TENANT/NAME/key`: the only place where the key ever stands.
#[derive(Serialize, Deserialize)]
pub struct CreatedUser {
    /// To be handed to the client, which sends it in the header `API-KEY`. Empty: it needs none.
    pub key: String,
    /// The user.
    #[serde(flatten)]
    pub info: UserInfo,
}

/// Answer of `GET /v1/users`.
#[derive(Debug, Serialize, Deserialize)]
pub struct UserList {
    /// By tenant and name.
    pub users: Vec<UserInfo>,
}

impl KeyChoice {
    /// As the accounts take it.
    pub fn into_key(self) -> Result<UserKey, NotDone> {
        match (self.key, self.weak, self.absent) {
            (None, false, false) => Ok(UserKey::Generated),
            (None, false, true) => Ok(UserKey::Absent),
            (Some(key), true, false) => Ok(UserKey::Weak(key)),
            (Some(key), false, false) => Ok(UserKey::Chosen(key)),
            _ => {
                let accepted = "`key` and `absent` exclude each other, and `weak` is said of a `key`";
                Err(NotDone::Invalid(accepted.to_owned()))
            }
        }
    }
}

impl Deed for UserRequest {
    type Done = CreatedUser;

    fn apply(self, accounts: &Accounts) -> Result<CreatedUser, NotDone> {
        let name = UserName { tenant: self.tenant, name: self.name };
        let choice = KeyChoice { key: self.key, weak: self.weak, absent: self.absent };
        let (key, info) = accounts.create_user(NewUser { name, key: choice.into_key()? })?;
        Ok(CreatedUser { key, info })
    }
}

pub(in crate::admin) async fn list(State(state): State<Arc<AdminState>>) -> Json<UserList> {
    Json(UserList { users: state.accounts.users() })
}

pub(in crate::admin) async fn create(
    State(state): State<Arc<AdminState>>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedUser>), Fault> {
    let created = act::<UserRequest>(state, body).await?;
    let name = &created.info.name;
    tracing::info!(tenant = name.tenant, user = name.name, "user created");
    warn_of_no_key(&created.info);
    Ok((StatusCode::CREATED, Json(created)))
}

pub(in crate::admin) async fn new_key(
    State(state): State<Arc<AdminState>>,
    Path((tenant, name)): Path<(String, String)>,
    body: Body,
) -> Result<Json<CreatedUser>, Fault> {
    let bytes = crate::admin::keys::read(body).await?;
    let choice: KeyChoice = match bytes.is_empty() {
        true => KeyChoice::default(),
        false => {
            serde_json::from_slice(&bytes).map_err(|error| Fault::invalid(format!("the body: {error}")))?
        }
    };
    let name = UserName { tenant, name };
    let (key, info) =
        change(state, move |accounts| Ok(accounts.replace_user_key(&name, &choice.into_key()?)?)).await?;
    tracing::info!(tenant = info.name.tenant, user = info.name.name, "user has a new key");
    warn_of_no_key(&info);
    Ok(Json(CreatedUser { key, info }))
}

fn warn_of_no_key(info: &UserInfo) {
    if info.key_kind == KeyKind::Absent {
        let name = &info.name;
        let (tenant, user) = (&name.tenant, &name.name);
        tracing::warn!(tenant, user, "whoever reaches the listener of rooms without an API key is this user");
    }
}

pub(in crate::admin) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path((tenant, name)): Path<(String, String)>,
) -> Result<Json<UserInfo>, Fault> {
    let name = UserName { tenant, name };
    let info = change(state, move |accounts| Ok(accounts.delete_user(&name)?)).await?;
    tracing::info!(tenant = info.name.tenant, user = info.name.name, rooms = info.rooms, "user deleted");
    Ok(Json(info))
}

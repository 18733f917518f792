//! Logins, tenants, users, rooms and endpoints: list, make, delete. What a request does is written once, for the listener
//! and for the verbs that open the store themselves.

mod endpoints;
mod logins;
mod rooms;
mod tenants;
mod users;

pub(crate) use endpoints::remove as remove_endpoint;
pub use endpoints::{EndpointList, EndpointRequest};
pub(super) use endpoints::{create as create_endpoint, delete as delete_endpoint, list as endpoints};
pub use logins::{CreatedLogin, DeletedLogin, LoginList, LoginRequest, PasswordChoice};
pub(super) use logins::{
    create as create_login, delete as delete_login, list as logins, password as change_login,
};
pub use rooms::{RoomList, RoomRequest, WebhookRequest};
pub(super) use rooms::{create as create_room, delete as delete_room, list as rooms, webhook};
pub use tenants::{TenantList, TenantRequest};
pub(super) use tenants::{create as create_tenant, delete as delete_tenant, list as tenants};
pub use users::{CreatedUser, KeyChoice, UserList, UserRequest};
pub(super) use users::{create as create_user, delete as delete_user, list as users, new_key};

use std::sync::Arc;

use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::AdminState;
use super::answer::{Fault, blocking};
use crate::accounts::{Accounts, AccountsError};

/// What a request wants done to the accounts. Blocks until it is on disk.
pub trait Deed: DeserializeOwned + Send + 'static {
    /// What is answered.
    type Done: Send + 'static;

    /// Does it.
    fn apply(self, accounts: &Accounts) -> Result<Self::Done, NotDone>;
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// The accounts refuse it.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// It is wrong in itself.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a body and does what it says, on a thread that may wait for the disk.
async fn act<D: Deed>(state: Arc<AdminState>, body: axum::body::Body) -> Result<D::Done, Fault> {
    let bytes = super::keys::read(body).await?;
    let deed: D =
        serde_json::from_slice(&bytes).map_err(|error| Fault::invalid(format!("the body: {error}")))?;
    change(state, move |accounts| deed.apply(accounts)).await
}

async fn change<T: Send + 'static>(
    state: Arc<AdminState>,
    work: impl FnOnce(&Accounts) -> Result<T, NotDone> + Send + 'static,
) -> Result<T, Fault> {
    blocking(move || work(&state.accounts)).await?.map_err(|error| match error {
        NotDone::Accounts(error) => fault(&error),
        NotDone::Invalid(reason) => Fault::invalid(reason),
    })
}

/// An error of the accounts as an answer.
pub(super) fn fault(error: &AccountsError) -> Fault {
    let (status, outcome) = match error {
        AccountsError::UnknownKey(_) | AccountsError::Unknown { .. } => (StatusCode::NOT_FOUND, "not-found"),
        AccountsError::Store(_) => (StatusCode::INSUFFICIENT_STORAGE, "unavailable"),
        AccountsError::Random(_) | AccountsError::Hash(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        AccountsError::Exists { .. }
        | AccountsError::TenantInUse { .. }
        | AccountsError::TenantNameKept { .. }
        | AccountsError::KeyTaken
        | AccountsError::CodeTaken
        | AccountsError::Limit { .. } => (StatusCode::CONFLICT, "invalid"),
        _ => (StatusCode::BAD_REQUEST, "invalid"),
    };
    Fault::new(status, outcome, error.to_string())
}

/// Where a request names no tenant.
fn main_tenant() -> String {
    crate::accounts::MAIN.to_owned()
}

//! Users and networks: who there is, and taking them away. tenta's clients cannot do either.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::{AdminState, Fault, blocking, importer};
use crate::accounts::tenta::{Id, Network, Person};

/// What may be shown of a user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PersonInfo {
    /// Unique in all.
    pub identifier: Id,
    /// Unique in the tenant.
    pub name: String,
    /// Unix microseconds.
    pub created_us: u64,
}

/// Answer of `GET /v1/tenta/users`.
#[derive(Debug, Serialize, Deserialize)]
pub struct PersonList {
    /// By name.
    pub users: Vec<PersonInfo>,
}

/// What may be shown of a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Unique in all.
    pub identifier: Id,
    /// Unique in the tenant.
    pub name: String,
    /// How many it has.
    pub sensors: usize,
    /// Unix microseconds.
    pub created_us: u64,
}

/// Answer of `GET /v1/tenta/networks`.
#[derive(Debug, Serialize, Deserialize)]
pub struct NetworkList {
    /// By name.
    pub networks: Vec<NetworkInfo>,
}

fn shown(person: &Person) -> PersonInfo {
    PersonInfo { identifier: person.id, name: person.name.clone(), created_us: person.created_us }
}

fn shown_network(network: &Network, sensors: usize) -> NetworkInfo {
    let (identifier, name, created_us) = (network.id, network.name.clone(), network.created_us);
    NetworkInfo { identifier, name, sensors, created_us }
}

pub(in crate::admin) async fn users(State(state): State<Arc<AdminState>>) -> Result<Json<PersonList>, Fault> {
    let tenant = importer(&state)?.tenant;
    let users = state.accounts.tenta().people(&tenant);
    Ok(Json(PersonList { users: users.iter().map(|person| shown(person)).collect() }))
}

pub(in crate::admin) async fn networks(
    State(state): State<Arc<AdminState>>,
) -> Result<Json<NetworkList>, Fault> {
    let tenant = importer(&state)?.tenant;
    let accounts = state.accounts.tenta();
    let info = |network: Arc<Network>| shown_network(&network, accounts.sensors_of(network.id).len());
    Ok(Json(NetworkList { networks: accounts.networks(&tenant).into_iter().map(info).collect() }))
}

pub(in crate::admin) async fn delete_user(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<PersonInfo>, Fault> {
    let tenant = importer(&state)?.tenant;
    let deleted = blocking(move || state.accounts.tenta().delete_person(&tenant, &name)).await?;
    let person = deleted.map_err(|error| crate::admin::accounts::fault(&error))?;
    tracing::info!(user = person.name, "user of tenta deleted");
    Ok(Json(shown(&person)))
}

pub(in crate::admin) async fn delete_network(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
) -> Result<Json<NetworkInfo>, Fault> {
    let tenant = importer(&state)?.tenant;
    let id: Id =
        id.parse().map_err(|error: crate::accounts::tenta::NoId| Fault::invalid(error.to_string()))?;
    let deleted = blocking(move || {
        let accounts = state.accounts.tenta();
        let sensors = accounts.sensors_of(id).len();
        // Another tenant's is none of this gateway's.
        let ours = accounts.network(id).is_some_and(|network| network.tenant == tenant);
        let id = if ours {
            Ok(id)
        } else {
            Err(crate::accounts::AccountsError::Unknown { what: "network", name: id.to_string() })
        };
        Ok::<_, crate::accounts::AccountsError>((accounts.delete_network(id?)?, sensors))
    });
    let (network, sensors) = deleted.await?.map_err(|error| crate::admin::accounts::fault(&error))?;
    tracing::info!(network = network.name, sensors, "network deleted");
    Ok(Json(shown_network(&network, sensors)))
}

//! `/v1/tenants`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminState, Deed, Fault, NotDone, act, change};
use crate::accounts::{Accounts, Tenant};

/// Body of `POST /v1/tenants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRequest {
    /// First level of all its topics.
    pub name: String,
    /// Also where a deleted tenant had the name: the new one finds what is kept of it.
    #[serde(default)]
    pub again: bool,
}

/// Answer of `GET /v1/tenants`.
#[derive(Debug, Serialize, Deserialize)]
pub struct TenantList {
    /// By name, `main` first.
    pub tenants: Vec<Tenant>,
}

impl Deed for TenantRequest {
    type Done = Tenant;

    fn apply(self, accounts: &Accounts) -> Result<Tenant, NotDone> {
        let made = match self.again {
            true => accounts.create_tenant_again(&self.name),
            false => accounts.create_tenant(&self.name),
        };
        Ok(made?)
    }
}

pub(in crate::admin) async fn list(State(state): State<Arc<AdminState>>) -> Json<TenantList> {
    Json(TenantList { tenants: state.accounts.tenants() })
}

pub(in crate::admin) async fn create(
    State(state): State<Arc<AdminState>>,
    body: Body,
) -> Result<(StatusCode, Json<Tenant>), Fault> {
    let tenant = act::<TenantRequest>(state, body).await?;
    tracing::info!(tenant = tenant.name, "tenant created");
    Ok((StatusCode::CREATED, Json(tenant)))
}

pub(in crate::admin) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<Tenant>, Fault> {
    let tenant = change(state, move |accounts| Ok(accounts.delete_tenant(&name)?)).await?;
    tracing::info!(tenant = tenant.name, "tenant deleted");
    Ok(Json(tenant))
}

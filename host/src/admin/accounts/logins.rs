//! `/v1/logins`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{AdminState, Deed, Fault, NotDone, act, change};
use crate::accounts::{Accounts, LOGIN_CHANGED, LoginInfo, LoginPassword};
use crate::admin::KeyRequest;
use crate::session::Session;

/// Which password a login shall have; a random one, if nothing is said.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordChoice {
    /// This one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// It may be shorter than 8 bytes.
    pub weak: bool,
}

/// Body of `POST /v1/logins`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// What clients give as their user name; unique among all tenants.
    pub name: String,
    /// None = `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// `device`, `page`, `sensor` or `service`.
    #[serde(default = "sensor")]
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
    /// As of [`PasswordChoice`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Likewise.
    #[serde(default)]
    pub weak: bool,
}

fn sensor() -> String {
    "sensor".to_owned()
}

/// Answer of `POST /v1/logins` and `POST /v1/logins/NAME/password`.
#[derive(Serialize, Deserialize)]
pub struct CreatedLogin {
    /// The password, if the router chose it: the only place where it ever stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The login.
    #[serde(flatten)]
    pub info: LoginInfo,
}

/// Answer of `DELETE /v1/logins/NAME`.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeletedLogin {
    /// Connections that were closed because they rested on it.
    pub connections_closed: usize,
    /// The login.
    #[serde(flatten)]
    pub info: LoginInfo,
}

/// Answer of `GET /v1/logins`.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoginList {
    /// By name.
    pub logins: Vec<LoginInfo>,
}

impl PasswordChoice {
    fn into_password(self) -> Result<LoginPassword, NotDone> {
        match (self.password, self.weak) {
            (None, false) => Ok(LoginPassword::Generated),
            (Some(password), true) => Ok(LoginPassword::Weak(password)),
            (Some(password), false) => Ok(LoginPassword::Chosen(password)),
            (None, true) => Err(NotDone::Invalid("`weak` is said of a `password`".to_owned())),
        }
    }

    /// Gives a login this password.
    pub fn apply(self, accounts: &Accounts, name: &str) -> Result<CreatedLogin, NotDone> {
        let generated = self.password.is_none();
        let (text, info) = accounts.change_login(name, self.into_password()?)?;
        Ok(CreatedLogin { password: generated.then_some(text), info })
    }
}

impl Deed for LoginRequest {
    type Done = CreatedLogin;

    fn apply(self, accounts: &Accounts) -> Result<CreatedLogin, NotDone> {
        let Self { name, tenant, origin, publish, subscribe, attributes, expires, password, weak } = self;
        let generated = password.is_none();
        let password = PasswordChoice { password, weak }.into_password()?;
        let new = KeyRequest { name, tenant, origin, publish, subscribe, attributes, expires };
        let new = new.into_new_key().map_err(NotDone::Invalid)?;
        let (text, info) = accounts.create_login(new, password)?;
        Ok(CreatedLogin { password: generated.then_some(text), info })
    }
}

pub(in crate::admin) async fn list(State(state): State<Arc<AdminState>>) -> Json<LoginList> {
    Json(LoginList { logins: state.accounts.logins() })
}

pub(in crate::admin) async fn create(
    State(state): State<Arc<AdminState>>,
    body: Body,
) -> Result<(StatusCode, Json<CreatedLogin>), Fault> {
    let created = act::<LoginRequest>(state, body).await?;
    tracing::info!(name = created.info.name, origin = created.info.origin, "login created");
    Ok((StatusCode::CREATED, Json(created)))
}

pub(in crate::admin) async fn password(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<CreatedLogin>, Fault> {
    let bytes = crate::admin::keys::read(body).await?;
    let choice: PasswordChoice = match bytes.is_empty() {
        true => PasswordChoice::default(),
        false => {
            serde_json::from_slice(&bytes).map_err(|error| Fault::invalid(format!("the body: {error}")))?
        }
    };
    let before = state.accounts.login_account(&name);
    let changed = change(Arc::clone(&state), move |accounts| choice.apply(accounts, &name)).await?;
    let connections_closed = close(&state, before.as_deref());
    tracing::info!(name = changed.info.name, connections_closed, "login has a new password");
    Ok(Json(changed))
}

pub(in crate::admin) async fn delete(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
) -> Result<Json<DeletedLogin>, Fault> {
    let before = state.accounts.login_account(&name);
    // Counted before: whoever else watches the accounts may close them first.
    let connected =
        state.sessions.all().iter().filter(|session| rests_on(session, before.as_deref())).count();
    let info = change(Arc::clone(&state), move |accounts| Ok(accounts.delete_login(&name)?)).await?;
    let connections_closed = close(&state, before.as_deref()).max(connected);
    tracing::info!(name = info.name, connections_closed, "login deleted");
    Ok(Json(DeletedLogin { connections_closed, info }))
}

fn rests_on(session: &Session, account: Option<&str>) -> bool {
    account.is_some() && session.principal.account.as_deref() == account
}

fn close(state: &AdminState, account: Option<&str>) -> usize {
    state.sessions.close_where(|session| rests_on(session, account), 1008, LOGIN_CHANGED)
}

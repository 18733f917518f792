//! The operator's listener: health, metrics, and under `/v1/` keys, plugins, connections and subscriptions.
//!
//! `/v1/` wants the token of `DATA/admin.token` as `Authorization: Bearer TOKEN`. There are no cookies, so
//! that no page can act for an operator, and requests under foreign host names are refused, so that no page
//! can reach the listener by pointing its own name at this machine.
//!
//! | path | what |
//! |---|---|
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 when traffic is taken, else 503 and what is waited for |
//! | `GET /metrics` | Prometheus text |
//! | `GET /v1/keys`, `POST /v1/keys`, `DELETE /v1/keys/ID` | API keys |
//! | `GET /v1/logins`, `POST /v1/logins`, `DELETE /v1/logins/NAME`, `POST /v1/logins/NAME/password` | names with passwords |
//! | `GET /v1/tenants`, `POST /v1/tenants`, `DELETE /v1/tenants/NAME` | tenants |
//! | `GET /v1/users`, `POST /v1/users`, `DELETE /v1/users/TENANT/NAME`, `POST /v1/users/TENANT/NAME/key` | users of rooms |
//! | `GET /v1/rooms`, `POST /v1/rooms`, `DELETE /v1/rooms/TENANT/OWNER/ROOM`, `PUT /v1/rooms/TENANT/OWNER/ROOM/webhook` | rooms |
//! | `GET /v1/endpoints`, `POST /v1/endpoints`, `DELETE /v1/endpoints/ID` | endpoints of rooms |
//! | `POST /v1/tenta/import?offset=SECONDS` | accounts and data of tenta's clients, as one JSON object of tables |
//! | `GET /v1/tenta/users`, `DELETE /v1/tenta/users/NAME`, `GET /v1/tenta/networks`, `DELETE /v1/tenta/networks/ID` | users and networks of tenta |
//! | `GET /v1/plugins`, `DELETE /v1/plugins/NAME` | bindings, in pipeline order; lets go of one whose file is gone |
//! | `POST /v1/plugins/NAME/rebuild`, `GET` | makes a storage plugin's data anew from the log; how far that is |
//! | `POST /v1/plugins/try` | what a candidate would have made of recorded messages, as lines of JSON |
//! | `GET /v1/plugins/NAME/shadow` | how often a shadow agreed with the live version, and where it did not |
//! | `GET /v1/consumers`, `POST /v1/consumers/ID/reset`, `DELETE /v1/consumers/ID` | durable readers of the logs |
//! | `GET /v1/logs`, `GET /v1/logs/NAME` | what the logs hold |
//! | `GET /v1/logs/NAME/export`, `POST /v1/logs/NAME/import` | messages as lines of JSON |
//! | `GET /v1/retained`, `DELETE /v1/retained?topic=TOPIC` | retained messages |
//! | `GET /v1/dead`, `GET /v1/dead/ID`, `DELETE /v1/dead/ID`, `DELETE /v1/dead` | dead letters |
//! | `GET /v1/trace?pattern=PATTERN` | every stage of messages as they pass, live, as lines of JSON |
//! | `POST /v1/dead/requeue` | does again what they stand for |
//! | `GET /v1/connections`, `GET /v1/subscriptions` | who is connected, and for what |

mod accounts;
mod answer;
mod consumers;
mod dead;
mod deeds;
mod guard;
mod health;
mod keys;
mod logs;
mod rebuild;
mod requeue;
mod retained;
mod shadow;
mod tenta;
mod token;
mod trace;
mod trial;
mod views;

pub(crate) use accounts::remove_endpoint;
pub use accounts::{
    CreatedLogin, CreatedUser, Deed, DeletedLogin, EndpointList, EndpointRequest, KeyChoice, LoginList,
    LoginRequest, NotDone, PasswordChoice, RoomList, RoomRequest, TenantList, TenantRequest, UserList,
    UserRequest, WebhookRequest,
};
pub use consumers::{ConsumerView, PlaceIn, ResetRequest, To};
pub use dead::{DeadInfo, DeadLetter, DeadList};
pub use keys::{CreatedKey, KeyRequest, RevokedKey};
pub use logs::{
    ConsumerInfo, EpochInfo, Export, ExportError, Exported, Import, ImportError, Imported, IncidentInfo,
    LogInfo, LogList, LogStat, Logs, NoImport, OtherLog, UnknownLog,
};
pub use requeue::{RequeueAnswer, RequeueRequest, RequeuedInfo};
pub use retained::{RetainedInfo, RetainedList};
pub use tenta::{NetworkInfo, NetworkList, PersonInfo, PersonList, TentaImport, TentaImported};
pub use token::{AdminToken, TokenError};
pub use trace::TraceLine;
pub use trial::TryRequest;
pub use views::SubscriptionInfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{delete, get, post, put};

use crate::accounts::Accounts;
use crate::consumer::RebuildView;
use crate::dead_letters::DeadLetters;
use crate::ingress::RequeueLetters;
use crate::metrics::{Metrics, Readiness};
use crate::pipeline::trace::Traces;
use crate::plugin::PluginView;
use crate::sequencer::Sequencer;
use crate::session::Sessions;
use crate::trial::TrialView;

/// What the operator's listener shows and changes.
#[derive(Clone)]
pub struct AdminState {
    /// What `/v1/` asks for.
    pub token: AdminToken,
    /// Host names that are accepted beside `localhost` and IP addresses.
    pub hosts: Vec<String>,
    /// The keys.
    pub accounts: Arc<Accounts>,
    /// The connections.
    pub sessions: Arc<Sessions>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The bindings.
    pub plugins: Arc<dyn PluginView>,
    /// The storage plugins' data.
    pub rebuilds: Arc<dyn RebuildView>,
    /// Durable readers of the logs.
    pub consumers: Arc<dyn ConsumerView>,
    /// The logs.
    pub logs: Logs,
    /// What was set aside.
    pub dead_letters: Arc<DeadLetters>,
    /// Who watches messages on their way.
    pub traces: Arc<Traces>,
    /// Does again what was set aside.
    pub requeue: Arc<dyn RequeueLetters>,
    /// Candidates on what has happened.
    pub trials: Arc<dyn TrialView>,
    /// What is retained.
    pub sequencer: Arc<Sequencer>,
    /// Where imports of tenta go; none: tenta's clients are not served.
    pub tenta: Option<TentaImport>,
    /// What `/readyz` says.
    pub ready: Arc<Readiness>,
}

/// The listener's routes.
pub fn router(state: AdminState) -> Router {
    let trial_bytes = trial::body_bytes(&*state.trials);
    let state = Arc::new(state);
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/v1/keys", get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/v1/logins", get(accounts::logins).post(accounts::create_login))
        .route("/v1/logins/{name}", delete(accounts::delete_login))
        .route("/v1/logins/{name}/password", post(accounts::change_login))
        .route("/v1/tenants", get(accounts::tenants).post(accounts::create_tenant))
        .route("/v1/tenants/{name}", delete(accounts::delete_tenant))
        .route("/v1/users", get(accounts::users).post(accounts::create_user))
        .route("/v1/users/{tenant}/{name}", delete(accounts::delete_user))
        .route("/v1/users/{tenant}/{name}/key", post(accounts::new_key))
        .route("/v1/rooms", get(accounts::rooms).post(accounts::create_room))
        .route("/v1/rooms/{tenant}/{owner}/{room}", delete(accounts::delete_room))
        .route("/v1/rooms/{tenant}/{owner}/{room}/webhook", put(accounts::webhook))
        .route("/v1/endpoints", get(accounts::endpoints).post(accounts::create_endpoint))
        .route("/v1/endpoints/{id}", delete(accounts::delete_endpoint))
        .route("/v1/tenta/import", post(tenta::import).layer(DefaultBodyLimit::disable()))
        .route("/v1/tenta/users", get(tenta::users))
        .route("/v1/tenta/users/{name}", delete(tenta::delete_user))
        .route("/v1/tenta/networks", get(tenta::networks))
        .route("/v1/tenta/networks/{id}", delete(tenta::delete_network))
        .route("/v1/plugins", get(views::plugins))
        .route("/v1/plugins/{name}", delete(deeds::forget))
        .route("/v1/plugins/{name}/rollback", post(deeds::rollback))
        .route("/v1/plugins/{name}/disable", post(deeds::disable))
        .route("/v1/plugins/{name}/enable", post(deeds::enable))
        .route("/v1/plugins/{name}/history", get(deeds::history))
        .route("/v1/plugins/{name}/rebuild", get(rebuild::report).post(rebuild::begin))
        .route("/v1/plugins/try", post(trial::begin).layer(DefaultBodyLimit::max(trial_bytes)))
        .route("/v1/plugins/{name}/shadow", get(shadow::report))
        .route("/v1/consumers", get(consumers::list))
        .route("/v1/consumers/{id}/reset", post(consumers::reset))
        .route("/v1/consumers/{id}", delete(consumers::delete))
        .route("/v1/logs", get(logs::list))
        .route("/v1/logs/{name}", get(logs::stat))
        .route("/v1/logs/{name}/export", get(logs::export))
        .route("/v1/logs/{name}/import", post(logs::import))
        .route("/v1/retained", get(retained::list).delete(retained::delete))
        .route("/v1/dead", get(dead::list).delete(dead::delete_all))
        .route("/v1/dead/requeue", post(requeue::requeue))
        .route("/v1/dead/{id}", get(dead::show).delete(dead::delete))
        .route("/v1/trace", get(trace::trace))
        .route("/v1/connections", get(views::connections))
        .route("/v1/subscriptions", get(views::subscriptions))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guard::guard))
        .with_state(state)
}

#[cfg(test)]
mod tests;

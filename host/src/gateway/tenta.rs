//! tenta's protocol: users make networks and sensors over HTTP, configure these, and read what they published.
//! `flavour = "hermes"` is its predecessor's.
//!
//! | path | method | what |
//! |---|---|---|
//! | `/status` | GET | that it runs |
//! | `/users`, `/authentication` | POST | a new user, a known one; both get an access token |
//! | `/networks` | POST, GET | a new network, the user's own |
//! | `/networks/N/sensors` | POST, GET | a new sensor, those of a network |
//! | `/networks/N/sensors/S` | PUT | another name for a sensor |
//! | `/networks/N/sensors/S/configurations` | POST, GET | a new configuration, those there are |
//! | `/networks/N/sensors/S/measurements`, `…/logs` | GET | what the sensor published |
//! | `/networks/N/sensors/S/logs/aggregates` | GET | hermes alone: its warnings and errors, counted |
//!
//! A request is looked at in this order: path and method (404, 405), its values (400), the access token (401), whether
//! there is what it names (404), whether the user is a member of the network (403). Errors are
//! `{"details":"Bad Request"}` and the like. Accounts and configurations are the router's; measurements, logs and
//! acknowledgments are asked of the storage plugin that the configuration names: without it the answer is 500, as the
//! original's is without its database.

mod access;
mod answer;
mod configurations;
mod data;
mod passwords;
mod people;
mod publisher;
mod read;
mod route;
mod sensors;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::Response;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::body;
use super::lease::Peer;
use crate::accounts::tenta::Tenta as Directory;
use crate::accounts::{Accounts, AccountsError};
use crate::config::{self, Config, Limits, TentaFlavour};
use crate::ingress::Ingress;
use crate::message::now_us;
use answer::Fault;
use passwords::Passwords;
use read::Asked;
use route::{Call, Route};

/// The gateway's name.
const GATEWAY: &str = "tenta";
/// Entries of a page.
const PAGE: usize = 64;
/// Changes that wait for the disk at once, each with a thread of its own; others wait for these.
const CHANGES: usize = 16;
/// JSON may write every letter of a configuration with six, and has names and numbers around it.
const ESCAPED: usize = 6;

/// What every handler has.
#[derive(Clone)]
struct App {
    ingress: Ingress,
    limits: Arc<Limits>,
    config: Arc<config::Tenta>,
    /// Before `configurations/` and the like.
    base: Arc<str>,
    passwords: Passwords,
    /// Turns of what waits for the disk.
    changes: Arc<Semaphore>,
    started_us: u64,
    /// Ends the publication of configurations with the listener.
    _publisher: Arc<DropGuard>,
}

/// The routes, to be served by [`super::listen::serve`]. Must be called where tasks can be spawned: it begins to publish
/// configurations.
pub fn router(ingress: Ingress, tenta: &config::Tenta, config: &Config) -> Router {
    if !ingress.accounts().has_tenant(&tenta.tenant) {
        let tenant = &tenta.tenant;
        tracing::warn!(tenant, "the tenant of [tenta] is not there: nobody can become its user");
    }
    let base: Arc<str> = tenta.base().into();
    let most = config.accounts.configuration_bytes.saturating_mul(ESCAPED);
    let limits = Limits { request_bytes: config.limits.request_bytes.min(most), ..config.limits.clone() };
    let closing = CancellationToken::new();
    publisher::start(ingress.clone(), tenta.tenant.clone(), Arc::clone(&base), closing.clone());
    let app = App {
        ingress,
        limits: Arc::new(limits),
        config: Arc::new(tenta.clone()),
        base,
        passwords: Passwords::default(),
        changes: Arc::new(Semaphore::new(CHANGES)),
        started_us: now_us(),
        _publisher: Arc::new(closing.drop_guard()),
    };
    Router::new().fallback(serve).with_state(app)
}

async fn serve(State(app): State<App>, request: Request) -> Response {
    if answer::is_preflight(&request) {
        return answer::preflight(&request);
    }
    let answered = answer(&app, request).await;
    answer::for_pages(answered.unwrap_or_else(Fault::into_response))
}

async fn answer(app: &App, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let hermes = app.config.flavour == TentaFlavour::Hermes;
    let route = Route::of(parts.uri.path(), hermes).ok_or(Fault::NotFound)?;
    // The answer to HEAD is that to GET, whose body nobody sends.
    let method = if parts.method == Method::HEAD { Method::GET } else { parts.method };
    let call = route.call(&method)?;
    let bytes = body::read(body, &app.limits).await.map_err(|refusal| Fault::Status(refusal.status()))?;
    let asked = Asked::of(&parts.uri, &bytes, hermes);
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
    let token = access::token(&parts.headers);
    match call {
        Call::Status => people::status(app, &asked),
        Call::CreateUser => people::create(app, &asked).await,
        Call::Authenticate => people::authenticate(app, &asked).await,
        Call::CreateNetwork => sensors::create_network(app, &asked, token).await,
        Call::Networks => sensors::networks(app, &asked, token),
        Call::CreateSensor(network) => sensors::create(app, &asked, token, network).await,
        Call::Sensors(network) => sensors::list(app, &asked, token, network),
        Call::UpdateSensor(place) => sensors::update(app, &asked, token, place).await,
        Call::CreateConfiguration(place) => configurations::create(app, &asked, token, place).await,
        Call::Configurations(place) => configurations::list(app, &asked, token, place, peer).await,
        Call::Measurements(place) => data::measurements(app, &asked, token, place, peer).await,
        Call::Logs(place) => data::logs(app, &asked, token, place, peer).await,
        Call::LogAggregates(place) => data::log_aggregates(app, &asked, place, peer).await,
    }
}

impl App {
    fn accounts(&self) -> Directory<'_> {
        self.ingress.accounts().tenta()
    }

    /// Does what waits for the disk, where that may be.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(Directory<'_>) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, Fault> {
        let accounts: Arc<Accounts> = Arc::clone(self.ingress.accounts());
        let turn = Arc::clone(&self.changes).acquire_owned().await.map_err(|_| Fault::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end also when the client goes away.
            let _held = turn;
            work(accounts.tenta())
        });
        done.await.map_err(|_| Fault::Internal)?.map_err(|error| answer::refused(&error))
    }

    fn is_hermes(&self) -> bool {
        self.config.flavour == TentaFlavour::Hermes
    }
}

//! What sensors published, as the storage plugin has it.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::Fault;
use super::read::{self, Asked, Page};
use super::route::Place;
use super::wire::{self, seconds};
use super::{App, GATEWAY, PAGE, access};
use crate::accounts::tenta::Id;
use crate::gateway::reply;
use crate::gateway::visit::Visit;
use crate::ingress::{Entrant, Query, QueryFailure};
use crate::message::{Rights, now_us};
use crate::telemetry::Seldom;

/// Items that are asked for at once, where all are wanted.
const MANY: u32 = 1_000;
/// Answers of the plugin that one answer to a client is made of: each may be short, or empty where it looked in vain.
const ASKED: usize = 256;
/// An answer to a client that wants all.
const MOST_BYTES: usize = 32 << 20;

pub(super) async fn measurements(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    place: Place<'_>,
    peer: String,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&["creation_timestamp", "direction", "aggregate"])?;
    let (page, aggregate) = (asked.times()?, asked.flag("aggregate")?);
    asked.nothing()?;
    let known = may_read(app, token, (network, sensor))?;
    if aggregate {
        let params = format!(r#"{{"aggregate":true,"now":{}}}"#, number(seconds(now_us())));
        let items = if known {
            Storage::of(app, peer)?.all("measurements", sensor, params).await?
        } else {
            Vec::new()
        };
        return Ok(reply::json(StatusCode::OK, wire::aggregates(&items, app.is_hermes())?));
    }
    let items =
        if known { Storage::of(app, peer)?.page("measurements", sensor, page).await? } else { Vec::new() };
    Ok(reply::json(StatusCode::OK, wire::list(&items)))
}

pub(super) async fn logs(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    place: Place<'_>,
    peer: String,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&["creation_timestamp", "direction"])?;
    let page = asked.times()?;
    asked.nothing()?;
    let known = may_read(app, token, (network, sensor))?;
    let items = if known { Storage::of(app, peer)?.page("logs", sensor, page).await? } else { Vec::new() };
    let body = if app.is_hermes() { wire::hermes_logs(&items)? } else { wire::list(&items) };
    Ok(reply::json(StatusCode::OK, body))
}

/// Of hermes alone, which lets everybody read them.
pub(super) async fn log_aggregates(
    app: &App,
    asked: &Asked<'_>,
    place: Place<'_>,
    peer: String,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&[])?;
    asked.nothing()?;
    let known = may_read(app, None, (network, sensor))?;
    let params = format!(r#"{{"aggregate":true,"now":{}}}"#, number(seconds(now_us())));
    let items = if known { Storage::of(app, peer)?.all("logs", sensor, params).await? } else { Vec::new() };
    Ok(reply::json(StatusCode::OK, wire::list(&items)))
}

/// Whether there is such a sensor to be asked about. hermes neither asks who wants to know, nor says that there is none.
fn may_read(app: &App, token: Option<&[u8]>, (network, sensor): (Id, Id)) -> Result<bool, Fault> {
    if app.is_hermes() {
        let found = app.accounts().sensor(sensor);
        return Ok(found.is_some_and(|(_, sensor)| sensor.tenant == app.config.tenant));
    }
    access::sensor(app, token, (network, sensor)).map(|_| true)
}

/// Asks the storage plugin, for one request.
pub(super) struct Storage<'a> {
    app: &'a App,
    visit: Visit,
}

impl<'a> Storage<'a> {
    pub(super) fn of(app: &'a App, address: String) -> Result<Self, Fault> {
        let patterns =
            ["acknowledgments", "measurements", "logs"].map(|kind| format!("{}{kind}/+", app.base));
        let rights = Rights::to_query(&patterns.each_ref().map(String::as_str)).unwrap_or_default();
        let entrant = Entrant {
            gateway: GATEWAY,
            address,
            tenant: app.config.tenant.clone(),
            name: GATEWAY.into(),
            origin: "service",
            rights,
            ..Entrant::default()
        };
        let session = app.ingress.enter(entrant, None).map_err(|error| {
            tracing::error!(%error, tenant = app.config.tenant, "no session for a request of tenta's clients");
            Fault::Internal
        })?;
        Ok(Self { app, visit: Visit::new(app.ingress.clone(), session) })
    }

    /// The items of a page, ascending. The plugin may give them in several answers, each further on from the cursor.
    async fn page(&self, kind: &str, sensor: Id, page: Page<f64>) -> Result<Vec<String>, Fault> {
        let direction = if page.previous { "previous" } else { "next" };
        let at = page.cursor.map(|at| format!(r#","creation_timestamp":{}"#, number(at))).unwrap_or_default();
        let now = number(seconds(now_us()));
        let params = format!(r#"{{"direction":"{direction}","now":{now}{at}}}"#);
        let mut items: Vec<String> = Vec::new();
        let mut cursor = None;
        for _ in 0..ASKED {
            let limit = u32::try_from(PAGE - items.len()).unwrap_or(u32::MAX);
            let answer = self.ask(kind, sensor, &params, cursor, limit).await?;
            items =
                if page.previous { [answer.items, items].concat() } else { [items, answer.items].concat() };
            cursor = answer.next;
            if cursor.is_none() || items.len() >= PAGE {
                break;
            }
        }
        Ok(items)
    }

    /// All items.
    pub(super) async fn all(&self, kind: &str, sensor: Id, params: String) -> Result<Vec<String>, Fault> {
        let (mut items, mut bytes, mut cursor) = (Vec::new(), 0, None);
        for _ in 0..ASKED {
            let answer = self.ask(kind, sensor, &params, cursor, MANY).await?;
            bytes += answer.items.iter().map(String::len).sum::<usize>();
            if bytes > MOST_BYTES {
                tracing::error!(%sensor, bytes, "a sensor has more aggregates than one answer of tenta's may take");
                return Err(Fault::Internal);
            }
            items.extend(answer.items);
            cursor = answer.next;
            if cursor.is_none() {
                return Ok(items);
            }
        }
        tracing::error!(%sensor, "the storage plugin of [tenta] comes to no end");
        Err(Fault::Internal)
    }

    async fn ask(
        &self,
        kind: &str,
        sensor: Id,
        params: &str,
        cursor: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<crate::ingress::QueryPage, Fault> {
        let plugin = self.app.config.storage.clone();
        let topic = format!("{}{kind}/{sensor}", self.app.base);
        let query = Query { plugin, topic, params: params.to_owned(), cursor, limit };
        match self.visit.ingress().query(self.visit.session(), query).await {
            Ok(page) => Ok(page),
            // It has heard nothing of this sensor.
            Err(QueryFailure::NotFound) => Ok(crate::ingress::QueryPage { items: Vec::new(), next: None }),
            Err(error) => {
                static SAID: Seldom = Seldom::new();
                if SAID.is_due() {
                    let binding = &self.app.config.storage;
                    tracing::error!(binding, %error, "tenta's clients get no data: the storage plugin that [tenta] names does not answer");
                }
                Err(Fault::Internal)
            }
        }
    }
}

/// Of what is finite.
fn number(number: f64) -> String {
    serde_json::Number::from_f64(number).map(|number| number.to_string()).unwrap_or_default()
}

//! Configurations of sensors. They are the router's own; whether a sensor has acknowledged one, the storage plugin knows.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{self, Fault};
use super::data::Storage;
use super::read::{self, Asked, Page};
use super::route::Place;
use super::wire::{self, Acknowledgment};
use super::{App, PAGE, access};
use crate::gateway::json::{put_array, put_number};
use crate::gateway::reply;

/// Answered when it is on the disk; it is published behind the answer.
pub(super) async fn create(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    place: Place<'_>,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&[])?;
    let value = asked.configuration()?.to_owned();
    access::sensor(app, token, (network, sensor))?;
    let revision = app.change(move |accounts| accounts.create_configuration(network, sensor, &value)).await?;
    Ok(answer::object(StatusCode::CREATED, |object| {
        put_number(object.key("revision"), u64::from(revision));
    }))
}

pub(super) async fn list(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    place: Place<'_>,
    peer: String,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&["revision", "direction"])?;
    let Page { cursor, previous } = asked.revisions()?;
    asked.nothing()?;
    access::sensor(app, token, (network, sensor))?;
    let range = if previous { (None, cursor) } else { (cursor, None) };
    let mut all =
        app.change(move |accounts| accounts.read_configurations(sensor, range, previous, PAGE)).await?;
    if previous {
        all.reverse();
    }
    let said = match (all.first(), all.last()) {
        (Some(first), Some(last)) => {
            let params = format!(r#"{{"from":{},"to":{}}}"#, first.revision, last.revision);
            Storage::of(app, peer)?.all("acknowledgments", sensor, params).await?
        }
        _ => Vec::new(),
    };
    let said = said.iter().map(|item| serde_json::from_str::<Acknowledgment>(item));
    let said = said.collect::<Result<Vec<_>, _>>().map_err(wire::strange)?;
    let mut body = Vec::new();
    put_array(&mut body, &all, |out, configuration| {
        let of = said.iter().find(|said| said.revision == configuration.revision);
        wire::put_configuration(out, configuration, of);
    });
    Ok(reply::json(StatusCode::OK, body))
}

//! Networks and their sensors.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{self, Fault};
use super::read::{self, Asked};
use super::route::Place;
use super::{App, access};
use crate::gateway::json::{Object, put_array};
use crate::gateway::reply;

pub(super) async fn create_network(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
) -> Result<Response, Fault> {
    asked.parameters(&[])?;
    let name = asked.name("network_name")?;
    let user = access::user(app, token)?.id;
    let network = app.change(move |accounts| accounts.create_network(user, &name)).await?;
    Ok(answer::object(StatusCode::CREATED, |object| object.text("network_identifier", &network.to_string())))
}

pub(super) fn networks(app: &App, asked: &Asked<'_>, token: Option<&[u8]>) -> Result<Response, Fault> {
    asked.parameters(&[])?;
    asked.nothing()?;
    let user = access::user(app, token)?;
    let all = app.accounts().networks_of(user.id);
    let all = all.iter().map(|network| (network.id.to_string(), network.name.as_str()));
    Ok(named(["network_identifier", "network_name"], all))
}

pub(super) async fn create(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    network: &str,
) -> Result<Response, Fault> {
    let network = read::id(network)?;
    asked.parameters(&[])?;
    let name = asked.name("sensor_name")?;
    access::network(app, token, network)?;
    let sensor = app.change(move |accounts| accounts.create_sensor(network, &name)).await?;
    Ok(answer::object(StatusCode::CREATED, |object| object.text("sensor_identifier", &sensor.to_string())))
}

pub(super) fn list(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    network: &str,
) -> Result<Response, Fault> {
    let network = read::id(network)?;
    asked.parameters(&[])?;
    asked.nothing()?;
    access::network(app, token, network)?;
    let all = app.accounts().sensors_of(network);
    let all = all.iter().map(|sensor| (sensor.id.clone(), sensor.name.as_str()));
    Ok(named(["sensor_identifier", "sensor_name"], all))
}

pub(super) async fn update(
    app: &App,
    asked: &Asked<'_>,
    token: Option<&[u8]>,
    place: Place<'_>,
) -> Result<Response, Fault> {
    let (network, sensor) = read::place(place)?;
    asked.parameters(&[])?;
    let name = asked.name("sensor_name")?;
    access::sensor(app, token, (network, sensor))?;
    app.change(move |accounts| accounts.rename_sensor(network, sensor, &name)).await?;
    Ok(answer::object(StatusCode::OK, |_| {}))
}

fn named<'a>([id, name]: [&'static str; 2], all: impl IntoIterator<Item = (String, &'a str)>) -> Response {
    let mut body = Vec::new();
    put_array(&mut body, all, |out, (its_id, its_name)| {
        let mut object = Object::begin(out);
        object.text(id, &its_id);
        object.text(name, its_name);
        object.end();
    });
    reply::json(StatusCode::OK, body)
}

//! `/status`, `/users` and `/authentication`.

use axum::http::StatusCode;
use axum::response::Response;

use super::answer::{self, Fault};
use super::read::Asked;
use super::wire::{put_float, seconds};
use super::{App, GATEWAY};
use crate::accounts::tenta::Id;
use crate::gateway::json::put_number;

pub(super) fn status(app: &App, asked: &Asked<'_>) -> Result<Response, Fault> {
    asked.parameters(&[])?;
    asked.nothing()?;
    let config = &app.config;
    Ok(answer::object(StatusCode::OK, |object| {
        object.text("environment", &config.environment);
        object.text("commit_sha", &config.commit_sha);
        object.text("branch_name", &config.branch_name);
        put_float(object.key("start_timestamp"), seconds(app.started_us));
        if !app.is_hermes() {
            object.text("mqtt_hostname", &config.mqtt_hostname);
            put_number(object.key("mqtt_port"), u64::from(config.mqtt_port));
        }
    }))
}

pub(super) async fn create(app: &App, asked: &Asked<'_>) -> Result<Response, Fault> {
    asked.parameters(&[])?;
    let (name, password) = asked.user()?;
    let tenant = app.config.tenant.clone();
    // Before the password is hashed, and once more when the user is kept.
    if app.accounts().person_named(&tenant, &name).is_some() {
        return Err(Fault::Conflict);
    }
    let hash = app.passwords.hash(password).await?;
    let (user, token) = app.change(move |accounts| accounts.create_person(&tenant, &name, hash)).await?;
    Ok(entered(user, &token))
}

pub(super) async fn authenticate(app: &App, asked: &Asked<'_>) -> Result<Response, Fault> {
    asked.parameters(&[])?;
    let (name, password) = asked.user()?;
    let person = app.accounts().person_named(&app.config.tenant, &name).ok_or(Fault::NotFound)?;
    if !app.passwords.verify(password, person.hash.clone()).await? {
        app.ingress.turned_away(GATEWAY);
        return Err(Fault::Unauthorized);
    }
    let user = person.id;
    let token = app.change(move |accounts| accounts.create_token(user)).await?;
    Ok(entered(user, &token))
}

fn entered(user: Id, token: &str) -> Response {
    answer::object(StatusCode::CREATED, |object| {
        object.text("user_identifier", &user.to_string());
        object.text("access_token", token);
    })
}

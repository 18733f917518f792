//! `GET /v1/query/PLUGIN`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::super::credential::CLAIMS;
use super::super::request::Fault;
use super::super::{answer, fields, router::App};
use super::{Parameters, bad_request, enter, limit, once, parameter, required, status};
use crate::gateway::reply;
use crate::ingress::Query;

/// Query parameters that are not the plugin's.
const OURS: [&str; 3] = ["topic", "cursor", "limit"];

/// Asks a storage plugin.
pub(in super::super) async fn query(
    State(app): State<App>,
    plugin: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (visit, parameters) = match enter(&app, &request, None).await {
        Ok(entered) => entered,
        Err(refusal) => return refusal,
    };
    let named = plugin.map_err(|_| Fault::new("the plugin's name is not UTF-8".into()));
    let asked = match named.and_then(|Path(plugin)| read(plugin, &parameters)) {
        Ok(asked) => asked,
        Err(fault) => return bad_request(&fault),
    };
    match visit.ingress().query(visit.session(), asked).await {
        Ok(page) => reply::json(StatusCode::OK, answer::body(|object| answer::query(object, &page))),
        Err(failure) => {
            let body = answer::body(|object| answer::query_failure(object, &failure));
            reply::json(status::of_query(&failure), body)
        }
    }
}

fn read(plugin: String, parameters: &Parameters) -> Result<Query, Fault> {
    once(parameters)?;
    let mut params = Map::new();
    for (name, value) in parameters {
        if OURS.contains(&name.as_str()) || CLAIMS.contains(&name.as_str()) {
            continue;
        }
        params.insert(name.clone(), Value::String(value.clone()));
    }
    Ok(Query {
        plugin,
        topic: required(parameters, "topic")?.into(),
        params: Value::Object(params).to_string(),
        cursor: fields::check_cursor(parameter(parameters, "cursor"))?,
        limit: u32::try_from(limit(parameters)?).unwrap_or(u32::MAX),
    })
}

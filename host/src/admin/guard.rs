//! What every request passes first: is it meant for this listener, and may its sender act?

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::AdminState;
use super::answer::Fault;

pub(super) async fn guard(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let mut response = match check(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn check(state: &AdminState, request: &Request) -> Result<(), Fault> {
    let path = request.uri().path();
    // Health checks of orchestrators come under any name, and their answers are nobody's secret.
    if path == "/healthz" || path == "/readyz" {
        return Ok(());
    }
    let headers = request.headers();
    let host = only(headers, header::HOST)?.unwrap_or_default();
    if !is_own_name(host, &state.hosts) {
        let reason = format!(
            "the host name {host:?} is not this listener's: use localhost or an IP address, or add it to [admin] hosts"
        );
        return Err(Fault::new(StatusCode::FORBIDDEN, "denied", reason));
    }
    let origin = only(headers, header::ORIGIN)?;
    if origin.is_some_and(|origin| origin.split_once("://").is_none_or(|(_, authority)| authority != host)) {
        let reason = "pages of other origins are not let in";
        return Err(Fault::new(StatusCode::FORBIDDEN, "denied", reason));
    }
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty())
        && !takes_query(request.method(), path)
    {
        return Err(Fault::invalid(format!("{path} takes no parameters, found {query:?}")));
    }
    if path.starts_with("/v1/") && !is_operator(state, headers)? {
        let reason = "the token of DATA/admin.token is needed as `Authorization: Bearer TOKEN`";
        return Err(Fault::new(StatusCode::UNAUTHORIZED, "unauthenticated", reason));
    }
    Ok(())
}

/// Those that read their parameters themselves. What the others ignored, its sender might have relied on.
fn takes_query(method: &Method, path: &str) -> bool {
    let of_log = path.starts_with("/v1/logs/");
    let whole = ["/v1/trace", "/v1/retained", "/v1/tenta/import"].contains(&path);
    of_log || whole || (path == "/v1/dead" && method == Method::GET)
}

/// The header's value. Two of them are refused: a proxy in front might have looked at the other one.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Fault> {
    let mut values = headers.get_all(&name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Fault::invalid(format!("the header `{name}` is given twice")));
    }
    let text = first.map(|value| value.to_str()).transpose();
    text.map_err(|_| Fault::invalid(format!("the header `{name}` is not ASCII")))
}

/// An attacker's page can reach this machine under a name of the attacker's, never under an address.
fn is_own_name(host: &str, hosts: &[String]) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.0.parse::<IpAddr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
    name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

fn is_operator(state: &AdminState, headers: &HeaderMap) -> Result<bool, Fault> {
    let Some(value) = only(headers, header::AUTHORIZATION)? else { return Ok(false) };
    let given = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    Ok(given.is_some_and(|(_, token)| state.token.is(token.trim())))
}

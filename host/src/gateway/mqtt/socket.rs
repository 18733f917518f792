//! MQTT over WebSocket (MQTT 5, section 6): `/mqtt` of the HTTP listener, with the subprotocol `mqtt`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};

use super::{App, Visitor, talk};
use crate::gateway::forwarded::Client;
use crate::gateway::lease::{Lease, Peer, Port, Secure, TlsName};
use crate::gateway::{reply, ws};

/// Its path, of which the HTTP listener's own router is made complete.
pub fn router(app: App) -> Router {
    Router::new().route("/mqtt", get(open)).with_state(app)
}

async fn open(State(app): State<App>, Extension(lease): Extension<Lease>, mut request: Request) -> Response {
    let visitor = visitor(&request);
    let upgrade = match ws::handshake(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal,
    };
    let Some(protocol) = subprotocol(request.headers()) else {
        let reason = "this path speaks MQTT: `Sec-WebSocket-Protocol: mqtt` is accepted";
        return reply::fault(StatusCode::BAD_REQUEST, "invalid", reason);
    };
    let mut response = upgrade.response();
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    let rest = lease.clone();
    lease.spawn(async move {
        if let Some(opened) = upgrade.opened().await {
            talk::talk_in_messages(&app.0, opened, &visitor, &rest).await;
        }
    });
    response
}

fn visitor(request: &Request) -> Visitor {
    let of = request.extensions();
    let client = Client {
        address: of.get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address),
        port: of.get().map_or(0, |Port(port)| *port),
        secure: of.get().is_some_and(|Secure(secure)| *secure),
    };
    Visitor { client, tls_name: of.get().map(|TlsName(name)| Arc::clone(name)) }
}

/// The one that is chosen of those that the client offers.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    let offered = |wanted: &&str| {
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
        let mut all = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        all.any(|one| one.trim() == *wanted)
    };
    ["mqtt", "mqttv3.1"].into_iter().find(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subprotocol_is_one_of_those_that_are_offered() {
        for (offered, chosen) in [
            ("mqtt", Some("mqtt")),
            ("chat, mqtt", Some("mqtt")),
            ("mqttv3.1,mqtt", Some("mqtt")),
            ("mqttv3.1", Some("mqttv3.1")),
            ("MQTT", None),
            ("mqtt5", None),
        ] {
            let mut headers = HeaderMap::new();
            assert_eq!(subprotocol(&headers), None);
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered.parse().unwrap());
            assert_eq!(subprotocol(&headers), chosen, "{offered}");
        }
    }
}

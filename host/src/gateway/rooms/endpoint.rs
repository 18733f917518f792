//! `/ws/endpoint/CODE/`. Rights, room and webhook are those of the moment in which it was opened.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use weir_contract::topic::encode_level;

use super::socket::{self, SENSELESS, SILENCE};
use super::webhook::Webhook;
use super::{App, wire};
use crate::accounts::{Endpoint, MAIN, RoomName};
use crate::config::{Flavour, Limits};
use crate::gateway::foreign::{converse, level_text};
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next, Upgrade};
use crate::ingress::{Entrant, Publish};
use crate::message::{Responder, Routed, Wire};

/// A room's topic, below its tenant's name where that is not `main`.
fn topic(room: &RoomName) -> String {
    let before = if room.tenant == MAIN { String::new() } else { format!("{}/", room.tenant) };
    format!("{before}rooms/{}/{}", encode_level(&room.owner), encode_level(&room.room))
}

pub(super) async fn open(
    app: App,
    lease: Lease,
    upgrade: Upgrade,
    address: String,
    endpoint: Arc<Endpoint>,
) -> Response {
    let topic = topic(&endpoint.room);
    let name = socket::name(&endpoint.identity);
    let headers = match level_text(&name) == endpoint.identity {
        true => Vec::new(),
        false => vec![(wire::IDENTITY.to_owned(), endpoint.identity.clone())],
    };
    let entrant = Entrant {
        address,
        tenant: endpoint.room.tenant.clone(),
        name,
        account: (!app.config.keep_open).then(|| endpoint.account()),
        client_id: Some(endpoint.id.clone()),
        ..Entrant::default()
    };
    let rights = (endpoint.may_write(), endpoint.may_read());
    let visit = match socket::enter(&app, entrant, &topic, rights).await {
        Ok(visit) => visit,
        Err(refusal) => return refusal,
    };
    let room = app.ingress.accounts().room(&endpoint.room);
    let webhook = room.and_then(|room| Webhook::of(&app.ingress, &room.webhook));
    let most_bytes = app.limits.message_bytes.saturating_add(wire::AROUND);
    let publish = Publish {
        topic: topic.into(),
        content_type: Some("application/json".into()),
        headers,
        ..Publish::default()
    };
    let speaker = move |visit| Speaker { visit, endpoint, webhook, publish, most_bytes };
    let limits = Arc::clone(&app.limits);
    match app.config.flavour {
        Flavour::Newest => converse(upgrade, lease, visit, limits, move |_, visit| Newest(speaker(visit))),
        Flavour::Seed => converse(upgrade, lease, visit, limits, move |_, visit| Early(speaker(visit))),
    }
}

/// An open connection.
struct Speaker {
    visit: Visit,
    endpoint: Arc<Endpoint>,
    webhook: Option<Webhook>,
    /// All of a message but its payload.
    publish: Publish,
    most_bytes: usize,
}

impl Speaker {
    async fn hear(&self, text: &str) -> Next {
        let Some(value) = wire::said(text) else { return SENSELESS };
        if !self.endpoint.may_write() {
            return Next::Read;
        }
        let payload = Bytes::copy_from_slice(value.as_bytes());
        let (webhook, session) = (self.webhook.clone(), Arc::clone(self.visit.session()));
        let endpoint = Arc::clone(&self.endpoint);
        let responder = Responder::new(move |outcome| {
            if let Some(webhook) = webhook {
                webhook.post(&outcome, &topic(&endpoint.room), &endpoint);
            }
            socket::tell(&session, &outcome);
        });
        let publish = Publish { payload, ..self.publish.clone() };
        self.visit.ingress().publish(self.visit.session(), publish, responder).await;
        Next::Read
    }
}

/// As the newest version has it.
struct Newest(Speaker);

/// As the first version had it.
struct Early(Speaker);

macro_rules! handler {
    ($name:ident, $wire:expr, $encode:expr) => {
        impl Handler for $name {
            const ENCODE: Encode = |routed: &Routed| routed.frame($wire, $encode);

            fn most_bytes(&self) -> usize {
                self.0.most_bytes
            }

            fn silence(&self, limits: &Limits) -> Option<Duration> {
                Some(SILENCE.min(limits.silence))
            }

            async fn text(&mut self, text: Utf8Bytes) -> Next {
                self.0.hear(&text).await
            }

            async fn binary(&mut self, _: Bytes) -> Next {
                SENSELESS
            }
        }
    };
}

handler!(Newest, Wire::Rooms, wire::delivery);
handler!(Early, Wire::EarlyRooms, wire::early_delivery);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_of_different_users_never_meet() {
        let of = |tenant: &str, owner: &str, room: &str| {
            topic(&RoomName { tenant: tenant.into(), owner: owner.into(), room: room.into() })
        };
        assert_eq!(of("main", "alice", "r1"), "rooms/alice/r1");
        assert_eq!(of("lab", "alice", "r1"), "lab/rooms/alice/r1");
        assert_eq!(of("main", "a/b", "c+#"), "rooms/a%2Fb/c%2B%23");
        assert_ne!(of("main", "a_b", "c"), of("main", "a", "b_c"));
        assert_ne!(of("main", "a", "b/c"), of("main", "a/b", "c"));
    }
}

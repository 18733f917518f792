//! `/ws/chat/ROOM/`: the older chat, in which everybody may speak and nobody has a name.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use weir_contract::topic::encode_level;

use super::socket::{self, SENSELESS, SILENCE};
use super::{App, wire};
use crate::accounts::MAIN;
use crate::config::Limits;
use crate::gateway::foreign::converse;
use crate::gateway::lease::Lease;
use crate::gateway::visit::Visit;
use crate::gateway::ws::{Encode, Handler, Next, Upgrade};
use crate::ingress::{Entrant, Publish};
use crate::message::{Responder, Routed, Wire};

pub(super) async fn open(app: App, lease: Lease, upgrade: Upgrade, address: String, room: &str) -> Response {
    let topic = format!("chat/{}", encode_level(room));
    let entrant = Entrant {
        address,
        tenant: MAIN.into(),
        name: socket::name(""),
        // Each is a publisher of its own: they share nothing but the name that they do not have.
        client_id: Some(ulid::Ulid::generate().to_string()),
        ..Entrant::default()
    };
    let visit = match socket::enter(&app, entrant, &topic, (true, true)).await {
        Ok(visit) => visit,
        Err(refusal) => return refusal,
    };
    let most_bytes = app.limits.message_bytes.saturating_add(wire::AROUND);
    let publish =
        Publish { topic: topic.into(), content_type: Some("application/json".into()), ..Publish::default() };
    converse(upgrade, lease, visit, Arc::clone(&app.limits), move |_, visit| Chatter {
        visit,
        publish,
        most_bytes,
    })
}

struct Chatter {
    visit: Visit,
    publish: Publish,
    most_bytes: usize,
}

impl Handler for Chatter {
    // Topics of the chat have no readers in rooms, so that the frame is theirs alone.
    const ENCODE: Encode = |routed: &Routed| routed.frame(Wire::Rooms, wire::chat_delivery);

    fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    fn silence(&self, limits: &Limits) -> Option<Duration> {
        Some(SILENCE.min(limits.silence))
    }

    async fn text(&mut self, text: Utf8Bytes) -> Next {
        let Some(value) = wire::said(&text) else { return SENSELESS };
        let payload = Bytes::copy_from_slice(value.as_bytes());
        let session = Arc::clone(self.visit.session());
        let responder = Responder::new(move |outcome| socket::tell(&session, &outcome));
        let publish = Publish { payload, ..self.publish.clone() };
        self.visit.ingress().publish(self.visit.session(), publish, responder).await;
        Next::Read
    }

    async fn binary(&mut self, _: Bytes) -> Next {
        SENSELESS
    }
}

//! The copy of a room's messages that goes to its webhook. Where that is, is looked at once per connection, as the
//! original does; whatever becomes of it, the sender never waits and never learns of it.

use super::wire;
use crate::accounts::Endpoint;
use crate::config;
use crate::ingress::Ingress;
use crate::message::{Message, Outcome};
use crate::outbox::Direct;
use crate::telemetry::Seldom;

/// Users set them, and whoever has a code may connect.
static UNUSABLE: Seldom = Seldom::new();

/// Where the messages of one connection are posted.
#[derive(Clone)]
pub(super) struct Webhook {
    url: config::Endpoint,
    direct: Direct,
}

impl Webhook {
    /// None: there is none, or it is no URL.
    pub(super) fn of(ingress: &Ingress, url: &str) -> Option<Self> {
        if url.is_empty() {
            return None;
        }
        let direct = ingress.direct()?.clone();
        let parsed = url.parse::<config::Endpoint>().inspect_err(|error| {
            if UNUSABLE.is_due() {
                tracing::warn!(%error, "a room's webhook cannot be used: nothing is posted");
            }
        });
        parsed.ok().map(|url| Self { url, direct })
    }

    /// Posts what a message of an endpoint has become in the room of this topic. Never blocks.
    pub(super) fn post(&self, outcome: &Outcome, topic: &str, endpoint: &Endpoint) {
        let Outcome::Accepted { messages, .. } = outcome else { return };
        for routed in messages.iter().filter_map(|one| one.routed.as_ref()) {
            if &*routed.message.topic == topic {
                self.copy(&routed.message, endpoint);
            }
        }
    }

    fn copy(&self, message: &Message, endpoint: &Endpoint) {
        let body = wire::webhook(message, endpoint).into_bytes();
        self.direct.post(endpoint, self.url.clone(), body);
    }
}

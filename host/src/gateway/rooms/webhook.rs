//! The copy of a room's messages that goes to its webhook. Where that is, is looked at once per connection, as the
//! original does; whatever becomes of it, the sender never waits and never learns of it.

use super::wire;
use crate::accounts::Endpoint;
use crate::config;
use crate::ingress::Ingress;
use crate::message::{Message, Outcome};
use crate::outbox::Direct;

/// Where the messages of one connection are posted.
#[derive(Clone)]
pub(super) struct Webhook {
    url: config::Endpoint,
    direct: Direct,
}

impl Webhook {
    /// None: there is none, or posts may not go there.
    pub(super) fn of(ingress: &Ingress, url: &str) -> Option<Self> {
        if url.is_empty() {
            return None;
        }
        let direct = ingress.direct()?.clone();
        match url.parse::<config::Endpoint>() {
            Ok(url) if direct.may_reach(&url) => Some(Self { url, direct }),
            Ok(url) => {
                let accepted = "[outbox] networks";
                tracing::warn!(destination = %url, accepted, "a room's webhook is not public: nothing is posted");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a room's webhook cannot be used: nothing is posted");
                None
            }
        }
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

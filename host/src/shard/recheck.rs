//! Standing subscriptions are asked for again when the auth plugins or the accounts change.

use std::sync::Arc;

use super::Shard;
use crate::message::Outcome;
use crate::session::{Notice, Session};

impl Shard {
    /// Ends the subscriptions that the session may no longer have, and the session itself when the plugin
    /// that let it in is gone.
    pub(super) fn recheck(&mut self, session: &Arc<Session>) {
        let principal = &session.principal;
        if principal.rights.is_none() && self.stages.auth_of(&principal.binding).is_none() {
            let binding = &principal.binding;
            session.outbound.close(1008, format!("the auth plugin {binding} that let you in is gone"));
            return;
        }
        for pattern in session.subscriptions() {
            let presence = self.context.router.watches(session, &pattern);
            let Some(reason) = forbidden(self.may_subscribe(session, &pattern, presence)) else { continue };
            self.context.router.unsubscribe(session, &pattern);
            session.notify(Notice::Unsubscribed { pattern: &pattern, reason });
        }
        for attached in self.context.durable.attached(session) {
            if let Some(reason) = forbidden(self.may_subscribe(session, attached.pattern(), false)) {
                self.context.durable.revoke(session, &attached, reason);
            }
        }
    }
}

/// Why a session may not subscribe to a pattern any more; none if it may.
fn forbidden(answer: Result<(), Outcome>) -> Option<&'static str> {
    match answer {
        Ok(()) => None,
        Err(Outcome::Denied { .. }) => Some("no longer allowed"),
        Err(_) => Some("permission could not be checked"),
    }
}

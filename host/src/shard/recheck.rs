//! Standing subscriptions are asked for again when the auth plugins or the accounts change.

use std::sync::Arc;

use super::Shard;
use crate::message::Outcome;
use crate::session::{Notice, Session};

impl Shard {
    /// Ends the subscriptions that the session may no longer have, and the session itself when the plugin
    /// that let it in is gone.
    pub(super) fn recheck(&mut self, session: &Arc<Session>) {
        if self.stages.auth_of(&session.principal.binding).is_none() {
            let binding = &session.principal.binding;
            session.outbound.close(1008, format!("the auth plugin {binding} that let you in is gone"));
            return;
        }
        for pattern in session.subscriptions() {
            let Some(reason) = self.forbidden(session, &pattern) else { continue };
            self.context.router.unsubscribe(session, &pattern);
            session.notify(Notice::Unsubscribed { pattern: &pattern, reason });
        }
        for attached in self.context.durable.attached(session) {
            if let Some(reason) = self.forbidden(session, attached.pattern()) {
                self.context.durable.revoke(session, &attached, reason);
            }
        }
    }

    /// Why the session may not subscribe to a pattern any more; none if it may.
    fn forbidden(&mut self, session: &Session, pattern: &str) -> Option<&'static str> {
        match self.authorize(session, "subscribe", pattern) {
            Ok(()) => None,
            Err(Outcome::Denied { .. }) => Some("no longer allowed"),
            Err(_) => Some("permission could not be checked"),
        }
    }
}

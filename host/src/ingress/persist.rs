//! Sessions that outlive their connections: what they read, and how they end.

use std::sync::Arc;

use tokio::sync::oneshot;
use weir_contract::topic::Pattern;

use super::{Ingress, parse_pattern};
use crate::durable::{Keeps, Request};
use crate::message::{Outcome, Principal};
use crate::persistent::{Persistent, Registry, Subscription};
use crate::retained::Looked;
use crate::session::{Overflow, Pushed, Session};

/// Topics that are looked at in one go.
const LOOK: usize = 1_024;

impl Ingress {
    /// All of them.
    pub fn persistent(&self) -> &Arc<Registry> {
        &self.0.parts.persistent
    }

    /// How much of what a pattern matches the logs keep.
    pub fn keeps(&self, pattern: &Pattern) -> Keeps {
        self.0.parts.durable.keeps(pattern)
    }

    /// Makes the session a reader of a consumer whose name only sessions have. False: it was there before.
    pub async fn consume_persistent(
        &self,
        session: &Arc<Session>,
        request: &Request,
    ) -> Result<bool, Outcome> {
        Ok(self.consume_named(session, request).await?.is_some())
    }

    /// Sends the retained messages that a pattern matches, as room is found, once what this returns is dropped. The
    /// caller has asked for the right to them.
    pub fn send_retained(
        &self,
        session: &Arc<Session>,
        pattern: &str,
    ) -> Result<oneshot::Sender<()>, Outcome> {
        let pattern = parse_pattern(pattern)?;
        let (retained, session) = (Arc::clone(self.0.parts.sequencer.retained()), Arc::clone(session));
        let (go, begin) = oneshot::channel::<()>();
        tokio::spawn(async move {
            // Dropped: that is the word.
            let _ = begin.await;
            let mut after: Option<Arc<str>> = None;
            while !session.outbound.is_closed() {
                session.outbound.room().await;
                let mut shown = None;
                let looked = retained.look(&pattern, after.as_deref(), LOOK, |topic, kept| {
                    if !session.outbound.has_room() {
                        return std::ops::ControlFlow::Break(());
                    }
                    shown = Some(Arc::clone(topic));
                    match session.outbound.push_message(&kept.routed(), Overflow::Disconnect) {
                        Pushed::Queued => std::ops::ControlFlow::Continue(()),
                        _ => std::ops::ControlFlow::Break(()),
                    }
                });
                after = match looked {
                    Looked::All => return,
                    Looked::UpTo(topic) => Some(topic),
                    Looked::Stopped => shown.or(after),
                };
            }
        });
        Ok(go)
    }

    /// Ends what read the logs for a subscription. A group goes with the last session that has it.
    pub fn end_consumer(&self, session: &Persistent, ended: &Subscription) {
        let owner = session.owner();
        self.end_named(&owner.tenant, &owner.principal, ended);
    }

    /// The same, of a session of this principal.
    pub fn end_reader(&self, principal: &Principal, ended: &Subscription) {
        self.end_named(&principal.tenant, &principal.name, ended);
    }

    fn end_named(&self, tenant: &Arc<str>, principal: &Arc<str>, ended: &Subscription) {
        let Some(consumer) = &ended.consumer else { return };
        let durable = &self.0.parts.durable;
        if !ended.shared {
            durable.remove_named(tenant, Some(principal), consumer);
        } else if !self.persistent().is_subscribed(tenant, &ended.filter) {
            durable.remove_named(tenant, None, consumer);
        }
    }

    /// Deletes a session, with all that waits for it.
    pub fn end_persistent(&self, session: &Arc<Persistent>) {
        for ended in self.persistent().end(session) {
            self.end_consumer(session, &ended);
        }
    }

    /// Ends sessions whose clients have stayed away for too long. To be called every second or so.
    pub fn sweep_persistent(&self) {
        self.persistent().follow();
        for session in self.persistent().expired() {
            tracing::info!(client = %session.owner().client, "a session that nobody came back to is deleted");
            self.end_persistent(&session);
        }
    }
}

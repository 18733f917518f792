//! Durable consumers: who reads one, and what was handled.

use std::sync::Arc;

use super::{Ingress, invalid, parse_pattern};
use crate::durable::{Ack, Made, Refused, Request, Saved, check_name};
use crate::message::Outcome;
use crate::session::Session;

impl Ingress {
    /// Makes the session a reader of a consumer, or of a group, once its auth plugin has allowed every topic
    /// that the pattern matches. `Some`: it was made now, and is on the disk.
    pub async fn consume(&self, session: &Arc<Session>, request: &Request) -> Result<Option<Made>, Outcome> {
        check_name(&request.name).map_err(refused)?;
        self.consume_named(session, request).await
    }

    /// The same, with a name that only sessions have.
    pub(super) async fn consume_named(
        &self,
        session: &Arc<Session>,
        request: &Request,
    ) -> Result<Option<Made>, Outcome> {
        parse_pattern(&request.pattern)?;
        self.0.parts.sequencer.check_names(Some(&request.since))?;
        let durable = &self.0.parts.durable;
        let most = self.0.parts.limits.subscriptions_per_session;
        if session.subscription_count() + durable.attached(session).len() >= most {
            return Err(invalid(format!("{most} subscriptions are held: unsubscribe from one first")));
        }
        self.authorize(session, "subscribe", &request.pattern).await?;
        let (attached, made) = durable.subscribe(session, request).await.map_err(refused)?;
        // The right may have been withdrawn before anybody could see that it was used.
        if let Err(denied) = self.authorize(session, "subscribe", &request.pattern).await {
            durable.revoke(session, &attached, "no longer allowed");
            return Err(denied);
        }
        Ok(made)
    }

    /// Acknowledges messages. Never waits; with `saved`, that is called in the end unless this is an error.
    pub fn ack(&self, session: &Session, ack: &Ack, saved: Option<Saved>) -> Result<(), Outcome> {
        self.0.parts.durable.ack(session, ack, saved).map_err(refused)
    }

    /// The session reads a consumer no more; with `delete`, the consumer goes. False: there was nothing to
    /// end.
    pub async fn leave(
        &self,
        session: &Session,
        name: &str,
        shared: bool,
        delete: bool,
    ) -> Result<bool, Outcome> {
        self.0.parts.durable.unsubscribe(session, name, shared, delete).await.map_err(refused)
    }
}

/// In the words of all commands.
pub fn refused(refused: Refused) -> Outcome {
    match refused {
        Refused::Invalid(reason) => invalid(reason),
        Refused::Overloaded => Outcome::Overloaded,
        Refused::Unavailable(reason) => Outcome::Unavailable { reason },
        Refused::ShuttingDown => Outcome::ShuttingDown,
    }
}

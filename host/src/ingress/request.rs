//! Requests: a message that is published with a private topic for its reply, and the wait for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::waiting::Ticket;
use super::{Ingress, Publish, invalid};
use crate::message::{Message, Outcome, Responder};
use crate::session::Session;
use weir_contract::topic;

/// Why a request has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// It was not accepted: nobody got it.
    #[error("{}", .0.reason())]
    Refused(Outcome),
    /// Too many wait already; it was not published.
    #[error("{most} requests of {of} wait for their reply: at most {most} may")]
    Busy {
        /// The limit.
        most: usize,
        /// Whose it is.
        of: &'static str,
    },
    /// It was published, and nobody replied in time.
    #[error("nobody replied within {} ms", .0.as_millis())]
    Nobody(Duration),
    /// The router does not wait any longer; the request may have been routed.
    #[error("the router is stopping: nobody has replied so far")]
    Stopping,
}

/// A request on its way. Dropping it ends the wait: a reply that comes later is denied.
pub struct Asked {
    ticket: Ticket,
    outcome: oneshot::Receiver<Outcome>,
    timeout: Duration,
    deadline: Instant,
}

impl Ingress {
    /// Publishes with a reply topic that only this request has. Waits as [`publish`](Self::publish) does; the
    /// reply is waited for in [`Asked::reply`].
    pub async fn request(
        &self,
        session: &Arc<Session>,
        mut publish: Publish,
        timeout: Duration,
    ) -> Result<Asked, Unanswered> {
        let deadline = Instant::now() + timeout;
        let ticket = self.0.waiting.ticket(session)?;
        publish.reply_to = Some(ticket.topic());
        let (responder, outcome) = Responder::channel();
        self.submit(session, publish, responder).await;
        Ok(Asked { ticket, outcome, timeout, deadline })
    }
}

impl Asked {
    /// Waits for the reply, until the timeout, which began with the request, or until `stopping`.
    pub async fn reply(self, stopping: impl Future<Output = ()>) -> Result<Message, Unanswered> {
        let Self { mut ticket, outcome, timeout, deadline } = self;
        let why = tokio::select! {
            biased;
            Some(reply) = ticket.reply() => return Ok(reply),
            refused = refusal(outcome) => Unanswered::Refused(refused),
            () = tokio::time::sleep_until(deadline) => Unanswered::Nobody(timeout),
            () = stopping => Unanswered::Stopping,
        };
        // Whoever replied in this very moment was told that it was accepted.
        ticket.last().ok_or(why)
    }
}

/// The outcome of a publish, if nobody can reply to it; else it never comes.
async fn refusal(outcome: oneshot::Receiver<Outcome>) -> Outcome {
    match outcome.await {
        Ok(Outcome::Accepted { .. }) => std::future::pending().await,
        Ok(refused) => refused,
        Err(_) => Outcome::ShuttingDown,
    }
}

/// Only the router makes reply topics of its own, so that nobody can collect what others wait for.
pub(super) fn check(publish: &Publish) -> Result<(), Outcome> {
    match &publish.reply_to {
        Some(reply_to) if topic::is_reserved(reply_to) => {
            Err(invalid("`reply_to` may not begin with $: send a request instead".into()))
        }
        _ => Ok(()),
    }
}

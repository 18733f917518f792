//! Dead letters on their way again: each to where it was stopped.
//!
//! A letter goes when that is done and on the disk, so that a crash in between has it done twice, never not at all.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::Ingress;
use crate::consumer::NotAgain;
use crate::dead_letters::Letter;
use crate::message::{Level, Message, Outcome, Principal, Responder, Sender, now_us};
use crate::outbox::Post;
use crate::plugin::AuthSlot;
use crate::received;
use crate::session::{OutboundLimits, Session};
use crate::shard::{Command, Published, Reply, Requeue};

/// Under which name requeued messages are counted among the gateways.
const GATEWAY: &str = "requeue";

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requeued {
    /// That of the publish; `stored` or `queued` where it was no publish; `invalid` or `unavailable` where it could not
    /// be tried.
    pub outcome: &'static str,
    /// In words; may be empty.
    pub reason: String,
    /// The letter is gone.
    pub gone: bool,
}

impl Requeued {
    fn stays(outcome: &'static str, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into(), gone: false }
    }

    fn invalid(reason: impl Into<String>) -> Self {
        Self::stays("invalid", reason)
    }
}

/// Requeues dead letters, for the operator.
pub trait RequeueLetters: Send + Sync {
    /// Does again what the letter stands for. It goes when that is done.
    fn requeue(&self, letter: Letter) -> BoxFuture<'_, Requeued>;
}

impl RequeueLetters for Ingress {
    fn requeue(&self, letter: Letter) -> BoxFuture<'_, Requeued> {
        Box::pin(async move {
            let (id, stage) = (letter.id, letter.about.stage.clone());
            let requeued = self.once_more(letter).await;
            let Requeued { outcome, reason, gone } = &requeued;
            tracing::info!(%id, stage, outcome, reason, gone, "dead letter requeued");
            requeued
        })
    }
}

impl Ingress {
    async fn once_more(&self, letter: Letter) -> Requeued {
        let letters = &self.0.parts.dead_letters;
        let Some(claim) = letters.claim(letter.id) else {
            return Requeued::stays("unavailable", "it is being requeued already");
        };
        if !letters.has(letter.id) {
            // Somebody was quicker.
            return Requeued { gone: true, ..Requeued::stays("not-found", "it is gone meanwhile") };
        }
        let expired = letter.message.expires_us().is_some_and(|at| at <= now_us());
        let mut requeued = match letter.about.stage.as_str() {
            "storage" => self.store_again(&letter).await,
            "outbox" => self.post_again(&letter).await,
            "gap" => Requeued::invalid("a gap has no message: it says what a reader never saw, purge it"),
            _ if expired => Requeued::invalid("the message has expired: purge it"),
            "webhook" => {
                let (letters, id) = (Arc::clone(letters), letter.id);
                let sent = move || {
                    if let Err(error) = letters.purge(Some(&[id])) {
                        tracing::error!(%id, %error, "a dead letter was sent and cannot be deleted");
                    }
                    drop(claim);
                };
                return match self.0.parts.webhooks.send_again(&letter, sent) {
                    Ok(()) => Requeued::stays("queued", "the letter goes when the receiver has answered"),
                    Err(reason) => Requeued::invalid(reason),
                };
            }
            _ => self.publish_again(&letter).await,
        };
        if requeued.gone {
            let (letters, id) = (Arc::clone(letters), letter.id);
            let deleted = tokio::task::spawn_blocking(move || letters.purge(Some(&[id]))).await;
            if !matches!(deleted, Ok(Ok(_))) {
                requeued.gone = false;
                requeued.reason = format!("{} (the letter could not be deleted)", requeued.reason);
            }
        }
        requeued
    }

    /// To the storage plugin alone: everybody else has it.
    async fn store_again(&self, letter: &Letter) -> Requeued {
        let stored = self.0.parts.consumers.store_again(&letter.about.plugin, letter.message.clone()).await;
        done("stored", stored)
    }

    async fn post_again(&self, letter: &Letter) -> Requeued {
        let Some(post) = Post::of_letter(letter) else {
            return Requeued::invalid(
                "the letter does not have all of the post, which an earlier version kept",
            );
        };
        done("queued", self.0.parts.consumers.post_again(&letter.about.plugin, post).await)
    }

    /// Through the whole live chain, as the principal that published it.
    async fn publish_again(&self, letter: &Letter) -> Requeued {
        let principal = match self.publisher(letter) {
            Ok(principal) => principal,
            Err(refused) => return refused,
        };
        let requeue = Arc::new(Requeue::default());
        let outcome = self.run_again(principal, received::strip(letter.message.clone()), &requeue).await;
        let gone = match &outcome {
            // Routed, but lost to its log: once more is better than never.
            Outcome::Accepted { level: Level::Routed, messages, .. } => {
                messages.iter().all(|message| message.place.is_none())
            }
            Outcome::Accepted { .. } => true,
            _ => requeue.decided.load(Ordering::Acquire),
        };
        Requeued { outcome: outcome.as_str(), reason: outcome.reason(), gone }
    }

    /// Who published it, if it may still be asked what that principal may.
    fn publisher(&self, letter: &Letter) -> Result<Principal, Requeued> {
        let again = letter.again.as_deref().and_then(Sender::decode);
        let principal = again.and_then(|sender| sender.principal(&letter.message)).ok_or_else(|| {
            let reason = "the letter does not say who let its publisher in: an earlier version kept it";
            Requeued::invalid(reason)
        })?;
        let chain = self.0.parts.chain.load();
        let is_it =
            |slot: &AuthSlot| matches!(slot, AuthSlot::Live(auth) if *auth.name() == principal.binding);
        if principal.rights.is_none() && !chain.auth.iter().any(is_it) {
            let reason = format!("the auth plugin {} that let its publisher in is gone", principal.binding);
            return Err(Requeued::stays("denied", reason));
        }
        if !self.stands(&principal) {
            let (id, tenant) = (principal.account.as_deref().unwrap_or("none"), &principal.tenant);
            let reason = format!(
                "the key {id} that it was published with is revoked or has expired, or its tenant {tenant} is gone"
            );
            return Err(Requeued::stays("denied", reason));
        }
        Ok(principal)
    }

    async fn run_again(&self, principal: Principal, message: Message, requeue: &Arc<Requeue>) -> Outcome {
        let id = ulid::Ulid::generate().to_string().into();
        let bounds = OutboundLimits { messages: 1, bytes: 1 };
        let session = Arc::new(Session::new(id, principal, GATEWAY, String::new(), bounds, None));
        let (responder, answered) = Responder::channel();
        let reply = self.reply(&session, &message.topic, &message.payload, responder, Instant::now());
        let reply = Reply { requeue: Some(Arc::clone(requeue)), ..reply };
        let Some(shard) = self.shard(&session) else { return Outcome::ShuttingDown };
        let Some(permit) = shard.room(message.size()).await else { return Outcome::ShuttingDown };
        let published = vec![Published { message, level: Level::Logged, reply }];
        drop(shard.send(Command::Publish { session, published, permit }).await);
        answered.await.unwrap_or(Outcome::ShuttingDown)
    }
}

fn done(outcome: &'static str, result: Result<(), NotAgain>) -> Requeued {
    match result {
        Ok(()) => Requeued { outcome, reason: String::new(), gone: true },
        Err(NotAgain::Failed(reason)) => Requeued::stays("plugin-failed", reason),
        Err(NotAgain::Unknown(name)) => Requeued::invalid(NotAgain::Unknown(name).to_string()),
        Err(later) => Requeued::stays("unavailable", later.to_string()),
    }
}

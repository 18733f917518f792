//! A dead letter's message posted once more. It waits in the letter, which goes when the receiver has answered.

use std::sync::Arc;

use super::{Delivered, Webhook, Webhooks};
use crate::dead_letters::Letter;
use crate::message::{Place, Stored};

/// Letters of one webhook that may wait for their turn.
pub(super) const LETTERS: usize = 100;

impl Webhooks {
    /// Posts a letter's message once more, with the key that it had, as soon as no other message of the webhook is being
    /// sent: one attempt. `sent` is called when the receiver has it, and dropped otherwise. Err: it is not tried.
    pub fn send_again(&self, letter: &Letter, sent: impl FnOnce() + Send + 'static) -> Result<(), String> {
        let name = &letter.about.plugin;
        let webhook = self.0.iter().find(|webhook| webhook.name == *name);
        let webhook = webhook.ok_or_else(|| format!("there is no {name} any more"))?;
        let stored = stored(letter).ok_or("the letter does not say where in the log the message stands")?;
        let waiting = Arc::clone(&webhook.again).try_acquire_owned();
        let waiting = waiting.map_err(|_| format!("{LETTERS} letters of {name} wait already: try again"))?;
        let again = Arc::clone(webhook);
        webhook.outbox.tasks.spawn_on(
            async move {
                if again.once_more(&stored).await {
                    drop(tokio::task::spawn_blocking(sent).await);
                }
                drop(waiting);
            },
            &webhook.outbox.runtime,
        );
        Ok(())
    }
}

impl Webhook {
    async fn once_more(&self, stored: &Stored) -> bool {
        let _turn = self.turn.lock().await;
        let post = self.post(stored);
        // The letter is there still, and others wait.
        let sender = self.sender(1);
        let delivered = sender.deliver(&post, 0, |_| std::future::ready(())).await;
        if let Delivered::Dead(reason) = &delivered {
            tracing::error!(outbox = self.name, destination = %self.url, reason, "requeued letter was not sent: it stays");
        }
        delivered == Delivered::Sent
    }
}

/// The message with its place, which is its key: `LOG:EPOCH:OFFSET`.
fn stored(letter: &Letter) -> Option<Stored> {
    let mut parts = letter.about.key.rsplitn(3, ':');
    let (offset, epoch, log) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.into());
    Some(Stored { message: letter.message.clone(), place: Place { log, epoch, offset } })
}

//! Attempts until a post is sent or given up.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Outbox;
use super::client::Failure;
use super::post::Post;
use super::told::Told;
use crate::config;

/// What became of a post.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// The receiver has it.
    Sent,
    /// It is given up, for this reason.
    Dead(String),
    /// Nobody wants it to be sent any more.
    Unwanted,
    /// Not known: the sender was stopped.
    Stopped,
}

/// One queue's or webhook's way of sending.
pub(super) struct Sender<'a> {
    pub(super) outbox: &'a Outbox,
    pub(super) told: &'a Told,
    /// Asked before each attempt.
    pub(super) wanted: &'a (dyn Fn() -> bool + Sync),
    /// Ends it between two attempts.
    pub(super) closing: &'a CancellationToken,
    pub(super) max_attempts: u64,
}

impl Sender<'_> {
    /// Tries until it is sent or given up. `attempts` have failed before; `failed` is told of each further one, and waited
    /// for.
    pub(super) async fn deliver<F: Future>(
        &self,
        post: &Post,
        mut attempts: u64,
        failed: impl Fn(u64) -> F,
    ) -> Delivered {
        loop {
            if self.closing.is_cancelled() {
                return Delivered::Stopped;
            }
            if !(self.wanted)() {
                return Delivered::Unwanted;
            }
            let failure = tokio::select! {
                sent = self.outbox.client.send(post) => match sent {
                    Ok(()) => {
                        self.told.metrics.sent.inc();
                        return Delivered::Sent;
                    }
                    Err(failure) => failure,
                },
                () = self.outbox.aborting.cancelled() => return Delivered::Stopped,
            };
            self.told.metrics.failed.inc();
            attempts += 1;
            let Failure { reason, again, after } = failure;
            if !again {
                return Delivered::Dead(reason);
            }
            if attempts >= self.max_attempts {
                return Delivered::Dead(format!("{reason}; {attempts} attempts have failed"));
            }
            failed(attempts).await;
            let pause = pause(&self.outbox.options, attempts, after);
            self.told.failed(&post.endpoint, attempts, &reason, pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closing.cancelled() => return Delivered::Stopped,
            }
        }
    }
}

/// Exponential with full jitter, so that many routers do not come back all at once; at least what the receiver
/// asked for, as far as the longest pause allows.
fn pause(options: &config::Outbox, attempts: u64, asked: Option<Duration>) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
    let most = options.first_pause.saturating_mul(1 << doublings).min(options.longest_pause);
    let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    // Without a random number the longest pause is the safe one.
    let chosen = getrandom::u64().map_or(most_us, |random| random % most_us.saturating_add(1));
    Duration::from_micros(chosen).max(asked.unwrap_or_default().min(options.longest_pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_keep_what_was_asked_for() {
        let second = Duration::from_secs(1);
        let options =
            config::Outbox { first_pause: second, longest_pause: 10 * second, ..config::Outbox::default() };
        let longest = |attempts| (0..500).map(|_| pause(&options, attempts, None)).max().unwrap();
        for (attempts, most) in [(1, 1), (2, 2), (3, 4), (5, 10), (64, 10), (u64::MAX, 10)] {
            let longest = longest(attempts);
            assert!(longest <= most * second && longest > most * second / 2, "{attempts}: {longest:?}");
        }
        assert!(pause(&options, 1, Some(5 * second)) == 5 * second);
        assert!(pause(&options, 1, Some(3_600 * second)) == 10 * second);
    }
}

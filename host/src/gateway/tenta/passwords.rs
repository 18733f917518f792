//! Passwords take time and memory to hash: a few at once, and no more may wait than can be answered soon.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::answer::Fault;
use crate::accounts::password;

/// Passwords that are hashed at the same time.
const AT_ONCE: usize = 2;
/// Requests that may wait for that; one more is answered 503.
const WAITING: usize = 64;

/// The turns of passwords.
#[derive(Clone)]
pub(super) struct Passwords {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE + WAITING));
        Self { places, turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    pub(super) async fn hash(&self, password: String) -> Result<String, Fault> {
        self.turn(move || password::hash(&password)).await?.map_err(|error| {
            tracing::error!(%error, "a password of tenta's user was not hashed");
            Fault::Internal
        })
    }

    pub(super) async fn verify(&self, password: String, hash: String) -> Result<bool, Fault> {
        self.turn(move || password::verify(password.as_bytes(), &hash)).await
    }

    async fn turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Fault::Status(StatusCode::SERVICE_UNAVAILABLE))?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Fault::Internal)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end also when the client goes away.
            let _held = (place, turn);
            work()
        });
        done.await.map_err(|_| Fault::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_so_many_may_wait() {
        let passwords = Passwords::default();
        let held = Arc::clone(&passwords.turns).acquire_many_owned(2).await.unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE + WAITING {
            let passwords = passwords.clone();
            waiting.spawn(async move { passwords.turn(|| ()).await });
        }
        while passwords.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let busy = Fault::Status(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(passwords.turn(|| ()).await, Err(busy));
        drop(held);
        while let Some(done) = waiting.join_next().await {
            assert_eq!(done.unwrap(), Ok(()));
        }
    }
}

//! What a secret proves. API keys are random, so they are looked up at once. The passwords of logins are hashed slowly, on
//! two threads at most; who comes back soon is known without that, and an address that is wrong too often is not listened
//! to for a while.

mod failures;
mod known;

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Credential, Rejected};
use crate::accounts::{Account, Accounts};
use failures::Failures;
use known::Known;

/// Passwords that are hashed at the same time.
const AT_ONCE: usize = 2;
/// Passwords that may wait for it; more are told that the router is busy.
const WAITING: usize = 1_024;

pub(super) struct Proofs {
    inner: Arc<Inner>,
    turns: Arc<Semaphore>,
    places: Semaphore,
}

struct Inner {
    accounts: Arc<Accounts>,
    known: Known,
    failures: Failures,
}

impl Proofs {
    /// `failed_logins`: see [`crate::config::Limits`]. Fails if the system gives no random bytes.
    pub(super) fn new(accounts: Arc<Accounts>, failed_logins: u32) -> std::io::Result<Self> {
        let (known, failures) = (Known::new()?, Failures::new(failed_logins));
        let (turns, places) = (Arc::new(Semaphore::new(AT_ONCE)), Semaphore::new(WAITING));
        Ok(Self { inner: Arc::new(Inner { accounts, known, failures }), turns, places })
    }

    /// The account that the secret proves; without one, the login that a verified certificate is named for.
    pub(super) async fn of(&self, credential: &Credential) -> Result<Option<Arc<Account>>, Rejected> {
        let accounts = &self.inner.accounts;
        let Some((from, secret)) = &credential.secret else {
            return Ok(credential.tls_name.as_deref().and_then(|name| accounts.login(name)));
        };
        if let Some(account) = accounts.verify(secret) {
            return Ok(Some(account));
        }
        match &credential.user {
            Some(user) if *from == "password" && accounts.has_logins() => {
                self.login(user, secret, &credential.address).await
            }
            _ => Ok(None),
        }
    }

    async fn login(
        &self,
        user: &str,
        password: &[u8],
        address: &str,
    ) -> Result<Option<Arc<Account>>, Rejected> {
        let digest = self.inner.known.digest(user, password);
        if let Some(account) = self.inner.recall(&digest, address)? {
            return Ok(Some(account));
        }
        let _place = self.places.try_acquire().map_err(|_| Rejected::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Rejected::ShuttingDown)?;
        // Those of one fleet that came at the same time have waited for the first of them.
        if let Some(account) = self.inner.recall(&digest, address)? {
            return Ok(Some(account));
        }
        let (inner, user, password) = (Arc::clone(&self.inner), user.to_owned(), password.to_vec());
        let address = address.to_owned();
        // To the end, even if the client goes meanwhile: else it could guess without being counted.
        let proof = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let account = inner.accounts.prove_login(&user, &password);
            match &account {
                Some(account) => inner.known.remember(digest, &account.id),
                None => inner.failures.count(&address),
            }
            account
        });
        proof.await.map_err(|_| Rejected::ShuttingDown)
    }

    /// Forgets what need not be remembered any more.
    pub(super) fn prune(&self) {
        self.inner.known.prune();
        self.inner.failures.prune();
    }
}

impl Inner {
    /// Who was proven by this a short while ago. What is unknown is not looked at if its address was wrong too often.
    fn recall(&self, digest: &known::Digest, address: &str) -> Result<Option<Arc<Account>>, Rejected> {
        if let Some(account) = self.known.account(digest).and_then(|id| self.accounts.proven(&id)) {
            return Ok(Some(account));
        }
        if self.failures.is_over(address) { Err(Rejected::Busy) } else { Ok(None) }
    }
}

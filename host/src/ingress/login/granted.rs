//! What auth plugins granted within the last second. Each HTTP request authenticates by itself; one that brings the very
//! same as one just before it gets the same grant, without asking again.
//!
//! Nothing is remembered of a plugin that reads or writes its state for an answer, since it may have counted, or have
//! taken a token that is good for once; and nothing outlives a change of auth plugins, keys or tenants.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::accounts::Account;
use crate::ingress::Credential;
use crate::message::{Grant, now_us};

/// How long a grant is remembered.
const FOR: Duration = Duration::from_secs(1);
/// Most that are remembered; more are asked for.
const MOST: usize = 8_192;

pub(super) type Digest = [u8; 32];
/// Auth generation of the chain, revision of the accounts.
pub(super) type Authority = (u64, u64);

/// A grant, and the plugin that made it.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) grant: Grant,
    pub(super) plugin: Arc<str>,
}

pub(super) struct Granted {
    /// Of this process alone, so that what is here says nothing of a secret to anybody else.
    key: [u8; 32],
    all: Mutex<HashMap<Digest, (Remembered, Authority, Instant)>>,
}

impl Granted {
    /// Fails if the system gives no random bytes.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { key, all: Mutex::default() })
    }

    /// What stands for all that a plugin is shown.
    pub(super) fn digest(&self, credential: &Credential, proven: Option<&Account>) -> Digest {
        let Credential { gateway, address, tls_name, user, client_id, secret, attributes } = credential;
        let mut hash = Sha256::new_with_prefix(self.key);
        // With lengths, so that nothing can be moved from one field to the next.
        let mut add = |field: Option<&[u8]>| {
            hash.update(field.map_or(u64::MAX, |field| field.len() as u64).to_be_bytes());
            hash.update(field.unwrap_or_default());
        };
        add(Some(gateway.as_bytes()));
        add(Some(address.as_bytes()));
        add(proven.map(|account| account.id.as_bytes()));
        [tls_name, user, client_id].into_iter().for_each(|field| add(field.as_deref().map(str::as_bytes)));
        add(secret.as_ref().map(|(from, _)| from.as_bytes()));
        add(secret.as_ref().map(|(_, secret)| &**secret));
        for (name, value) in attributes {
            add(Some(name.as_bytes()));
            add(Some(value.as_bytes()));
        }
        hash.finalize().into()
    }

    /// The grant, if it still holds.
    pub(super) fn find(&self, digest: &Digest, authority: Authority) -> Option<Remembered> {
        let all = self.all.lock();
        let (remembered, under, until) = all.get(digest)?;
        let expired = remembered.grant.expires_us.is_some_and(|at| at <= now_us());
        (*under == authority && Instant::now() < *until && !expired).then(|| remembered.clone())
    }

    /// Remembers a grant that was made under this authority.
    pub(super) fn remember(&self, digest: Digest, remembered: Remembered, authority: Authority) {
        let mut all = self.all.lock();
        if all.len() < MOST || all.contains_key(&digest) {
            all.insert(digest, (remembered, authority, Instant::now() + FOR));
        }
    }

    /// Forgets what holds no longer.
    pub(super) fn prune(&self) {
        let now = Instant::now();
        self.all.lock().retain(|_, (_, _, until)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential {
            gateway: "http",
            user: Some("a".into()),
            client_id: Some("bc".into()),
            ..Credential::default()
        }
    }

    #[test]
    fn only_the_very_same_credential_is_known() {
        let granted = Granted::new().unwrap();
        let one = granted.digest(&credential(), None);
        assert_eq!(one, granted.digest(&credential(), None));
        let others = [
            Credential { user: Some("ab".into()), client_id: Some("c".into()), ..credential() },
            Credential { user: None, ..credential() },
            Credential { address: "::1".into(), ..credential() },
            Credential { secret: Some(("bearer", b"k".to_vec())), ..credential() },
            Credential { attributes: vec![("path".into(), "/".into())], ..credential() },
        ];
        let mut digests: Vec<_> = others.iter().map(|other| granted.digest(other, None)).collect();
        digests.push(one);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 6);
        assert_ne!(one, Granted::new().unwrap().digest(&credential(), None), "each process has its own key");
    }

    #[test]
    fn a_grant_ends_with_its_authority_and_its_own_end() {
        let granted = Granted::new().unwrap();
        let grant = |expires_us| Remembered {
            grant: Grant { expires_us, ..Grant::default() },
            plugin: "open".into(),
        };
        granted.remember([1; 32], grant(None), (1, 1));
        assert!(granted.find(&[1; 32], (1, 1)).is_some());
        assert!(granted.find(&[1; 32], (1, 2)).is_none(), "an account has changed");
        assert!(granted.find(&[1; 32], (2, 1)).is_none(), "an auth plugin has changed");
        assert!(granted.find(&[2; 32], (1, 1)).is_none());
        granted.remember([1; 32], grant(Some(1)), (1, 1));
        assert!(granted.find(&[1; 32], (1, 1)).is_none(), "it has expired");
        for number in 0..=MOST {
            let mut digest = [3; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            granted.remember(digest, grant(None), (1, 1));
        }
        assert_eq!(granted.all.lock().len(), MOST, "no more are remembered");
    }
}

//! Names and passwords that were proven a short while ago, under a keyed hash: neither is kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// Most that are remembered; more are hashed again.
const MOST: usize = 8_192;
/// How long one is remembered after it was presented last.
const FOR: Duration = Duration::from_secs(600);

pub(super) type Digest = [u8; 32];

pub(super) struct Known {
    /// Of this process alone, so that what is here says nothing to anybody else.
    key: [u8; 32],
    all: Mutex<HashMap<Digest, (String, Instant)>>,
}

impl Known {
    pub(super) fn new() -> std::io::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { key, all: Mutex::default() })
    }

    /// What stands for a name and its password. Tells `("a", "bc")` from `("ab", "c")`.
    pub(super) fn digest(&self, user: &str, password: &[u8]) -> Digest {
        let mut hash = Sha256::new_with_prefix(self.key);
        hash.update((user.len() as u64).to_be_bytes());
        hash.update(user);
        hash.update(password);
        hash.finalize().into()
    }

    /// The id of the account that it proved.
    pub(super) fn account(&self, digest: &Digest) -> Option<String> {
        let mut all = self.all.lock();
        let (id, until) = all.get_mut(digest)?;
        let now = Instant::now();
        if *until <= now {
            return None;
        }
        *until = now + FOR;
        Some(id.clone())
    }

    pub(super) fn remember(&self, digest: Digest, account: &str) {
        let mut all = self.all.lock();
        if all.len() < MOST || all.contains_key(&digest) {
            all.insert(digest, (account.to_owned(), Instant::now() + FOR));
        }
    }

    pub(super) fn prune(&self) {
        let now = Instant::now();
        self.all.lock().retain(|_, (_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_proven_is_known_for_a_while_and_nothing_else() {
        let known = Known::new().unwrap();
        let digest = known.digest("a", b"bc");
        assert_eq!(known.account(&digest), None);
        known.remember(digest, "id");
        assert_eq!(known.account(&digest).as_deref(), Some("id"));
        assert_eq!(known.account(&known.digest("ab", b"c")), None);
        assert_ne!(Known::new().unwrap().digest("a", b"bc"), digest, "another process, another key");
        known.all.lock().get_mut(&digest).unwrap().1 = Instant::now();
        assert_eq!(known.account(&digest), None);
        known.prune();
        assert!(known.all.lock().is_empty());
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let known = Known::new().unwrap();
        for number in 0..=MOST {
            known.remember(known.digest("a", &number.to_be_bytes()), "id");
        }
        assert_eq!(known.all.lock().len(), MOST);
    }
}

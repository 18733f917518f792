//! Who may take how much of a queue that many share: a quarter each, so that whoever floods it, or has receivers that are
//! dead, loses posts of its own and nobody else's.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::header::HeaderValue;

/// Of all that may wait, what belongs to one is so large a part at most.
const PARTS: usize = 4;
/// Length of an owner in a key, in hexadecimal digits.
const DIGITS: usize = 16;

/// Whose a post is: a hash of its owner's tenant and name. It stands in the post's key, so that a restart keeps it; should
/// another version hash otherwise, posts from before count for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(u64);

impl Owner {
    /// Of a user of a tenant.
    pub fn of(tenant: &str, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (tenant, name).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// A new key of a post of this owner.
    pub(super) fn key(self) -> String {
        format!("{:0DIGITS$x}-{}", self.0, ulid::Ulid::generate())
    }

    /// Whose key it is. None: not one of [`Self::key`].
    pub(super) fn of_key(key: &HeaderValue) -> Option<Self> {
        let (owner, _) = key.to_str().ok()?.split_once('-').filter(|(owner, _)| owner.len() == DIGITS)?;
        u64::from_str_radix(owner, 16).ok().map(Self)
    }
}

/// What there is, or may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Posts.
    pub posts: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Amount {
    /// With one more.
    pub fn and(self, bytes: usize) -> Self {
        Self { posts: self.posts + 1, bytes: self.bytes + bytes }
    }

    /// With one less.
    pub fn without(self, bytes: usize) -> Self {
        Self { posts: self.posts.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    /// The part of it that one may have.
    pub fn share(self) -> Self {
        Self { posts: (self.posts / PARTS).max(1), bytes: self.bytes / PARTS }
    }

    /// Whether one more of so many bytes is within `most`. The first always is, so that none is too large for ever.
    pub fn leaves_room(self, bytes: usize, most: Self) -> bool {
        self.posts == 0 || (self.posts < most.posts && self.bytes + bytes <= most.bytes)
    }
}

/// What belongs to whom.
#[derive(Debug, Default)]
pub struct Shares(HashMap<Owner, Amount>);

impl Shares {
    /// What belongs to an owner.
    pub fn of(&self, owner: Owner) -> Amount {
        self.0.get(&owner).copied().unwrap_or_default()
    }

    /// One more.
    pub fn add(&mut self, owner: Owner, bytes: usize) {
        let amount = self.0.entry(owner).or_default();
        *amount = amount.and(bytes);
    }

    /// One less; who has none is forgotten.
    pub fn remove(&mut self, owner: Owner, bytes: usize) {
        if let Some(amount) = self.0.get_mut(&owner) {
            *amount = amount.without(bytes);
            if amount.posts == 0 {
                self.0.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_whose_it_is() {
        let (ada, lab) = (Owner::of("main", "ada"), Owner::of("lab", "ada"));
        assert_ne!(ada, lab);
        let of_key = |key: &str| Owner::of_key(&HeaderValue::from_str(key).unwrap());
        assert_eq!((of_key(&ada.key()), of_key(&lab.key())), (Some(ada), Some(lab)));
        for foreign in ["-", "01KAMX4Z3B2J7Q1D0WPN5E6T8R", "order-17", "0123456789abcdeg-x"] {
            assert_eq!(of_key(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_share_is_a_quarter_in_posts_and_in_bytes_and_the_first_always_fits() {
        let most = Amount { posts: 8, bytes: 400 }.share();
        assert_eq!(most, Amount { posts: 2, bytes: 100 });
        assert_eq!(Amount { posts: 3, bytes: 0 }.share().posts, 1);
        let (owner, mut shares) = (Owner::of("main", "ada"), Shares::default());
        assert!(shares.of(owner).leaves_room(1_000, most));
        shares.add(owner, 40);
        assert!(shares.of(owner).leaves_room(60, most) && !shares.of(owner).leaves_room(61, most));
        shares.add(owner, 1);
        assert!(!shares.of(owner).leaves_room(0, most));
        shares.remove(owner, 1);
        shares.remove(owner, 40);
        assert!(shares.0.is_empty());
    }
}

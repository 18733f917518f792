//! Who may take how much of a queue that many share. Whoever floods it, or has receivers that are dead, has a quarter at
//! most, and loses posts of its own. Several who do so together have three quarters: the last one is for those who have
//! little, and the first post of an owner goes in always, however many flood.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::header::HeaderValue;

/// Of all that may wait, what belongs to one is so large a part at most, and such a part is kept for those who have little.
const PARTS: usize = 4;
/// So large a part is little.
const LITTLE: usize = 64;
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

    /// A new key of a post of this owner, made for the endpoint of this id.
    pub(super) fn key(self, endpoint: &str) -> String {
        format!("{:0DIGITS$x}-{endpoint}-{}", self.0, ulid::Ulid::generate())
    }

    /// Whose key it is. None: not one of [`Self::key`].
    pub(super) fn of_key(key: &HeaderValue) -> Option<Self> {
        let (owner, _) = key.to_str().ok()?.split_once('-').filter(|(owner, _)| owner.len() == DIGITS)?;
        u64::from_str_radix(owner, 16).ok().map(Self)
    }

    /// The id of the endpoint that a post of such a key was made for.
    pub(super) fn endpoint_of_key(key: &HeaderValue) -> Option<&str> {
        Self::of_key(key)?;
        let (_, rest) = key.to_str().ok()?.split_once('-')?;
        rest.split_once('-').map(|(endpoint, _)| endpoint)
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

    /// The part of it that one may have at most.
    pub fn share(self) -> Self {
        Self { posts: (self.posts / PARTS).max(1), bytes: self.bytes / PARTS }
    }

    fn little(self) -> Self {
        Self { posts: self.posts / LITTLE, bytes: self.bytes / LITTLE }
    }

    fn but_the_last_share(self) -> Self {
        Self { posts: self.posts - self.posts / PARTS, bytes: self.bytes - self.bytes / PARTS }
    }

    /// Whether it is no more than so much.
    pub fn is_within(self, most: Self) -> bool {
        self.posts <= most.posts && self.bytes <= most.bytes
    }
}

/// Whether one more of so many bytes may wait, of an owner that has `own` of `all` that wait where `most` may. Not asked for
/// the first of an owner.
pub fn leaves_room(own: Amount, all: Amount, bytes: usize, most: Amount) -> bool {
    let (own, all) = (own.and(bytes), all.and(bytes));
    (own.is_within(most.share()) && all.is_within(most.but_the_last_share()))
        || (own.is_within(most.little()) && all.is_within(most))
}

/// What belongs to whom.
#[derive(Debug, Default)]
pub struct Shares {
    by_owner: HashMap<Owner, Amount>,
    all: Amount,
}

impl Shares {
    /// What belongs to an owner.
    pub fn of(&self, owner: Owner) -> Amount {
        self.by_owner.get(&owner).copied().unwrap_or_default()
    }

    /// What belongs to all together.
    pub fn all(&self) -> Amount {
        self.all
    }

    /// One more.
    pub fn add(&mut self, owner: Owner, bytes: usize) {
        let amount = self.by_owner.entry(owner).or_default();
        *amount = amount.and(bytes);
        self.all = self.all.and(bytes);
    }

    /// One less; who has none is forgotten.
    pub fn remove(&mut self, owner: Owner, bytes: usize) {
        if let Some(amount) = self.by_owner.get_mut(&owner) {
            *amount = amount.without(bytes);
            self.all = self.all.without(bytes);
            if amount.posts == 0 {
                self.by_owner.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_tells_whose_it_is() {
        let (ada, lab) = (Owner::of("main", "ada"), Owner::of("lab", "ada"));
        assert_ne!(ada, lab);
        let of_key = |key: &str| Owner::of_key(&HeaderValue::from_str(key).unwrap());
        assert_eq!((of_key(&ada.key("a")), of_key(&lab.key("a"))), (Some(ada), Some(lab)));
        let endpoint = |key: &str| {
            let key = HeaderValue::from_str(key).unwrap();
            Owner::endpoint_of_key(&key).map(str::to_owned)
        };
        assert_eq!(endpoint(&ada.key("Ab12")), Some("Ab12".to_owned()));
        assert_eq!(endpoint("0123456789abcdef-01KAMX4Z3B2J7Q1D0WPN5E6T8R"), None, "as it was once written");
        assert_eq!(endpoint("a-b-c"), None);
        for foreign in ["-", "01KAMX4Z3B2J7Q1D0WPN5E6T8R", "order-17", "0123456789abcdeg-x"] {
            assert_eq!(of_key(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn what_belongs_to_an_owner_is_forgotten_when_it_is_gone() {
        let (owner, mut shares) = (Owner::of("main", "ada"), Shares::default());
        shares.add(owner, 40);
        shares.add(owner, 1);
        assert_eq!((shares.of(owner), shares.all()), (Amount { posts: 2, bytes: 41 }, shares.of(owner)));
        shares.remove(owner, 1);
        shares.remove(owner, 40);
        assert!(shares.by_owner.is_empty() && shares.all() == Amount::default());
    }

    #[test]
    fn a_share_is_a_quarter_and_the_last_quarter_is_for_those_who_have_little() {
        let most = Amount { posts: 128, bytes: 6_400 };
        for (own, all, bytes, wanted) in [
            ((31, 0), (31, 0), 1_600, true),
            ((32, 0), (32, 0), 0, false),
            ((1, 1_500), (1, 1_500), 101, false),
            ((10, 0), (95, 0), 0, true),
            ((10, 0), (96, 0), 0, false),
            ((10, 0), (10, 4_700), 101, false),
            ((1, 50), (127, 6_300), 50, true),
            ((1, 50), (127, 6_300), 51, false),
            ((2, 50), (127, 6_300), 0, false),
            ((1, 50), (128, 6_300), 0, false),
        ] {
            let amount = |(posts, bytes)| Amount { posts, bytes };
            assert_eq!(leaves_room(amount(own), amount(all), bytes, most), wanted, "{own:?} of {all:?}");
        }
        assert_eq!(Amount { posts: 3, bytes: 0 }.share().posts, 1);
    }

    proptest! {
        #[test]
        fn whoever_floods_leaves_room_for_those_who_do_not(
            floods in 1_usize..200,
            one_by_one in any::<bool>(),
            sizes in proptest::collection::vec(1_usize..2_000, 1..20),
        ) {
            let most = Amount { posts: 640, bytes: 640_000 };
            let owners: Vec<_> = (0..floods).map(|n| Owner::of("main", &n.to_string())).collect();
            let mut shares = Shares::default();
            let mut flood = |owner: Owner, round: usize| {
                let (own, all, size) = (shares.of(owner), shares.all(), sizes[round % sizes.len()]);
                if own.posts == 0 || leaves_room(own, all, size, most) {
                    shares.add(owner, size);
                }
            };
            match one_by_one {
                true => owners.iter().for_each(|owner| (0..most.posts).for_each(|round| flood(*owner, round))),
                false => (0..most.posts).for_each(|round| owners.iter().for_each(|owner| flood(*owner, round))),
            }
            let all = shares.all();
            let firsts = Amount { posts: most.posts + floods, bytes: most.bytes + floods * 2_000 };
            prop_assert!(all.is_within(firsts));
            for owner in owners {
                prop_assert!(shares.of(owner).is_within(most.share()));
            }
            if floods <= 8 {
                let (quiet, each) = (Owner::of("main", "quiet"), 1_000);
                for n in 0..most.little().posts {
                    prop_assert!(n == 0 || leaves_room(shares.of(quiet), shares.all(), each, most), "post {n}");
                    shares.add(quiet, each);
                }
            }
        }
    }
}

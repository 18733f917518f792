//! What a storage plugin returned for a batch. It is guest-controlled: posts are checked here, keys and values by
//! the store.

use crate::config::Endpoint;
use crate::metrics::Granted;
use crate::outbox::{Outbox, Post, RefusedPost};
use crate::plugin::Binding;
use crate::plugin::contract::Write as Written;
use crate::store::Write;

/// To be committed in one step.
#[derive(Default)]
pub(super) struct Effects {
    /// Changes of its key space.
    pub(super) writes: Vec<Write>,
    /// For its outbox.
    pub(super) posts: Vec<Post>,
}

impl Effects {
    /// Err: one of the posts may not or cannot be sent, so nothing of the batch counts.
    pub(super) fn check(
        written: Vec<Written>,
        binding: &Binding,
        outbox: &Outbox,
    ) -> Result<Self, RefusedPost> {
        let mut effects = Self::default();
        for write in written {
            match write {
                Written::Put(pair) => {
                    let (key, value, expires_us) = (pair.key, pair.value, pair.expires_us);
                    effects.writes.push(Write::Put { key, value, expires_us });
                }
                Written::Delete(key) => effects.writes.push(Write::Delete { key }),
                Written::Post(post) => {
                    let headers = post.headers.iter().map(|header| (&*header.name, &*header.value));
                    let granted = |endpoint: &Endpoint| may_post(binding, outbox, endpoint);
                    let post = Post::check(&post.url, headers, &post.key, post.body, granted)?;
                    effects.posts.push(post);
                }
            }
        }
        Ok(effects)
    }
}

/// Whether its binding lets a plugin post there. Where grants are only counted, addresses of private networks stay
/// closed.
pub(super) fn may_post(binding: &Binding, outbox: &Outbox, endpoint: &Endpoint) -> bool {
    binding.spec.post.iter().any(|grant| grant.covers(endpoint))
        || (binding.shared.ungranted.lets_pass(Granted::Post, &endpoint.destination())
            && outbox.may_reach(endpoint))
}

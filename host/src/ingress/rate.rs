//! How fast one publisher may publish, over all of its connections and requests.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::session::Session;

/// Counts publishes per publisher; none = no limit.
pub struct Rate(Option<DefaultKeyedRateLimiter<u64>>);

impl Rate {
    /// So many a second, and as many in a burst; 0 = no limit.
    pub fn new(publishes_per_s: u32) -> Self {
        let quota = NonZeroU32::new(publishes_per_s).map(Quota::per_second);
        Self(quota.map(RateLimiter::keyed))
    }

    /// Counts a publish. Some: it is too early, by so many milliseconds.
    pub fn over(&self, session: &Session) -> Option<u64> {
        let too_early = self.0.as_ref()?.check_key(&session.affinity).err()?;
        let wait = too_early.wait_time_from(DefaultClock::default().now());
        Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1))
    }

    /// Forgets publishers that have been quiet.
    pub fn prune(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

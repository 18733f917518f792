//! Wrong passwords, counted by the address that presented them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::telemetry::Seldom;

/// After so long one more is forgiven.
const EVERY: Duration = Duration::from_secs(1);
/// Addresses that are counted at the same time.
const MOST: usize = 16_384;

/// Of an address, when all that it did wrong is forgiven. None: what is no address, counted together.
type Forgiven = HashMap<Option<IpAddr>, Instant>;

pub(super) struct Failures {
    /// So many at once; 0: nothing is counted.
    most: u32,
    all: Mutex<Forgiven>,
    told: Seldom,
}

impl Failures {
    pub(super) fn new(most: u32) -> Self {
        Self { most, all: Mutex::default(), told: Seldom::new() }
    }

    /// Whether this address must wait.
    pub(super) fn is_over(&self, address: &str) -> bool {
        let forgiven = self.all.lock().get(&network(address)).copied();
        let owed = forgiven.map(|at| at.saturating_duration_since(Instant::now()));
        self.most > 0 && owed.is_some_and(|owed| owed > EVERY * (self.most - 1))
    }

    pub(super) fn count(&self, address: &str) {
        if self.most == 0 {
            return;
        }
        let now = Instant::now();
        let mut all = self.all.lock();
        if all.len() >= MOST {
            all.retain(|_, at| *at > now);
            if all.len() >= MOST {
                // So many are wrong at once that one of them more or less does not matter.
                let any = all.keys().next().copied();
                any.map(|any| all.remove(&any));
            }
        }
        let at = all.entry(network(address)).or_insert(now);
        *at = (*at).max(now) + EVERY;
        drop(all);
        if self.is_over(address) && self.told.is_due() {
            tracing::warn!(address, "too many wrong passwords: this address must wait");
        }
    }

    pub(super) fn prune(&self) {
        let now = Instant::now();
        self.all.lock().retain(|_, at| *at > now);
    }
}

/// Who has an address of version 6 has all of its /64.
fn network(address: &str) -> Option<IpAddr> {
    match address.parse().ok()? {
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => Some(match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_wrong_too_often_waits_and_no_other_does() {
        let failures = Failures::new(3);
        for _ in 0..3 {
            assert!(!failures.is_over("2001:db8::1"));
            failures.count("2001:db8::1");
        }
        assert!(failures.is_over("2001:db8::1") && failures.is_over("2001:db8::2"), "one network");
        assert!(!failures.is_over("2001:db8:0:1::1") && !failures.is_over("192.0.2.1"));
        // A second later one more is forgiven.
        failures.all.lock().values_mut().for_each(|at| *at -= EVERY);
        assert!(!failures.is_over("2001:db8::1"));
        failures.count("2001:db8::1");
        assert!(failures.is_over("2001:db8::1"));
        failures.all.lock().values_mut().for_each(|at| *at -= 3 * EVERY);
        failures.prune();
        assert!(failures.all.lock().is_empty());
    }

    #[test]
    fn it_does_not_grow_without_end_and_may_be_off() {
        let failures = Failures::new(1);
        for number in 0..MOST as u32 + 9 {
            failures.count(&IpAddr::from(number.to_be_bytes()).to_string());
        }
        assert_eq!(failures.all.lock().len(), MOST);
        let off = Failures::new(0);
        off.count("192.0.2.1");
        assert!(!off.is_over("192.0.2.1") && off.all.lock().is_empty());
    }
}

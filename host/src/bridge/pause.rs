//! How long is waited between two attempts.

use std::time::Duration;

use crate::config::MqttBridge;

/// A connection that has stood for so long was a good one: the pauses begin anew.
const STABLE: Duration = Duration::from_secs(30);

/// Exponential with jitter, so that many routers do not come back to a broker all at once.
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    failed: u32,
}

impl Pauses {
    pub(super) fn new(bridge: &MqttBridge) -> Self {
        Self { first: bridge.first_pause, longest: bridge.longest_pause, failed: 0 }
    }

    /// A connection has ended that stood for so long.
    pub(super) fn stood(&mut self, time: Duration) {
        if time >= STABLE {
            self.failed = 0;
        }
    }

    /// The next one: the upper half of twice the one before.
    pub(super) fn next(&mut self) -> Duration {
        let most = self.first.saturating_mul(1 << self.failed.min(31)).min(self.longest);
        self.failed = self.failed.saturating_add(1);
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        // Without a random number the longest pause is the safe one.
        let off = getrandom::u64().map_or(0, |random| random % (most_us / 2).saturating_add(1));
        Duration::from_micros(most_us.saturating_sub(off))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_one_second_to_256_and_begin_anew_behind_a_good_connection() {
        let mut pauses = Pauses::new(&MqttBridge::default());
        let mut next = |most: u64| {
            let (pause, most) = (pauses.next(), Duration::from_secs(most));
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        };
        for most in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
            next(most);
        }
        pauses.stood(STABLE / 2);
        assert!(pauses.next() >= Duration::from_secs(128));
        pauses.failed = u32::MAX;
        assert!(pauses.next() <= Duration::from_secs(256));
        pauses.stood(STABLE);
        assert!(pauses.next() <= Duration::from_secs(1));
    }
}

//! How a binding does: whether it may be called, how fast it may take new instances, and how much a new version may
//! still fail. Nothing here costs a binding that does well more than one look at an atomic.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::CallError;
use super::binding::Budget;

/// A second timeout within so long opens the breaker.
const TIMEOUTS_WITHIN: Duration = Duration::from_secs(10);
/// How long the breaker stays open at first; four times as long after each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause of the breaker, and between two attempts at an instance that cannot be made.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A binding that did well for so long begins with the first pause again.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Instances that a binding may lose at once; one more comes back each [`RENEWAL`].
const RENEWALS: u32 = 64;
/// Time in which the budget of instances grows by one.
const RENEWAL: Duration = Duration::from_millis(125);

/// The breaker lets calls through.
const CLOSED: u8 = 0;
/// It lets none through until its pause is over.
const OPEN: u8 = 1;
/// One call is under way that decides.
const PROBING: u8 = 2;

/// A binding's breaker and budgets. All its instances share it.
#[derive(Debug)]
pub struct Health {
    breaker: AtomicU8,
    budget: Budget,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    born: Instant,
    timeout: Option<Instant>,
    open_until: Instant,
    closed_since: Instant,
    pause: Duration,
    failures: u32,
    over: bool,
    renewals: u32,
    renewed: Instant,
    renewal_pause: Duration,
}

impl Health {
    /// Of a version that goes live now.
    pub fn new(budget: Budget) -> Self {
        let now = Instant::now();
        let inner = Inner {
            born: now,
            timeout: None,
            open_until: now,
            closed_since: now,
            pause: Duration::ZERO,
            failures: 0,
            over: false,
            renewals: RENEWALS,
            renewed: now,
            renewal_pause: Duration::ZERO,
        };
        Self { breaker: AtomicU8::new(CLOSED), budget, inner: Mutex::new(inner) }
    }

    /// Whether a call may be made. While the breaker is open only one is let through, after each pause.
    pub fn check(&self) -> Result<(), CallError> {
        if self.breaker.load(Ordering::Relaxed) == CLOSED { Ok(()) } else { self.probe(Instant::now()) }
    }

    /// The same for a rehearsal, which is never the call that decides.
    pub fn look(&self) -> Result<(), CallError> {
        if !self.is_open() {
            return Ok(());
        }
        Err(CallError::Skipped("not called: it timed out twice within 10 s, and is tried again later".into()))
    }

    fn probe(&self, now: Instant) -> Result<(), CallError> {
        let inner = self.inner.lock();
        match self.breaker.load(Ordering::Relaxed) {
            CLOSED => Ok(()),
            OPEN if now >= inner.open_until => {
                self.breaker.store(PROBING, Ordering::Relaxed);
                Ok(())
            }
            _ => {
                let left = inner.open_until.saturating_duration_since(now).as_millis();
                Err(CallError::Skipped(format!(
                    "not called: it timed out twice within 10 s, and is tried again in {left} ms"
                )))
            }
        }
    }

    /// A call was answered, whatever the answer.
    pub fn answered(&self) {
        if self.breaker.load(Ordering::Relaxed) == PROBING {
            let mut inner = self.inner.lock();
            inner.closed_since = Instant::now();
            self.breaker.store(CLOSED, Ordering::Relaxed);
        }
    }

    /// A call failed. True, once: that was one failure more than a new version may have.
    pub fn failed(&self, error: &CallError) -> bool {
        self.failed_at(error, Instant::now())
    }

    fn failed_at(&self, error: &CallError, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        let second = inner.timeout.is_some_and(|before| now.duration_since(before) <= TIMEOUTS_WITHIN);
        let is_timeout = matches!(error, CallError::Timeout(_));
        if is_timeout {
            inner.timeout = Some(now);
        }
        let probed = self.breaker.load(Ordering::Relaxed) == PROBING;
        if probed || (is_timeout && second) {
            let was_well = !probed && now.duration_since(inner.closed_since) >= FORGIVEN;
            let longer = if was_well { Duration::ZERO } else { inner.pause * 4 };
            inner.pause = longer.clamp(FIRST_PAUSE, LONGEST_PAUSE);
            inner.open_until = now + inner.pause;
            self.breaker.store(OPEN, Ordering::Relaxed);
        }
        inner.failures = inner.failures.saturating_add(1);
        let is_new = now.duration_since(inner.born) <= self.budget.window;
        let over = is_new && !inner.over && inner.failures > self.budget.failures;
        inner.over |= over;
        over
    }

    /// Whether the breaker keeps calls away now.
    pub fn is_open(&self) -> bool {
        self.breaker.load(Ordering::Relaxed) != CLOSED
    }

    /// Whether another instance may be made in place of one that is lost; else when.
    pub fn may_renew(&self) -> Result<(), Instant> {
        self.may_renew_at(Instant::now())
    }

    fn may_renew_at(&self, now: Instant) -> Result<(), Instant> {
        let mut inner = self.inner.lock();
        let grown = now.saturating_duration_since(inner.renewed).as_millis() / RENEWAL.as_millis();
        if let Ok(grown @ 1..) = u32::try_from(grown) {
            inner.renewals = inner.renewals.saturating_add(grown).min(RENEWALS);
            inner.renewed = now;
        }
        if inner.renewals == 0 {
            return Err(inner.renewed + RENEWAL);
        }
        inner.renewals -= 1;
        Ok(())
    }

    /// Whether instances are made as fast as they are lost.
    pub fn is_renewed(&self) -> bool {
        let inner = self.inner.lock();
        inner.renewals > 0 && inner.renewal_pause.is_zero()
    }

    /// An instance could not be made: how long to wait before the next attempt. Ok: it could.
    pub fn renewed(&self, made: bool) -> Duration {
        let mut inner = self.inner.lock();
        inner.renewal_pause =
            if made { Duration::ZERO } else { (inner.renewal_pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
        inner.renewal_pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(failures: u32) -> (Health, Instant) {
        let health = Health::new(Budget { failures, window: Duration::from_secs(60) });
        let born = health.inner.lock().born;
        (health, born)
    }

    const TIMEOUT: CallError = CallError::Timeout(50);

    #[test]
    fn the_second_timeout_within_ten_seconds_opens_the_breaker_and_a_probe_closes_it() {
        let (health, start) = health(100);
        let at = |seconds| start + Duration::from_secs(seconds);
        health.failed_at(&TIMEOUT, at(0));
        health.failed_at(&TIMEOUT, at(11));
        assert!(!health.is_open());
        health.failed_at(&TIMEOUT, at(12));
        let said = health.probe(at(13)).unwrap_err().to_string();
        assert!(said.contains("tried again in 1000 ms"), "{said}");
        // One call is let through, and only one.
        assert_eq!(health.probe(at(14)), Ok(()));
        assert!(health.probe(at(14)).is_err());
        health.answered();
        assert_eq!(health.check(), Ok(()));
    }

    #[test]
    fn each_probe_that_fails_makes_the_pause_four_times_as_long_up_to_a_minute() {
        let (health, start) = health(100);
        health.failed_at(&TIMEOUT, start);
        health.failed_at(&TIMEOUT, start);
        let mut now = start;
        for seconds in [2, 8, 32, 60, 60] {
            assert!(health.probe(now + Duration::from_secs(seconds) - Duration::from_millis(1)).is_err());
            now += Duration::from_secs(seconds);
            assert_eq!(health.probe(now), Ok(()));
            // A trap is as good a reason as a timeout.
            health.failed_at(&CallError::Trap("x".into()), now);
        }
    }

    #[test]
    fn one_failure_too_many_is_told_once_and_only_of_a_new_version() {
        let (health, start) = health(2);
        let trap = CallError::Trap("x".into());
        let told: Vec<_> = (0..5).map(|_| health.failed_at(&trap, start)).collect();
        assert_eq!(told, [false, false, true, false, false]);
        let (old, start) = self::health(0);
        assert!(!old.failed_at(&trap, start + Duration::from_secs(61)));
    }

    #[test]
    fn lost_instances_come_back_at_a_bounded_rate() {
        let (health, start) = health(2);
        let got = (0..1_000).filter(|_| health.may_renew_at(start).is_ok()).count();
        assert_eq!(got, RENEWALS as usize);
        assert_eq!(health.may_renew_at(start), Err(start + RENEWAL));
        let later = start + Duration::from_secs(2);
        let got = (0..1_000).filter(|_| health.may_renew_at(later).is_ok()).count();
        assert_eq!(got, 16);
    }

    #[test]
    fn instances_that_cannot_be_made_are_tried_less_and_less_often() {
        let (health, _) = health(2);
        let pauses: Vec<_> = (0..7).map(|_| health.renewed(false).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(health.renewed(true), Duration::ZERO);
    }
}

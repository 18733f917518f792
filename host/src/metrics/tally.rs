//! Counts and durations of something that many threads do all the time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// More different ends than any tally has.
const ENDS: usize = 16;
/// The first bucket ends at 2^9 = 512 ns; no call into a guest is shorter than some 100 ns.
const FIRST_BIT: u32 = 9;
/// The last bucket ends at 2^33 ns = 8.6 s, beyond all deadlines of calls.
const BUCKETS: usize = 25;

/// Counters, spread over stripes: threads that count at once seldom share a cache line.
#[derive(Debug)]
pub(super) struct Tally {
    stripes: Box<[Stripe]>,
}

/// 128: two cache lines, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    ends: [AtomicU64; ENDS],
    buckets: [AtomicU64; BUCKETS + 1],
    nanoseconds: AtomicU64,
}

/// The sum of all stripes.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) ends: [u64; ENDS],
    /// Upper bound in seconds, and how many fell into this bucket alone.
    pub(super) buckets: Vec<(f64, u64)>,
    pub(super) seconds: f64,
    pub(super) count: u64,
}

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// This thread's stripe, given out in turn.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) & (usize::MAX >> 1));
        }
        mine.get()
    })
}

impl Default for Tally {
    /// As many stripes as cores, at most 16: each takes 384 bytes.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { stripes: (0..cores.clamp(1, 16)).map(|_| Stripe::default()).collect() }
    }
}

impl Tally {
    /// Counts one end, `end` below 16, that took so long.
    pub(super) fn add(&self, end: usize, took: Duration) {
        let Some(stripe) = self.stripes.get(stripe() % self.stripes.len()) else { return };
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bits = u64::BITS - nanoseconds.saturating_sub(1).leading_zeros();
        let bucket = usize::try_from(bits.saturating_sub(FIRST_BIT)).unwrap_or(BUCKETS).min(BUCKETS);
        for cell in [stripe.ends.get(end), stripe.buckets.get(bucket)].into_iter().flatten() {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        stripe.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut sum = Snapshot { buckets: bounds(), ..Snapshot::default() };
        let mut nanoseconds = 0_u64;
        for stripe in &self.stripes {
            for (total, cell) in sum.ends.iter_mut().zip(&stripe.ends) {
                *total += cell.load(Ordering::Relaxed);
            }
            for ((_, total), cell) in sum.buckets.iter_mut().zip(&stripe.buckets) {
                *total += cell.load(Ordering::Relaxed);
            }
            nanoseconds = nanoseconds.wrapping_add(stripe.nanoseconds.load(Ordering::Relaxed));
        }
        sum.seconds = Duration::from_nanos(nanoseconds).as_secs_f64();
        // The count must be that of the buckets, also while other threads go on counting.
        sum.count = sum.buckets.iter().map(|(_, count)| count).sum();
        sum
    }
}

fn bounds() -> Vec<(f64, u64)> {
    let finite = (0..BUCKETS as u32).map(|step| Duration::from_nanos(1 << (FIRST_BIT + step)).as_secs_f64());
    finite.chain([f64::INFINITY]).map(|bound| (bound, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_first_bucket_that_holds_them() {
        for (nanoseconds, bucket) in
            [(0, 0), (1, 0), (512, 0), (513, 1), (1_024, 1), (1_025, 2), (1 << 33, 24)]
        {
            let tally = Tally::default();
            tally.add(0, Duration::from_nanos(nanoseconds));
            let found = tally.snapshot().buckets.iter().position(|(_, count)| *count == 1);
            assert_eq!(found, Some(bucket), "{nanoseconds} ns");
            let bound = bounds()[bucket].0;
            assert!(Duration::from_nanos(nanoseconds).as_secs_f64() <= bound);
        }
        let tally = Tally::default();
        tally.add(15, Duration::MAX);
        assert_eq!(tally.snapshot().buckets[BUCKETS], (f64::INFINITY, 1));
    }

    #[test]
    fn threads_lose_no_count() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| tally.add(3, Duration::from_micros(1))));
            }
        });
        let sum = tally.snapshot();
        assert_eq!((sum.ends[3], sum.count), (4_000, 4_000));
        assert!((sum.seconds - 0.004).abs() < 1e-9);
    }
}

//! How long things took, in bounded space.

/// Durations in microseconds, each kept to within 1/32 of its size.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Below 32 one bucket per microsecond, then 32 per power of two.
    buckets: Vec<u64>,
    count: u64,
}

/// Bits of precision: 2^5 buckets for each power of two.
const BITS: u32 = 5;
/// For the whole of u64.
const BUCKETS: usize = ((64 - BITS as usize) << BITS) + (1 << BITS);

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, us: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket(us)) {
            *bucket += 1;
            self.count += 1;
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time within which this share of all, 0 to 1, was done. None when there are none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut passed = 0;
        let reached = |count: &u64| {
            passed += count;
            passed >= rank
        };
        self.buckets.iter().position(reached).map(middle)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }
}

fn bucket(us: u64) -> usize {
    // The power of two above the precision; the bits below it choose among the 32.
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(BITS + 1);
    usize::try_from(us >> shift).unwrap_or(0) + ((shift as usize) << BITS)
}

/// What stands for all that fell into a bucket: the middle between its ends.
fn middle(bucket: usize) -> u64 {
    let shift = (bucket >> BITS).saturating_sub(1);
    let least = ((bucket - (shift << BITS)) as u64) << shift;
    least + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_has_a_bucket_near_it() {
        let mut before = 0;
        for power in 0..64 {
            for us in [1_u64 << power, (1 << power) + (1 << power) / 3, (1_u64 << power) - 1] {
                let near = middle(bucket(us));
                assert!(near.abs_diff(us) <= us / 32, "{us} counts as {near}");
            }
            assert!(bucket(1 << power) > before, "buckets grow");
            before = bucket(1 << power);
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for us in 1..=1_000 {
            histogram.add(us);
        }
        let near = |share, expected: u64| {
            let us = histogram.quantile(share).unwrap();
            assert!(us.abs_diff(expected) <= expected / 32 + 1, "{share}: {us}, not {expected}");
        };
        near(0.0, 1);
        near(0.5, 500);
        near(0.99, 990);
        near(1.0, 1_000);
        assert_eq!(histogram.count(), 1_000);
    }
}

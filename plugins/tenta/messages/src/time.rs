//! Times as sensors give them: Unix seconds with a fraction.

use crate::Malformed;

/// The beginning of the year 1 and the end of the year 9999: what a date of the original server can be.
const YEARS_US: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// A time in Unix microseconds, to which the original rounds, too; before 1970 it is negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From Unix microseconds.
    pub const fn from_micros(us: i64) -> Self {
        Self(us)
    }

    /// The nearest microsecond; what is no number, or of no year from 1 to 9999, is no time.
    pub fn from_seconds(seconds: f64) -> Result<Self, Malformed> {
        let us = Self::nearest(seconds).0;
        if seconds.is_nan() || !YEARS_US.contains(&us) {
            return Err(Malformed::new("must be Unix seconds of the years 1 to 9999"));
        }
        Ok(Self(us))
    }

    /// The nearest microsecond, however far away; one that is no number is 1970.
    #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest")]
    pub fn nearest(seconds: f64) -> Self {
        // The whole seconds apart from the fraction, so that multiplying rounds nothing away.
        let whole = (seconds.trunc() as i64).saturating_mul(1_000_000);
        Self(whole.saturating_add((seconds.fract() * 1e6).round_ties_even() as i64))
    }

    /// Unix microseconds.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Unix seconds.
    #[expect(clippy::cast_precision_loss, reason = "times up to the year 2255 are exact")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_back_as_they_were() {
        for seconds in [0.0, 1_683_645_000.123_456, -1.5, -0.000_001, 253_402_300_799.0, 4_102_444_800.25] {
            let time = Timestamp::from_seconds(seconds).unwrap();
            assert_eq!(time.seconds(), seconds);
            assert_eq!(Timestamp::from_seconds(time.seconds()), Ok(time));
        }
        assert_eq!(Timestamp::from_seconds(1.000_000_4).unwrap().micros(), 1_000_000);
        assert_eq!(Timestamp::from_seconds(-1.25).unwrap().micros(), -1_250_000);
    }

    #[test]
    fn what_no_calendar_has_is_no_time() {
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e12, 253_402_300_800.0] {
            assert!(Timestamp::from_seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Timestamp::nearest(1e300).micros(), i64::MAX);
        assert_eq!(Timestamp::nearest(f64::NEG_INFINITY).micros(), i64::MIN);
    }
}

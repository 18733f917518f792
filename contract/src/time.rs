//! Times are Unix microseconds, in UTC, without leap seconds, as `u64`.

/// Microseconds in a day.
const DAY_US: u64 = 86_400_000_000;

/// A time as RFC 3339 text in UTC with six digits of fraction: `2026-11-21T08:00:00.123456Z`.
///
/// Texts of the years 1970 to 9999 have the same length and sort like the times. Later years, which only a
/// broken clock produces, are written with as many digits as they need.
pub fn rfc3339(us: u64) -> String {
    let (year, month, day) = civil(us / DAY_US);
    let of_day = us % DAY_US;
    let seconds = of_day / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = of_day % 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Year, month and day of a number of days since 1970-01-01, by Howard Hinnant's `civil_from_days`: years
/// begin in March there, so that the leap day is the last day of its year and needs no special case.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn known_times() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(1_709_164_800_000_000), "2024-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(1_735_689_599_999_999), "2024-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339(1_795_248_000_123_456), "2026-11-21T08:00:00.123456Z");
        assert_eq!(rfc3339(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
    }

    #[test]
    fn the_last_time_does_not_overflow() {
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }
}

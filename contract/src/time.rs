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

/// Reads a time as RFC 3339 writes it: `2026-11-21T08:00:00Z`, with any offset and any number of digits of
/// fraction, of which six count. None: it is none, or outside the years 1970 to 9999.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let (fraction_us, zone) = match rest.strip_prefix('.') {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // A leap second is the first one of the next minute, as Unix time has it.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => Some(seconds),
        ("+", offset) => seconds.checked_sub(zone_seconds(offset)?),
        ("-", offset) => Some(seconds + zone_seconds(offset)?),
        _ => None,
    };
    Some(seconds? * 1_000_000 + fraction_us)
}

/// Microseconds of the digits at the start, and what follows them.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
    let six = digits.bytes().chain(std::iter::repeat(b'0')).take(6);
    Some((six.fold(0, |us, digit| us * 10 + u64::from(digit - b'0')), rest))
}

fn zone_seconds(text: &str) -> Option<u64> {
    let [hours, minutes] = numbers(text, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)
}

/// Numbers of fixed widths with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u64; N]> {
    let mut parts = text.split(separator);
    let mut all = [0; N];
    for (number, width) in all.iter_mut().zip(widths) {
        let part = parts.next().filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(all)
}

/// Days since 1970-01-01; the inverse of [`civil`]. None: there is no such day.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_era = march_year % 400;
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let days = march_year / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    // Days that a month does not have come out as others.
    (civil(days) == (year, month, day)).then_some(days)
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
    use super::{parse_rfc3339, rfc3339};
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn what_is_written_is_read_again(us in 0..253_402_300_800_000_000_u64) {
            prop_assert_eq!(parse_rfc3339(&rfc3339(us)), Some(us));
        }

        #[test]
        fn no_text_is_too_odd(text in "[0-9TtZz:.+ä -]{0,30}") {
            let _ = parse_rfc3339(&text);
        }
    }

    #[test]
    fn other_forms_are_read() {
        let wanted = Some(1_795_248_000_500_000);
        for text in [
            "2026-11-21T08:00:00.5Z",
            "2026-11-21t08:00:00.500000999z",
            "2026-11-21 09:30:00.5+01:30",
            "2026-11-20T22:00:00.5-10:00",
        ] {
            assert_eq!(parse_rfc3339(text), wanted, "{text}");
        }
        assert_eq!(parse_rfc3339("2016-12-31T23:59:60Z"), parse_rfc3339("2017-01-01T00:00:00Z"));
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T08:00:00",
            "2026-11-21T08:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T08:60:00Z",
            "2026-11-21T08:00:61Z",
            "2026-11-21T08:00:00.Z",
            "2026-11-21T08:00:00+1:00",
            "2026-11-21T08:00:00+24:00",
            "2026-11-21T08:00:00ZZ",
            "1970-01-01T00:00:00+01:00",
            "+026-11-21T08:00:00Z",
            "2026-11-21T08:00:0\u{661}Z",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}

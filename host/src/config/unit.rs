//! Durations (`"10s"`), sizes (`"1GiB"`), counts and addresses in configuration files, with errors that say
//! what is accepted.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

/// Longest duration: beyond it, sums with a clock's time could overflow.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `"250ms"`, `"10s"`, `"5m"`, `"24h"`, `"30d"`. None: not a duration, or more than 100 years.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" | "min" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
        "d" => Duration::from_secs(number.checked_mul(24 * 60 * 60)?),
        _ => return None,
    };
    (duration <= MAX_DURATION).then_some(duration)
}

/// `"512KiB"`, `"32MiB"`, `"1GiB"`, `"1TiB"`, or bytes without a unit.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// What a value may be, as texts and numbers.
struct Accepts<T> {
    what: &'static str,
    text: fn(&str) -> Option<T>,
    number: fn(u64) -> Option<T>,
}

impl<T> Visitor<'_> for Accepts<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.what)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.text)(text).ok_or_else(|| E::custom(format!("found {text:?}, expected {}", self.what)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        (self.number)(number).ok_or_else(|| E::custom(format!("found {number}, expected {}", self.what)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(format!("found {number}, expected {}", self.what))),
        }
    }
}

const DURATION: &str = "a duration such as \"250ms\", \"10s\", \"5m\", \"24h\" or \"30d\"";
const SIZE: &str = "a size such as \"512KiB\", \"32MiB\", \"1GiB\" or a number of bytes";
const COUNT: &str = "a whole number, 0 or more";

pub(crate) fn duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    input.deserialize_any(Accepts { what: DURATION, text: parse_duration, number: |_| None })
}

pub(crate) fn optional_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
    let text = |text: &str| or_none(text, parse_duration);
    let what = "a duration such as \"250ms\", \"10s\", \"5m\", \"24h\", \"30d\", or \"none\"";
    input.deserialize_any(Accepts { what, text, number: |_| None })
}

pub(crate) fn size<'de, D: Deserializer<'de>>(input: D) -> Result<usize, D::Error> {
    let text = |text: &str| parse_size(text).and_then(|size| size.try_into().ok());
    input.deserialize_any(Accepts { what: SIZE, text, number: |number| number.try_into().ok() })
}

pub(crate) fn optional_size<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let text = |text: &str| or_none(text, parse_size);
    let what = "a size such as \"512KiB\", \"32MiB\", \"1GiB\", a number of bytes, or \"none\"";
    input.deserialize_any(Accepts { what, text, number: |number| Some(Some(number)) })
}

pub(crate) fn count<'de, D: Deserializer<'de>, T: TryFrom<u64>>(input: D) -> Result<T, D::Error> {
    input.deserialize_any(Accepts { what: COUNT, text: |_| None, number: |number| number.try_into().ok() })
}

pub(crate) fn optional_count<'de, D: Deserializer<'de>>(input: D) -> Result<Option<u64>, D::Error> {
    let text = |text: &str| or_none(text, |_| None);
    let what = "a whole number, 0 or more, or \"none\"";
    input.deserialize_any(Accepts { what, text, number: |number| Some(Some(number)) })
}

pub(crate) fn address<'de, D: Deserializer<'de>>(input: D) -> Result<SocketAddr, D::Error> {
    let what = "IP:PORT, for example \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"";
    input.deserialize_any(Accepts { what, text: |text| text.parse().ok(), number: |_| None })
}

/// `none` lifts a limit; anything else is parsed.
fn or_none<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == "none" { Some(None) } else { parse(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("50ms", 50), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "10", "-1s", "1.5s", "10 parsecs", "99999999999999999999s", "36501d", "1w"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("7", 7), ("7B", 7), ("512KiB", 524_288), ("1 GiB", 1 << 30)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "KiB", "1KB", "1.5GiB", "-1", "99999999999TiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}

//! Times as those who ask write them.

use crate::config::span_s;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_plugin::serde_json::Value;
use weir_plugin::{QueryError, Time};

/// Unix microseconds of March 1973. A number below is one of seconds or milliseconds, of any time from 1973 to
/// the year 5138.
const LEAST_US: u64 = 100_000_000_000_000;

const ACCEPTED: &str = "accepted are RFC 3339 text, Unix microseconds, `now`, or a time before now as `-90s`, `-15m`, `-1h`, `-7d`";

/// The time that a parameter gives.
pub(super) fn parse(path: &str, value: &Value) -> Result<Time, QueryError> {
    let wrong = |found: &str| Err(QueryError::invalid(path, format!("{found}: {ACCEPTED}")));
    let number = match value {
        Value::String(text) => match text.parse::<u64>() {
            Ok(number) => number,
            Err(_) => return of_text(text).map_or_else(|| wrong("no time"), Ok),
        },
        other => match other.as_u64() {
            Some(number) => number,
            None => return wrong("no time"),
        },
    };
    match number {
        0 | LEAST_US.. => Ok(Time::from_micros(number)),
        _ => wrong("too small to be Unix microseconds"),
    }
}

fn of_text(text: &str) -> Option<Time> {
    // Only who asks looks at the clock: what is stored never depends on it.
    let now = || Time::default().after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    match text.strip_prefix('-') {
        Some(span) => Some(now().before(Duration::from_secs(span_s(span)?))),
        None if text == "now" => Some(now()),
        None => Time::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::json;

    #[test]
    fn every_form_is_read() {
        let wanted = Time::from_micros(1_795_248_000_000_000);
        for same in
            [json!(1_795_248_000_000_000_u64), json!("1795248000000000"), json!("2026-11-21T08:00:00Z")]
        {
            assert_eq!(parse("/from", &same), Ok(wanted), "{same}");
        }
        assert_eq!(parse("/from", &json!(0)), Ok(Time::default()));
        let (hour, now) = (parse("/from", &json!("-1h")).unwrap(), parse("/from", &json!("now")).unwrap());
        let apart = now.micros() - hour.micros();
        assert!(
            apart >= 3_600_000_000 && now > wanted.before(Duration::from_secs(5 * 366 * 86_400)),
            "{apart}"
        );
        assert_eq!(parse("/from", &json!("-99999999999999d")), Ok(Time::default()));
    }

    #[test]
    fn what_is_no_time_is_told() {
        for wrong in
            [json!("yesterday"), json!("-1w"), json!("-1"), json!(1.5), json!(true), json!(null), json!("")]
        {
            let Err(QueryError::Invalid(error)) = parse("/to", &wrong) else { panic!("{wrong}") };
            assert!(error.path == "/to" && error.reason.contains("RFC 3339"), "{error}");
        }
        for seconds in [json!(1_795_248_000), json!("1795248000000")] {
            let Err(QueryError::Invalid(error)) = parse("/to", &seconds) else { panic!("{seconds}") };
            assert!(error.reason.contains("too small to be Unix microseconds"), "{error}");
        }
    }
}

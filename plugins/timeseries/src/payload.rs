//! The numbers of a message, and its time.

use crate::config::{Fields, MAX_FIELDS, MAX_NAME, Rules, Unit};
use std::time::Duration;
use weir_plugin::serde_json::{self, Value};
use weir_plugin::{Message, Time};

/// A time this far ahead of the router's is a mistake of the sender's clock or unit, and would outlive
/// everything.
const AHEAD: Duration = Duration::from_secs(86_400);

/// What a message adds.
#[derive(Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) time: Time,
    /// Names and numbers, in order of names, each name once.
    pub(crate) fields: Vec<(String, f64)>,
    /// Numbers for which there was no room, or whose name is too long.
    pub(crate) left_out: usize,
}

/// None: there is no number in it. Err: it can never be stored, and why.
pub(crate) fn read(rules: &Rules, message: &Message) -> Result<Option<Point>, String> {
    let Ok(body) = serde_json::from_slice::<Value>(message.payload()) else { return Ok(None) };
    let mut found = Found::default();
    match &rules.fields {
        Fields::Named(pointers) => {
            for pointer in pointers {
                found.take(pointer.clone(), body.pointer(pointer));
            }
        }
        Fields::All { depth } => found.walk(&body, String::new(), *depth, rules),
    }
    let Found { mut fields, left_out } = found;
    if fields.is_empty() && left_out == 0 {
        return Ok(None);
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(Point { time: time(rules, message, &body)?, fields, left_out }))
}

#[derive(Default)]
struct Found {
    fields: Vec<(String, f64)>,
    left_out: usize,
}

impl Found {
    fn take(&mut self, name: String, value: Option<&Value>) {
        let Some(number) = value.and_then(Value::as_f64) else { return };
        if self.fields.len() < MAX_FIELDS && name.len() <= MAX_NAME {
            self.fields.push((name, number));
        } else {
            self.left_out += 1;
        }
    }

    /// Objects only: the elements of an array are no fields of their own, but for those that are named.
    fn walk(&mut self, value: &Value, name: String, depth: usize, rules: &Rules) {
        let Value::Object(members) = value else { return self.take(name, Some(value)) };
        for (key, value) in members.iter().take_while(|_| depth > 0) {
            let name = format!("{name}/{}", key.replace('~', "~0").replace('/', "~1"));
            // The time is no measurement.
            if rules.time.as_ref().is_none_or(|(pointer, _)| *pointer != name) {
                self.walk(value, name, depth - 1, rules);
            }
        }
    }
}

/// A payload without the time field has the time at which the router took it.
fn time(rules: &Rules, message: &Message, body: &Value) -> Result<Time, String> {
    let received = message.received();
    let given =
        rules.time.as_ref().and_then(|(pointer, unit)| Some((pointer, *unit, body.pointer(pointer)?)));
    let Some((pointer, unit, value)) = given else { return Ok(received) };
    let Some(time) = parse(value, unit) else {
        return Err(format!("{pointer} is no time: RFC 3339 text, or a number since 1970, is accepted"));
    };
    if time > received.after(AHEAD) {
        return Err(format!("{pointer} is {time}, more than a day ahead of the router's time"));
    }
    Ok(time)
}

fn parse(value: &Value, unit: Unit) -> Option<Time> {
    if let Some(text) = value.as_str() {
        return Time::parse(text);
    }
    let us_per_unit = match unit {
        Unit::Seconds => 1_000_000,
        Unit::Milliseconds => 1_000,
        Unit::Microseconds => 1,
    };
    if let Some(whole) = value.as_u64() {
        return whole.checked_mul(us_per_unit).map(Time::from_micros);
    }
    let span = value.as_f64()? * f64::from(u32::try_from(us_per_unit).ok()?) / 1e6;
    let span = Duration::try_from_secs_f64(span).ok()?;
    // Seconds with a fraction are rounded to the microsecond, as a decimal fraction is none in binary.
    let us = (span + Duration::from_nanos(500)).as_micros();
    u64::try_from(us).ok().map(Time::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use weir_plugin::serde_json::{from_value, json};
    use weir_plugin::testing;

    const RECEIVED: u64 = 1_795_248_000_000_000;

    fn point(config: Value, payload: &str) -> Result<Option<Point>, String> {
        let rules = from_value::<Config>(config).unwrap().check().unwrap();
        read(&rules, &testing::message("t", payload).build())
    }

    fn fields(config: Value, payload: &str) -> Vec<(String, f64)> {
        point(config, payload).unwrap().map(|point| point.fields).unwrap_or_default()
    }

    fn named(all: &[(&str, f64)]) -> Vec<(String, f64)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn numbers_are_found_down_to_a_depth() {
        let body = r#"{"b":2,"a":1.5,"on":true,"s":"3","n":null,"l":[4],"x/y":{"c~":5,"d":{"e":6}}}"#;
        assert_eq!(fields(json!({}), body), named(&[("/a", 1.5), ("/b", 2.0)]));
        let two = named(&[("/a", 1.5), ("/b", 2.0), ("/x~1y/c~0", 5.0)]);
        assert_eq!(fields(json!({"depth": 2}), body), two);
        assert_eq!(fields(json!({"depth": 8}), body).len(), 4);
        let config = json!({"fields": ["/l/0", "/x~1y/d/e", "/s", "/none"]});
        assert_eq!(fields(config, body), named(&[("/l/0", 4.0), ("/x~1y/d/e", 6.0)]));
        assert_eq!(fields(json!({"fields": ["/b", "/b"]}), body), named(&[("/b", 2.0)]));
    }

    #[test]
    fn a_bare_number_is_a_field_without_a_name() {
        assert_eq!(fields(json!({}), "21.5"), named(&[("", 21.5)]));
        assert_eq!(fields(json!({"fields": [""]}), "-3"), named(&[("", -3.0)]));
        for payload in ["", "warm", "true", "[1]", "{}", "{\"a\":\"1\"}"] {
            assert_eq!(point(json!({}), payload), Ok(None), "{payload}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let many: serde_json::Map<_, _> = (0..70).map(|n| (format!("f{n:02}"), json!(n))).collect();
        let found = point(json!({}), &Value::from(many).to_string()).unwrap().unwrap();
        assert_eq!((found.fields.len(), found.left_out), (64, 6));
        let long = json!({"x".repeat(128): 1, "x".repeat(127): 2}).to_string();
        let found = point(json!({}), &long).unwrap().unwrap();
        assert_eq!((found.fields.len(), found.left_out), (1, 1));
    }

    #[test]
    fn the_time_is_the_payloads_or_the_routers() {
        let at = |unit: &str, body: Value| {
            let found = point(json!({"time": "/at", "time_unit": unit}), &body.to_string());
            found.map(|point| point.map(|point| (point.time.micros(), point.fields.len())))
        };
        assert_eq!(at("s", json!({"v": 1})), Ok(Some((RECEIVED, 1))));
        let wanted = Ok(Some((1_795_000_000_250_000, 1)));
        assert_eq!(at("us", json!({"v": 1, "at": 1_795_000_000_250_000_u64})), wanted);
        assert_eq!(at("ms", json!({"v": 1, "at": 1_795_000_000_250_u64})), wanted);
        assert_eq!(at("s", json!({"v": 1, "at": 1_795_000_000.25})), wanted);
        assert_eq!(at("s", json!({"v": 1, "at": "2026-11-18T11:06:40.25Z"})), wanted);
        for wrong in [json!("yesterday"), json!(-1), json!(true), json!(1e300)] {
            assert!(at("s", json!({"v": 1, "at": wrong})).unwrap_err().contains("/at is no time"));
        }
        // A day ahead may be; a number in the wrong unit is far beyond.
        assert!(at("us", json!({"v": 1, "at": RECEIVED + 86_400_000_000})).is_ok());
        assert!(
            at("s", json!({"v": 1, "at": RECEIVED / 1_000})).unwrap_err().contains("more than a day ahead")
        );
        // Without a number there is nothing to store, so nothing can be wrong.
        assert_eq!(at("s", json!({"at": "yesterday"})), Ok(None));
    }
}

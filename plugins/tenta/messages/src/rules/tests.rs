//! Vectors of the rules, and the rules read a second time, of what serde_json makes of a payload.

use super::*;
use Flavour::{Either, Hermes, Tenta};
use Kind::{Acknowledgments, Logs, Measurements};
use proptest::prelude::*;
use serde_json::{Value, json};

fn takes(kind: Kind, flavour: Flavour, payload: &str) -> bool {
    read(kind, flavour, payload.as_bytes()).is_ok()
}

/// A measurement with this value of its field `value`.
fn of(value: &str) -> String {
    format!(r#"[{{"value": {value}, "timestamp": 1683645000.5}}]"#)
}

#[test]
fn keys_of_measurements() {
    for key in ["x", "x_x", "x_x_x", &"x".repeat(64), "abc", "example_abc", "example_123", "a1", "a_1_b"] {
        for flavour in [Tenta, Hermes, Either] {
            assert!(takes(Measurements, flavour, &of(&json!({key: 1}).to_string())), "{key}");
        }
    }
    for key in ["12345678", "1", "1_a"] {
        let payload = of(&json!({key: 1}).to_string());
        assert!(takes(Measurements, Tenta, &payload) && takes(Measurements, Either, &payload), "{key}");
        assert!(!takes(Measurements, Hermes, &payload), "{key}");
    }
    let long = ["x".repeat(65), "x".repeat(256)];
    let wrong = [
        "", "_", "__", "x_", "_x", "x__x", "x__", "_x_x__", "x-x", "xxxxx#", "^", "🔥", "饭", "\"", ".;",
        "X", "x ",
    ];
    for key in wrong.into_iter().chain(long.iter().map(String::as_str)) {
        for flavour in [Tenta, Hermes, Either] {
            assert!(!takes(Measurements, flavour, &of(&json!({key: 1}).to_string())), "{key}");
        }
    }
}

#[test]
fn values_of_measurements() {
    for value in [
        "1.5",
        "1.0",
        "0.0",
        "1",
        "0",
        "-1",
        "-0",
        "1e3",
        "1E-7",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "123456789012345678901234567890",
    ] {
        assert!(takes(Measurements, Tenta, &of(&format!("{{\"a\": {value}}}"))), "{value}");
    }
    let endless = "9".repeat(400);
    for value in ["true", "false", "null", "\"1\"", "[1]", "{}", "nan", "", &endless] {
        assert!(!takes(Measurements, Tenta, &of(&format!("{{\"a\": {value}}}"))), "{value}");
    }
    for value in ["[]", "null", "1", "\"a\""] {
        assert!(!takes(Measurements, Either, &of(value)), "{value}");
    }
    let empty = of("{}");
    assert!(!takes(Measurements, Tenta, &empty));
    assert!(takes(Measurements, Hermes, &empty) && takes(Measurements, Either, &empty));
}

#[test]
fn revisions() {
    for (revision, may, must) in [
        ("0", true, true),
        ("2147483647", true, true),
        ("null", true, false),
        ("2147483648", false, false),
        ("-1", false, false),
        ("1.0", false, false),
        ("1e0", false, false),
        ("true", false, false),
        ("\"1\"", false, false),
        ("NaN", false, false),
    ] {
        let measurement = format!(r#"[{{"value": {{"a": 1}}, "timestamp": 1, "revision": {revision}}}]"#);
        let log =
            format!(r#"[{{"severity": "info", "message": "", "revision": {revision}, "timestamp": 1.5}}]"#);
        let acknowledgment = format!(r#"[{{"success": true, "timestamp": 1, "revision": {revision}}}]"#);
        assert_eq!(takes(Measurements, Tenta, &measurement), may, "{revision}");
        assert_eq!(takes(Logs, Tenta, &log), may, "{revision}");
        assert_eq!(takes(Acknowledgments, Tenta, &acknowledgment), must, "{revision}");
    }
    assert!(!takes(Acknowledgments, Tenta, r#"[{"success": true, "timestamp": 1}]"#));
}

#[test]
fn times() {
    let at = |time: &str, flavour| {
        takes(
            Acknowledgments,
            flavour,
            &format!(r#"[{{"success": false, "timestamp": {time}, "revision": 0}}]"#),
        )
    };
    for time in ["0", "0.5", "1683645000", "2147483647.9"] {
        assert!(at(time, Tenta) && at(time, Hermes) && at(time, Either), "{time}");
    }
    for time in ["-1", "-0.5", "2147483648", "4102444800.25"] {
        assert!(at(time, Tenta) && !at(time, Hermes) && at(time, Either), "{time}");
    }
    // No calendar has them: the original cannot store them, either.
    for time in ["NaN", "Infinity", "-Infinity", "1e300", "null", "\"0\"", "true", "[]"] {
        assert!(!at(time, Tenta) && !at(time, Hermes) && !at(time, Either), "{time}");
    }
}

#[test]
fn lines_of_logs() {
    let log = |severity: &str, message: &str| {
        format!(r#"[{{"severity": {severity}, "message": {message}, "timestamp": 1}}]"#)
    };
    for severity in ["info", "warning", "error"] {
        assert!(takes(Logs, Tenta, &log(&format!("\"{severity}\""), "\"\"")));
    }
    for severity in ["\"debug\"", "\"INFO\"", "\"\"", "null", "0"] {
        assert!(!takes(Logs, Tenta, &log(severity, "\"a\"")), "{severity}");
    }
    for message in ["null", "1", "[]", "\"\\ud83d\""] {
        assert!(!takes(Logs, Tenta, &log("\"info\"", message)), "{message}");
    }
    let long = json!("é".repeat(16_383) + "ab").to_string();
    let Said::Logs(lines) = read(Logs, Tenta, log("\"error\"", &long).as_bytes()).unwrap() else { panic!() };
    assert_eq!(lines[0].message, "é".repeat(16_383) + "a");
    assert_eq!(lines[0].severity, Severity::Error);
}

#[test]
fn one_bad_element_rejects_all() {
    let good = r#"{"value": {"a": 1}, "timestamp": 1}"#;
    assert!(takes(Measurements, Tenta, &format!("[{good}, {good}]")));
    let error = read(Measurements, Tenta, format!("[{good}, {{}}]").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "must be an object at /1/value");
    for payload in ["[]", "{}", good, "null", "\"[]\"", "", "[1]", "[[]]"] {
        assert!(!takes(Measurements, Tenta, payload), "{payload}");
    }
    for extra in ["receipt", "Timestamp", ""] {
        let mut element: Value = serde_json::from_str(good).unwrap();
        element[extra] = json!(1);
        let error = read(Measurements, Tenta, json!([element]).to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "must have no other fields at /0");
    }
}

#[test]
fn of_a_key_that_comes_twice_the_last_one_counts() {
    let twice = r#"[{"value": 1, "timestamp": "a", "value": {"a": true, "a": 2}, "timestamp": 1}]"#;
    let Said::Measurements(all) = read(Measurements, Tenta, twice.as_bytes()).unwrap() else { panic!() };
    assert_eq!(all[0].value, [("a".to_owned(), 2.0)].into());
    assert!(!takes(Measurements, Tenta, r#"[{"value": {"a": 1}, "timestamp": 1, "timestamp": null}]"#));
}

/// The rules of tenta once more, in other words.
fn is_good(kind: Kind, payload: &Value) -> bool {
    let number = |value: Option<&Value>| value.is_some_and(Value::is_number);
    let revision = |value: &Value| value.as_u64().is_some_and(|revision| revision < 1 << 31);
    let optional = |value: Option<&Value>| value.is_none_or(|value| value.is_null() || revision(value));
    let key = |key: &str| {
        key.len() <= 64
            && key
                .split('_')
                .all(|part| !part.is_empty() && part.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9')))
    };
    let element = |element: &Value| {
        let Some(fields) = element.as_object() else { return false };
        let known: &[&str] = match kind {
            Measurements => &["value", "timestamp", "revision"],
            Logs => &["message", "severity", "timestamp", "revision"],
            Acknowledgments => &["success", "timestamp", "revision"],
        };
        fields.keys().all(|field| known.contains(&field.as_str()))
            && number(fields.get("timestamp"))
            && match kind {
                Measurements => {
                    let value = fields.get("value").and_then(Value::as_object);
                    value.is_some_and(|value| {
                        !value.is_empty() && value.iter().all(|(name, value)| key(name) && value.is_number())
                    }) && optional(fields.get("revision"))
                }
                Logs => {
                    fields.get("message").is_some_and(Value::is_string)
                        && fields
                            .get("severity")
                            .and_then(Value::as_str)
                            .is_some_and(|word| ["info", "warning", "error"].contains(&word))
                        && optional(fields.get("revision"))
                }
                Acknowledgments => {
                    fields.get("success").is_some_and(Value::is_boolean)
                        && fields.get("revision").is_some_and(revision)
                }
            }
    };
    payload.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(element))
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(|n| Value::from(n / 1_000_000)),
        (0_u64..1 << 33).prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[a-z0-9_A]{0,4}".prop_map(Value::from),
        prop_oneof![Just("info"), Just("warning"), Just("error")].prop_map(Value::from),
    ]
}

/// Mostly as it should be.
fn payload() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        Just("value"),
        Just("message"),
        Just("severity"),
        Just("success"),
        Just("timestamp"),
        Just("revision"),
        Just("x")
    ];
    let value = prop_oneof![
        4 => scalar(),
        1 => prop::collection::hash_map("[a-z0-9_]{0,4}", scalar(), 0..3).prop_map(Value::from_iter),
    ];
    let loose =
        prop::collection::hash_map(field.prop_map(str::to_owned), value, 0..5).prop_map(Value::from_iter);
    let seconds = -62_135_596_800_i64..253_402_300_800;
    let numbers = prop::collection::hash_map("[a-z0-9][a-z0-9_]{0,4}", any::<i32>(), 1..3);
    let tight = (numbers, seconds.clone(), -1_i64..1 << 32)
        .prop_map(|(value, time, revision)| json!({"value": value, "timestamp": time, "revision": revision}));
    let log = ("[ -~é]{0,9}", "(info|warning|error|debug)", seconds.clone()).prop_map(
        |(message, severity, time)| json!({"message": message, "severity": severity, "timestamp": time}),
    );
    let acknowledgment = (any::<bool>(), seconds, -1_i64..1 << 32).prop_map(
        |(success, time, revision)| json!({"success": success, "timestamp": time, "revision": revision}),
    );
    prop::collection::vec(prop_oneof![loose, tight, log, acknowledgment], 0..3).prop_map(Value::from)
}

proptest! {
    #[test]
    fn what_passes_keeps_the_rules_and_what_keeps_them_passes(payload in payload()) {
        for kind in [Measurements, Logs, Acknowledgments] {
            let ours = takes(kind, Tenta, &payload.to_string());
            prop_assert_eq!(ours, is_good(kind, &payload), "{:?} {}", kind, payload);
            // What one of both flavours takes, the storage takes.
            let hermes = takes(kind, Hermes, &payload.to_string());
            prop_assert!(takes(kind, Either, &payload.to_string()) >= (ours || hermes), "{}", payload);
        }
    }

    #[test]
    fn no_payload_makes_it_panic(payload: Vec<u8>) {
        for kind in [Measurements, Logs, Acknowledgments] {
            let _ = read(kind, Hermes, &payload);
        }
    }
}

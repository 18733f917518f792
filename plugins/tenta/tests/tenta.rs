//! What is stored of sensors' messages, and how it is asked for.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use std::time::Duration;

use weir_plugin::serde_json::{self, Value, json};
use weir_plugin::testing::{self, Host};
use weir_plugin::{Account, Attribute, Level, Message, QueryError, StoreFailure, Time};
use weir_plugin_tenta::Tenta;

/// 2026-11-21T08:00:00Z, when messages of tests are received; a full hour.
const EIGHT: f64 = 1_795_248_000.0;
const DAY: f64 = 86_400.0;

/// A sensor `s1` with configurations up to revision 3, and `s2` with none.
fn host() -> Host<Tenta> {
    let mut sensor = Account::new("sensors", "s1", "main");
    sensor.attributes.push(Attribute { name: "revision".into(), value: "3".into() });
    let host = Host::new(json!({})).unwrap();
    host.with_account(sensor).with_account(Account::new("sensors", "s2", "main"))
}

fn message(topic: &str, body: &Value) -> Message {
    testing::message_json(topic, body).build()
}

fn measured(time: f64, revision: Option<u32>, value: Value) -> Value {
    json!({"value": value, "timestamp": time, "revision": revision})
}

fn ask(host: &mut Host<Tenta>, topic: &str, params: Value) -> Vec<Value> {
    pages(host, topic, &params, 64).0
}

/// The first page, and all pages.
fn pages(host: &mut Host<Tenta>, topic: &str, params: &Value, limit: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut first, mut all, mut cursor) = (None, Vec::new(), None);
    for _ in 0..10_000 {
        let page = host.query_page(topic, params.clone(), cursor.as_deref(), limit).unwrap();
        let items: Vec<Value> = page.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
        first = first.or_else(|| Some(items.clone()));
        // What follows a page of `previous` comes before it.
        all = if params["direction"] == "previous" { [items, all].concat() } else { [all, items].concat() };
        cursor = page.next;
        if cursor.is_none() {
            return (first.unwrap_or_default(), all);
        }
    }
    panic!("the pages do not end");
}

fn times(items: &[Value]) -> Vec<f64> {
    items.iter().map(|item| item["creation_timestamp"].as_f64().unwrap()).collect()
}

#[test]
fn measurements_with_the_same_time_and_revision_are_merged() {
    let mut host = host();
    let all = json!([
        measured(EIGHT + 1.5, Some(0), json!({"a": 1, "b": 2.5})),
        measured(EIGHT, None, json!({"a": 1})),
        measured(EIGHT + 1.5, Some(0), json!({"b": 3, "c": -0.25})),
        measured(EIGHT + 1.5, None, json!({"a": 7})),
    ]);
    let next = json!([measured(EIGHT + 1.500_000_1, Some(0), json!({"d": 4}))]);
    host.store(&[message("measurements/s1", &all), message("measurements/s1", &next)]).unwrap();
    host.restart();
    host.store(&[message("measurements/s1", &json!([measured(EIGHT, None, json!({"z": 9}))]))]).unwrap();
    let item = |value, revision: Value, time| json!({"value": value, "revision": revision, "creation_timestamp": time});
    assert_eq!(
        ask(&mut host, "measurements/s1", json!({})),
        [
            item(json!({"a": 1, "z": 9}), json!(null), EIGHT),
            item(json!({"a": 7}), json!(null), EIGHT + 1.5),
            item(json!({"a": 1, "b": 3, "c": -0.25, "d": 4}), json!(0), EIGHT + 1.5),
        ]
    );
    assert!(ask(&mut host, "measurements/s2", json!({})).is_empty());
}

#[test]
fn a_hundred_and_thirty_measurements_are_pages_of_64_64_and_2() {
    let mut host = host();
    let messages: Vec<_> = (0..130)
        .map(|n| message("measurements/s1", &json!([measured(EIGHT + f64::from(n), None, json!({"n": n}))])))
        .collect();
    host.store(&messages).unwrap();
    let mut at = json!({});
    for (size, last) in [(64, 63.0), (64, 127.0), (2, 129.0)] {
        let (page, _) = pages(&mut host, "measurements/s1", &at, 64);
        assert_eq!((page.len(), times(&page).last().copied()), (size, Some(EIGHT + last)));
        at = json!({"creation_timestamp": EIGHT + last, "direction": "next"});
    }
    assert!(pages(&mut host, "measurements/s1", &at, 64).0.is_empty());
    let mut at = json!({"direction": "previous"});
    for (size, first) in [(64, 66.0), (64, 2.0), (2, 0.0)] {
        let (page, _) = pages(&mut host, "measurements/s1", &at, 64);
        assert_eq!((page.len(), times(&page).first().copied()), (size, Some(EIGHT + first)));
        assert!(times(&page).is_sorted());
        at = json!({"creation_timestamp": EIGHT + first, "direction": "previous"});
    }
    // As texts, too, for those who ask by a URL.
    let texts = json!({"creation_timestamp": (EIGHT + 5.0).to_string(), "direction": "previous"});
    assert_eq!(ask(&mut host, "measurements/s1", texts).len(), 5);
}

#[test]
fn times_of_all_years_keep_their_order() {
    let mut host = host();
    let all = [4_102_444_800.25, -1.5, 0.0, -62_135_596_800.0, 253_402_300_799.0, -0.000_001];
    let body: Vec<_> = all.iter().map(|time| measured(*time, None, json!({"a": 1}))).collect();
    host.store(&[message("base/measurements/s1", &json!(body))]).unwrap();
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(times(&ask(&mut host, "base/measurements/s1", json!({}))), sorted);
    let before =
        ask(&mut host, "base/measurements/s1", json!({"creation_timestamp": 0, "direction": "previous"}));
    assert_eq!(times(&before), sorted[..3]);
    assert!(ask(&mut host, "measurements/s1", json!({})).is_empty(), "another base, another place");
}

#[test]
fn numbers_that_json_does_not_have_are_texts() {
    let mut host = host();
    let payload =
        format!(r#"[{{"value": {{"a": NaN, "b": -Infinity, "c": 1e999, "d": 0.1}}, "timestamp": {EIGHT}}}]"#);
    host.store(&[testing::message("measurements/s1", payload).build()]).unwrap();
    let value = ask(&mut host, "measurements/s1", json!({}))[0]["value"].clone();
    assert_eq!(value, json!({"a": "NaN", "b": "-Infinity", "c": "Infinity", "d": 0.1}));
    let means = ask(&mut host, "measurements/s1", json!({"aggregate": true, "now": EIGHT}));
    let bucket = |average: Value| json!([{"bucket_timestamp": EIGHT, "average": average}]);
    assert_eq!(means[0], json!({"attribute": "a", "buckets": bucket(json!("NaN"))}));
    assert_eq!(means[3], json!({"attribute": "d", "buckets": bucket(json!(0.1))}));
}

#[test]
fn hours_have_means_for_four_weeks() {
    let mut host = host();
    let hour = |n: f64| EIGHT + n * 3_600.0;
    let all = json!([
        measured(hour(0.0), None, json!({"a": 1})),
        measured(hour(0.999), Some(1), json!({"a": 2, "b": 10})),
        measured(hour(1.0), None, json!({"a": 5})),
        measured(hour(-1.0), None, json!({"a": -1})),
        measured(hour(-24.0 * 28.0), None, json!({"a": 100})),
        measured(hour(-24.0 * 28.0 + 1.0), None, json!({"a": 50})),
        measured(-1.0, None, json!({"a": 100})),
    ]);
    host.store(&[message("measurements/s1", &all)]).unwrap();
    // What comes twice counts twice.
    host.store(&[message("measurements/s1", &json!([measured(hour(0.5), None, json!({"a": 6}))]))]).unwrap();
    let buckets = |items: &[Value]| -> Vec<Vec<(f64, f64)>> {
        let number = |bucket: &Value, field: &str| bucket[field].as_f64().unwrap();
        let of = |item: &Value| {
            item["buckets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|b| (number(b, "bucket_timestamp"), number(b, "average")))
                .collect()
        };
        items.iter().map(of).collect()
    };
    let params = json!({"aggregate": true, "now": EIGHT + 60.0, "direction": "previous"});
    let means = ask(&mut host, "measurements/s1", params);
    assert_eq!((&means[0]["attribute"], &means[1]["attribute"]), (&json!("a"), &json!("b")));
    let of_a = vec![(hour(-671.0), 50.0), (hour(-1.0), -1.0), (hour(0.0), 3.0), (hour(1.0), 5.0)];
    assert_eq!(buckets(&means), [of_a.clone(), vec![(hour(0.0), 10.0)]]);
    let later = ask(&mut host, "measurements/s1", json!({"aggregate": true, "now": EIGHT + DAY}));
    assert_eq!(buckets(&later), [of_a[1..].to_vec(), vec![(hour(0.0), 10.0)]]);
    host.now(Time::from_micros(1_795_248_000_000_000).after(Duration::from_secs(28 * 86_400 + 3_600)));
    assert!(ask(&mut host, "measurements/s1", json!({"aggregate": true, "now": EIGHT})).is_empty());
    assert_eq!(ask(&mut host, "measurements/s1", json!({})).len(), 8, "measurements stay");
}

#[test]
fn means_of_many_attributes_and_all_hours_come_in_pages() {
    let mut host = host();
    let value: serde_json::Map<_, _> =
        (0..20).map(|n| (format!("{n:02}{}", "x".repeat(62)), json!(0.1 + f64::from(n)))).collect();
    for chunk in (0..700).collect::<Vec<i32>>().chunks(50) {
        let body: Vec<_> =
            chunk.iter().map(|n| measured(EIGHT - f64::from(*n) * 3_600.0, None, json!(value))).collect();
        host.store(&[message("measurements/s1", &json!(body))]).unwrap();
    }
    let (first, all) = pages(&mut host, "measurements/s1", &json!({"aggregate": true, "now": EIGHT}), 64);
    assert_eq!((first.len(), all.len()), (15, 20));
    assert!(all.iter().all(|item| item["buckets"].as_array().unwrap().len() == 672), "4 weeks of hours");
    let names: Vec<_> = all.iter().map(|item| item["attribute"].as_str().unwrap().to_owned()).collect();
    assert!(names.is_sorted() && names[19].starts_with("19"));
}

#[test]
fn lines_of_logs_are_kept_for_eight_weeks() {
    let mut host = host();
    let line = |time: f64, severity: &str, text: &str| json!({"severity": severity, "message": text, "timestamp": time, "revision": null});
    let same =
        json!([line(5.0, "info", "b"), line(5.0, "error", "a"), line(4.0, "warning", &"é".repeat(20_000))]);
    host.store(&[message("logs/s1", &same)]).unwrap();
    let lines = ask(&mut host, "logs/s1", json!({"now": EIGHT}));
    assert_eq!(lines[0]["message"].as_str().unwrap().chars().count(), 16_384);
    assert_eq!(
        lines[1..],
        [
            json!({"severity": "info", "message": "b", "revision": null, "creation_timestamp": 5.0}),
            json!({"severity": "error", "message": "a", "revision": null, "creation_timestamp": 5.0}),
        ]
    );
    let received =
        |days: u64| Time::from_micros(1_795_248_000_000_000).after(Duration::from_secs(days * 86_400));
    let late =
        testing::message_json("logs/s1", &json!([line(4.5, "info", "late")])).received(received(50)).build();
    host.store(&[late]).unwrap();
    assert_eq!(ask(&mut host, "logs/s1", json!({"now": EIGHT})).len(), 4);
    let now = json!({"now": EIGHT + 57.0 * DAY});
    assert_eq!(ask(&mut host, "logs/s1", now).len(), 1, "older ones are not shown");
    let later =
        testing::message_json("logs/s1", &json!([line(4.0, "info", "later")])).received(received(57)).build();
    host.store(&[later]).unwrap();
    let left = ask(&mut host, "logs/s1", json!({"now": EIGHT}));
    assert_eq!(times(&left), [4.0, 4.5], "the next line takes them away");
    host.now(received(57 + 56));
    assert!(ask(&mut host, "logs/s1", json!({"now": EIGHT})).is_empty() && host.state_len() == 0);
}

#[test]
fn warnings_and_errors_are_grouped() {
    let mut host = host();
    let line = |time: f64, severity: &str, text: &str, revision: Value| json!({"severity": severity, "message": text, "timestamp": time, "revision": revision});
    let all = json!([
        line(3.0, "error", "on fire", json!(2)),
        line(1.0, "error", "on fire", json!(null)),
        line(9.0, "info", "on fire", json!(3)),
        line(2.0, "warning", "on fire", json!(1)),
        line(5.0, "error", "drowned", json!(3)),
    ]);
    host.store(&[message("logs/s1", &all)]).unwrap();
    let params = json!({"aggregate": true, "now": EIGHT});
    let group = |severity: &str, revisions: [Value; 2], times: [f64; 2], subject: &str, count: u64| {
        json!({"severity": severity, "min_revision": revisions[0], "max_revision": revisions[1],
        "min_creation_timestamp": times[0], "max_creation_timestamp": times[1], "subject": subject, "count": count})
    };
    let wanted = [
        group("warning", [json!(1), json!(1)], [2.0, 2.0], "on fire", 1),
        group("error", [json!(null), json!(2)], [1.0, 3.0], "on fire", 2),
        group("error", [json!(3), json!(3)], [5.0, 5.0], "drowned", 1),
    ];
    assert_eq!(pages(&mut host, "logs/s1", &params, 2), (wanted[..2].to_vec(), wanted.to_vec()));
    assert!(ask(&mut host, "logs/s1", json!({"aggregate": true, "now": EIGHT + 57.0 * DAY})).is_empty());
}

#[test]
fn a_long_line_is_cut_where_an_answer_ends() {
    let mut host = host();
    // As JSON each of its characters takes six bytes.
    let line = json!({"severity": "error", "message": "\u{1}".repeat(16_384), "timestamp": 1});
    let lines: Vec<_> = vec![line; 40];
    host.store(&[message("logs/s1", &json!(lines))]).unwrap();
    let (first, all) = pages(&mut host, "logs/s1", &json!({"now": EIGHT}), 64);
    assert!(first.len() < 40 && all.len() == 40, "a page holds 1 MiB");
    assert!(all.iter().all(|item| item["message"].as_str().unwrap().len() > 10_000));
    let group = ask(&mut host, "logs/s1", json!({"aggregate": true, "now": EIGHT})).remove(0);
    assert!(group["count"] == 40 && group["subject"].as_str().unwrap().len() > 10_000);
}

#[test]
fn the_first_acknowledgment_of_a_revision_wins() {
    let mut host = host();
    let said = |revision: u32, time: f64, success: bool| json!({"success": success, "timestamp": time, "revision": revision});
    let batch = [
        message("acknowledgments/s1", &json!([said(3, 10.5, false), said(0, 7.0, true), said(4, 1.0, true)])),
        message("acknowledgments/s1", &json!([said(3, 11.0, true)])),
        message("acknowledgments/s2", &json!([said(0, 1.0, true)])),
    ];
    host.store(&batch).unwrap();
    host.store(&batch[1..2]).unwrap();
    let item = |revision: u32, time: f64, success: bool| json!({"revision": revision, "acknowledgment_timestamp": time, "success": success});
    let all = [item(0, 7.0, true), item(3, 10.5, false)];
    assert_eq!(ask(&mut host, "acknowledgments/s1", json!({})), all);
    assert_eq!(pages(&mut host, "acknowledgments/s1", &json!({}), 1).1, all);
    assert_eq!(ask(&mut host, "acknowledgments/s1", json!({"from": 1, "to": 3})), all[1..]);
    assert!(ask(&mut host, "acknowledgments/s1", json!({"from": 1, "to": 2})).is_empty());
    assert!(ask(&mut host, "acknowledgments/s1", json!({"from": 3, "to": 2})).is_empty());
    assert!(ask(&mut host, "acknowledgments/s2", json!({})).is_empty(), "it has no configuration");
}

#[test]
fn unknown_sensors_leave_nothing_and_are_told() {
    let mut stored = host();
    let body = json!([measured(EIGHT, None, json!({"a": 1}))]);
    stored.store(&[message("measurements/s9", &body), message("measurements/s1", &body)]).unwrap();
    assert!(ask(&mut stored, "measurements/s9", json!({})).is_empty());
    assert_eq!(ask(&mut stored, "measurements/s1", json!({})).len(), 1);
    assert_eq!(
        stored.logs(),
        [(Level::Warn, "message of an unknown sensor topic=measurements/s9".to_owned())]
    );
    let mut any = Host::<Tenta>::new(json!({"sensors": "any"})).unwrap();
    any.store(&[message("measurements/s9", &body)]).unwrap();
    assert_eq!(ask(&mut any, "measurements/s9", json!({})).len(), 1);
    let mut without_grant = Host::<Tenta>::new(json!({})).unwrap();
    assert!(matches!(
        without_grant.store(&[message("measurements/s1", &body)]),
        Err(StoreFailure::Internal(_))
    ));
    assert_eq!(Host::<Tenta>::new(json!({"sensors": "all"})).unwrap_err().path, "/sensors");
}

#[test]
fn what_can_never_be_stored_is_told_with_its_place() {
    let mut host = host();
    let good = message("measurements/s1", &json!([measured(EIGHT, None, json!({"a": 1}))]));
    let other = message("measurements/s1/raw", &json!("no matter what"));
    for (topic, payload, reason) in [
        ("measurements/s1".to_owned(), "[]".to_owned(), "malformed: must have at least one element"),
        ("logs/s1".to_owned(), "nonsense".to_owned(), "malformed: must be JSON"),
        (format!("{}/logs/s1", "b".repeat(463)), "[]".to_owned(), "a topic of 471 bytes: at most 470"),
    ] {
        let bad = testing::message(&topic, payload).build();
        let failed = host.store(&[good.clone(), other.clone(), bad]).unwrap_err();
        assert_eq!(failed, StoreFailure::unprocessable(2, reason));
    }
    assert_eq!(host.state_len(), 0, "nothing of such a batch is kept");
    host.store(&[other]).unwrap();
    assert_eq!(host.state_len(), 0, "other topics are none of its business");
}

#[test]
fn a_message_may_hold_thousands() {
    let mut host = host();
    let many = |count: u32| -> Vec<Value> {
        (0..count).map(|n| json!({"value": {"a": n}, "timestamp": EIGHT + f64::from(n) / 100.0})).collect()
    };
    host.store(&[message("measurements/s1", &json!(many(20_000)))]).unwrap();
    assert_eq!(pages(&mut host, "measurements/s1", &json!({}), 1_000).1.len(), 20_000);
    let lines: Vec<_> =
        (0..20_000).map(|n| json!({"severity": "info", "message": "", "timestamp": n})).collect();
    host.store(&[message("logs/s1", &json!(lines))]).unwrap();
    assert_eq!(
        pages(&mut host, "logs/s1", &json!({"direction": "previous", "now": EIGHT}), 1_000).1.len(),
        20_000
    );
    let too_many = message("measurements/s1", &json!(many(40_000)));
    let failed = host.store(&[too_many]).unwrap_err();
    assert!(
        matches!(&failed, StoreFailure::Unprocessable { index: 0, reason } if reason.contains("too many")),
        "{failed:?}"
    );
}

#[test]
fn attributes_over_the_limit_are_left_out_and_told() {
    let mut host = host();
    let value: serde_json::Map<_, _> =
        (0..600).map(|n| (format!("{n:064}"), json!(0.123_456_789_012_345_6))).collect();
    let body = json!([measured(EIGHT, None, json!(value))]);
    host.store(&[message("measurements/s1", &body)]).unwrap();
    let items = ask(&mut host, "measurements/s1", json!({}));
    assert_eq!(items[0]["value"].as_object().unwrap().len(), 512);
    assert_eq!(
        host.logs(),
        [(Level::Warn, "attributes left out: too many topic=measurements/s1 attributes=88".to_owned())]
    );
}

#[test]
fn what_is_asked_wrongly_is_answered_with_what_is_accepted() {
    let mut host = host();
    for (topic, params, path) in [
        ("measurements/+", json!({}), ""),
        ("room/1", json!({}), ""),
        ("configurations/s1", json!({}), ""),
        ("measurements/s1", json!({"direction": "back"}), "/direction"),
        ("measurements/s1", json!({"creation_timestamp": "soon"}), "/creation_timestamp"),
        ("logs/s1", json!({"from": 1}), "/from"),
        ("acknowledgments/s1", json!({"direction": "next"}), "/direction"),
        ("acknowledgments/s1", json!({"from": -1}), "/from"),
    ] {
        match host.query(topic, params.clone()) {
            Err(QueryError::Invalid(error)) => assert_eq!(error.path, path, "{topic} {params} {error}"),
            other => panic!("{topic} {params}: {other:?}"),
        }
    }
    for (topic, params) in [
        ("measurements/s1", json!({})),
        ("measurements/s1", json!({"aggregate": true})),
        ("logs/s1", json!({"aggregate": true})),
        ("acknowledgments/s1", json!({})),
    ] {
        let answer = host.query_page(topic, params.clone(), Some(&[255; 65]), 10);
        assert!(matches!(answer, Err(QueryError::Invalid(_))), "{topic} {params}: {answer:?}");
    }
}

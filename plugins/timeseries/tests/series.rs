//! What comes out of queries for what was stored, in whatever order, batches and pages.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use weir_plugin::serde_json::{self, Value, json};
use weir_plugin::testing::{self, Host};
use weir_plugin::{Message, QueryError, StoreFailure, Time};
use weir_plugin_timeseries::TimeSeries;

/// 2026-11-21T08:00:00Z.
const EIGHT: u64 = 1_795_248_000_000_000;
const SECOND: u64 = 1_000_000;

fn host(config: Value) -> Host<TimeSeries> {
    Host::new(config).expect("the configuration is accepted")
}

fn at(topic: &str, us: u64, body: &Value) -> Message {
    testing::message_json(topic, body).received(Time::from_micros(us)).build()
}

/// All pages of so many items.
fn pages(host: &mut Host<TimeSeries>, topic: &str, params: &Value, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), None);
    for _ in 0..100_000 {
        let page = host.query_page(topic, params.clone(), cursor.as_deref(), limit).unwrap();
        all.extend(page.items.iter().map(|item| serde_json::from_str::<Value>(item).unwrap()));
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
    panic!("the pages do not end");
}

fn refused(host: &mut Host<TimeSeries>, topic: &str, params: Value) -> (String, String) {
    match host.query(topic, params) {
        Err(QueryError::Invalid(error)) => (error.path, error.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn points_fall_into_all_buckets() {
    let mut host = host(json!({}));
    let messages = [
        at("room/1", EIGHT + 59 * SECOND, &json!({"celsius": 20, "by": "s1"})),
        at("room/1", EIGHT + 60 * SECOND, &json!({"celsius": 22})),
        at("room/1", EIGHT + 61 * SECOND, &json!({"celsius": 23, "humidity": 50})),
        at("room/1", EIGHT + 62 * SECOND, &json!("off")),
    ];
    host.store(&messages).unwrap();
    let item = |bucket: &str, us: u64, field: &str, count: u64, min: f64, max: f64, sum: f64| {
        json!({"topic": "room/1", "field": field, "bucket": bucket, "time_us": us, "count": count, "min": min,
            "max": max, "mean": sum / count as f64, "sum": sum})
    };
    assert_eq!(
        pages(&mut host, "room/1", &json!({}), 100),
        [
            item("1m", EIGHT, "/celsius", 1, 20.0, 20.0, 20.0),
            item("1m", EIGHT + 60 * SECOND, "/celsius", 2, 22.0, 23.0, 45.0),
            item("1m", EIGHT + 60 * SECOND, "/humidity", 1, 50.0, 50.0, 50.0),
        ]
    );
    let hour = pages(&mut host, "room/+", &json!({"bucket": "60m", "field": "/celsius"}), 100);
    assert_eq!(hour, [item("1h", EIGHT, "/celsius", 3, 20.0, 23.0, 65.0)]);
    let raw = pages(&mut host, "room/1", &json!({"bucket": "raw", "field": "/humidity"}), 100);
    let wanted =
        json!({"topic": "room/1", "field": "/humidity", "time_us": EIGHT + 61 * SECOND, "value": 50.0});
    assert_eq!(raw, [wanted]);
}

#[test]
fn late_points_go_to_their_bucket_and_too_late_ones_nowhere() {
    let config = json!({"time": "/at", "raw_age_s": 60, "buckets": [{"every": "1m", "age_s": 3_600}, {"every": "1d", "age_s": 0}]});
    let mut host = host(config);
    let late = |late_s: u64| at("t", EIGHT, &json!({"v": 1, "at": EIGHT - late_s * SECOND}));
    // A raw point is kept for 60 s, a minute for an hour after its end.
    host.store(&[late(0), late(59), late(60), late(3_600), late(3_659), late(3_661), late(100_000)]).unwrap();
    let count = |host: &mut Host<TimeSeries>, bucket: &str| {
        pages(host, "t", &json!({"bucket": bucket}), 100)
            .iter()
            .map(|i| i["count"].as_u64().unwrap_or(1))
            .sum()
    };
    assert_eq!((count(&mut host, "raw"), count(&mut host, "1m"), count(&mut host, "1d")), (2, 4, 7));
    host.now(Time::from_micros(EIGHT).after(Duration::from_secs(61)));
    assert_eq!((count(&mut host, "raw"), count(&mut host, "1m"), count(&mut host, "1d")), (0, 3, 7));
    host.now(Time::from_micros(EIGHT).after(Duration::from_secs(86_400 * 1_000)));
    assert_eq!(count(&mut host, "1d"), 7, "for ever");
}

#[test]
fn a_range_has_every_bucket_that_it_touches() {
    let mut host = host(json!({}));
    let messages: Vec<_> = (0..10).map(|n| at("t", EIGHT + n * 60 * SECOND, &json!(n))).collect();
    host.store(&messages).unwrap();
    let mut between = |from: Value, to: Value, bucket: &str| -> Vec<u64> {
        let items = pages(&mut host, "t", &json!({"from": from, "to": to, "bucket": bucket, "field": ""}), 3);
        items.iter().map(|item| (item["time_us"].as_u64().unwrap() - EIGHT) / 60 / SECOND).collect()
    };
    let text = |text: &str| json!(text);
    assert_eq!(between(text("2026-11-21T08:02:30Z"), text("2026-11-21T08:05:00Z"), "1m"), [2, 3, 4]);
    assert_eq!(between(text("2026-11-21T08:02:30Z"), text("2026-11-21T08:05:00Z"), "raw"), [3, 4]);
    assert_eq!(between(json!(EIGHT + 420 * SECOND), Value::Null, "1m"), [7, 8, 9]);
    assert_eq!(between(Value::Null, json!((EIGHT + 60 * SECOND).to_string()), "1m"), [0]);
    // The messages lie in the far future of nobody's clock but the test's: seen from now, there are none or all.
    assert_eq!(between(text("now"), text("2099-01-01T00:00:00Z"), "1m").len() % 10, 0);
}

#[test]
fn what_is_asked_wrongly_is_refused_by_name() {
    let mut host = host(json!({"raw_age_s": 0, "buckets": ["1m", "1h"]}));
    host.store(&[at("t", EIGHT, &json!(1))]).unwrap();
    for (params, path, said) in [
        (json!({"bucket": "5m"}), "/bucket", "accepted are 1m, 1h"),
        (json!({"bucket": "raw"}), "/bucket", "accepted are 1m, 1h"),
        (json!({"from": "soon"}), "/from", "RFC 3339"),
        (json!({"to": "1795248000"}), "/to", "too small"),
        (json!({"from": EIGHT, "to": EIGHT}), "/to", "after `from`"),
        (json!({"field": "celsius"}), "/field", "JSON Pointer"),
        (json!({"fields": "/celsius"}), "", "unknown field `fields`"),
    ] {
        let (found, reason) = refused(&mut host, "t", params.clone());
        assert!(reason.contains(said), "{params}: {reason}");
        assert!(found == path || path.is_empty(), "{params}: {found}");
    }
    assert!(refused(&mut host, "a/#/b", json!({})).1.contains("no topic pattern"));
    for cursor in [&b""[..], b"x", b"\xff\xffx"] {
        let answer = host.query_page("t", json!({}), Some(cursor), 9);
        assert!(matches!(answer, Err(QueryError::Invalid(_))), "{answer:?}");
    }
    // Of a topic that is known an empty page is an answer.
    let none = host.query("t", json!({"to": 0.to_string(), "from": Value::Null}));
    assert!(none.is_err(), "nothing lies before 1970");
    assert!(host.query("t", json!({"to": "2000-01-01T00:00:00Z"})).unwrap().items.is_empty());
    assert_eq!(host.query("u", json!({})), Err(QueryError::NotFound));
    assert!(host.query("u/#", json!({})).unwrap().items.is_empty());
}

#[test]
fn a_made_up_cursor_shows_nothing_else() {
    let mut host = host(json!({}));
    host.store(&[at("a", EIGHT, &json!(1)), at("b", EIGHT, &json!(2)), at("c", EIGHT, &json!(3))]).unwrap();
    for key in [&b""[..], b"\0\0\0\x3ca\0", b"\0\0\0\x3cc\0", b"\0\0\x0e\x10", b"\xff\xff\xff\xff"] {
        let cursor = [&u16::try_from(key.len()).unwrap().to_le_bytes(), key].concat();
        for topic in ["b", "b/#"] {
            let page = host.query_page(topic, json!({}), Some(&cursor), 9).unwrap();
            assert!(page.items.iter().all(|item| item.contains("\"topic\":\"b\"")), "{page:?}");
            assert!(page.items.iter().all(|item| item.contains("\"bucket\":\"1m\"")), "{page:?}");
        }
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    let mut host = host(json!({"time": "/at"}));
    let good = at("t", EIGHT, &json!({"v": 1}));
    let bad = |message: Message| [good.clone(), message];
    let long = format!("t/{}", "x".repeat(500));
    for (message, said) in [
        (at(&long, EIGHT, &json!({"v": 1})), "a topic of 502 bytes: at most 480"),
        (at("t", EIGHT, &json!({"v": 1, "at": "never"})), "/at is no time"),
        (at("t", EIGHT, &json!({"v": 1, "at": EIGHT + 90_000 * SECOND})), "more than a day ahead"),
    ] {
        match host.store(&bad(message)) {
            Err(StoreFailure::Unprocessable { index: 1, reason }) => {
                assert!(reason.contains(said), "{reason}")
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(host.state_len(), 0, "nothing of those batches is kept");
    // The longest topic of all, and the most of everything.
    let longest = format!("t/{}", "x".repeat(478));
    let body: serde_json::Map<_, _> = (0..64).map(|n| (format!("{n:0127}"), json!(n))).collect();
    let messages: Vec<_> =
        (0..64).map(|n| at(&longest, EIGHT + n * 86_400 * SECOND, &Value::from(body.clone()))).collect();
    host.store(&messages).unwrap();
    assert_eq!(pages(&mut host, &longest, &json!({"bucket": "1d"}), 1_000).len(), 64 * 64);
}

#[test]
fn what_there_is_no_room_for_is_logged() {
    let mut host = host(json!({}));
    let body: serde_json::Map<_, _> = (0..70).map(|n| (format!("f{n:02}"), json!(n))).collect();
    host.store(&[at("t", EIGHT, &Value::from(body))]).unwrap();
    assert!(host.logs().iter().any(|(_, line)| line.ends_with("numbers=6")), "{:?}", host.logs());
    assert_eq!(pages(&mut host, "t", &json!({}), 100).len(), 64);
}

/// One number: topic, minutes from eight o'clock, field, value.
type Number = (usize, u64, usize, i32);

const TOPICS: [&str; 4] = ["a", "a/b", "a/c/d", "b"];
const FIELDS: [&str; 3] = ["x", "y", "z/~"];
const NAMES: [&str; 3] = ["/x", "/y", "/z~1~0"];

fn naive(numbers: &[Number], width_min: u64, wanted: impl Fn(&str) -> bool) -> Vec<Value> {
    let mut found: BTreeMap<(&str, u64, &str), Vec<i32>> = BTreeMap::new();
    for (topic, minutes, field, value) in numbers {
        let start = EIGHT + minutes / width_min * width_min * 60 * SECOND;
        if wanted(TOPICS[*topic]) {
            found.entry((TOPICS[*topic], start, NAMES[*field])).or_default().push(*value);
        }
    }
    let item = |((topic, us, field), values): ((&str, u64, &str), Vec<i32>)| {
        let sum = values.iter().map(|value| f64::from(*value)).sum::<f64>();
        let (min, max) = (f64::from(*values.iter().min().unwrap()), f64::from(*values.iter().max().unwrap()));
        let bucket = if width_min == 1 { "1m" } else { "1h" };
        let item = json!({"topic": topic, "field": field, "bucket": bucket, "time_us": us, "count": values.len(),
            "min": min, "max": max, "mean": sum / values.len() as f64, "sum": sum});
        // Read back as an answer is: serde_json's reading of a fraction may be off by a bit.
        serde_json::from_str(&item.to_string()).unwrap()
    };
    found.into_iter().map(item).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_are_what_is_computed_by_hand(
        numbers in prop::collection::vec((0..4_usize, 0..300_u64, 0..3_usize, -1_000..1_000_i32), 1..200),
        cuts in prop::collection::vec(1..80_usize, 1..20),
        restarts in prop::collection::vec(any::<bool>(), 20),
        limit in 1..40_usize,
    ) {
        let config = json!({"time": "/at", "buckets": ["1m", "1h"]});
        let mut host = host(config);
        let message = |(topic, minutes, field, value): &Number| {
            let us = EIGHT + minutes * 60 * SECOND + 1;
            at(TOPICS[*topic], EIGHT + 7 * 3_600 * SECOND, &json!({FIELDS[*field]: value, "at": us}))
        };
        let messages: Vec<Message> = numbers.iter().map(message).collect();
        let mut left = messages.as_slice();
        for (cut, restart) in cuts.iter().cycle().zip(restarts.iter().cycle()) {
            let (batch, rest) = left.split_at((*cut).min(left.len()));
            host.store(batch).unwrap();
            if *restart {
                host.restart();
            }
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        for (bucket, width) in [("1m", 1), ("1h", 60)] {
            let params = json!({"bucket": bucket});
            prop_assert_eq!(pages(&mut host, "#", &params, limit), naive(&numbers, width, |_| true));
            let below = |topic: &str| topic.starts_with("a/") || topic == "a";
            prop_assert_eq!(pages(&mut host, "a/#", &params, limit), naive(&numbers, width, below));
            if numbers.iter().any(|number| number.0 == 1) {
                let params = json!({"bucket": bucket, "field": "/z~1~0"});
                let only: Vec<_> = numbers.iter().filter(|number| number.2 == 2).copied().collect();
                prop_assert_eq!(pages(&mut host, "a/b", &params, limit), naive(&only, width, |topic| topic == "a/b"));
            }
        }
        let raw = pages(&mut host, "#", &json!({"bucket": "raw"}), limit);
        prop_assert_eq!(raw.len(), numbers.len());
    }
}

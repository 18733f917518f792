//! Pages in both directions, against a list that is sorted anew each time.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_plugin::serde_json::{self, Value, json};
use weir_plugin::testing::{self, Host};
use weir_plugin_tenta::Tenta;

/// Everything that a naive server would keep: times in milliseconds and revisions, and the values that came last.
type Model = BTreeMap<(i64, Option<u32>), BTreeMap<String, i32>>;

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

fn item((ms, revision): &(i64, Option<u32>), value: &BTreeMap<String, i32>) -> Value {
    json!({"value": value, "revision": revision, "creation_timestamp": seconds(*ms)})
}

/// All pages, as the dashboard of tenta asks: always by the time at the edge of the page before.
fn by_time(host: &mut Host<Tenta>, direction: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut params) = (Vec::new(), json!({"direction": direction}));
    loop {
        let page = host.query_page("measurements/s1", params.clone(), None, limit).unwrap();
        let items: Vec<Value> = page.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
        let edge = if direction == "next" { items.last() } else { items.first() };
        let Some(edge) = edge else { return all };
        params["creation_timestamp"] = edge["creation_timestamp"].clone();
        all = if direction == "next" { [all, items].concat() } else { [items, all].concat() };
    }
}

/// All pages by cursors.
fn by_cursor(host: &mut Host<Tenta>, direction: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let params = json!({"direction": direction});
        let page = host.query_page("measurements/s1", params, cursor.as_deref(), limit).unwrap();
        let items: Vec<Value> = page.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
        all = if direction == "next" { [all, items].concat() } else { [items, all].concat() };
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

type Element = (i64, Option<u32>, String, i32);

fn elements() -> impl Strategy<Value = Vec<Vec<Vec<Element>>>> {
    // Few different times, so that rows are merged; far apart, so that leaves are cut everywhere.
    let time = prop_oneof![-3_i64..3, (-200_i64..200).prop_map(|n| n * 1_800_000), Just(1_795_248_000_123)];
    let revision = prop_oneof![Just(None), (0_u32..2).prop_map(Some), Just(Some(2_147_483_647))];
    let element = (time, revision, "[ab]", any::<i32>());
    let message = prop::collection::vec(element, 1..40);
    prop::collection::vec(prop::collection::vec(message, 1..6), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_are_those_of_a_sorted_list(batches in elements(), limit in 1_usize..20) {
        let mut host = Host::<Tenta>::new(json!({"sensors": "any"})).unwrap();
        let mut model = Model::new();
        for batch in batches {
            let mut messages = Vec::new();
            for message in batch {
                let body: Vec<_> = message.iter().map(|(ms, revision, name, value)| json!({"value": {name: value}, "timestamp": seconds(*ms), "revision": revision})).collect();
                messages.push(testing::message_json("measurements/s1", &body).build());
                for (ms, revision, name, value) in message {
                    model.entry((ms, revision)).or_default().insert(name, value);
                }
            }
            host.store(&messages).unwrap();
            host.restart();
        }
        let sorted: Vec<Value> = model.iter().map(|(key, value)| item(key, value)).collect();
        for direction in ["next", "previous"] {
            prop_assert_eq!(&by_cursor(&mut host, direction, limit), &sorted, "{}", direction);
            // A page may end between two revisions of one time: the second one is passed over, as by the original.
            let wide = by_time(&mut host, direction, 1_000);
            prop_assert_eq!(&wide, &sorted, "{}", direction);
            let narrow = by_time(&mut host, direction, limit);
            let mut rest = sorted.iter();
            prop_assert!(narrow.iter().all(|item| rest.any(|other| other == item)), "in order, and none twice");
        }
        for edge in model.keys().map(|(ms, _)| *ms).chain([-4, 4]) {
            let ask = |host: &mut Host<Tenta>, direction| {
                let params = json!({"direction": direction, "creation_timestamp": seconds(edge)});
                let page = host.query_page("measurements/s1", params, None, 1_000).unwrap();
                page.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect::<Vec<Value>>()
            };
            let split = |keep: fn(i64, i64) -> bool| model.iter().filter(|((ms, _), _)| keep(*ms, edge)).map(|(key, value)| item(key, value)).collect::<Vec<_>>();
            prop_assert_eq!(ask(&mut host, "next"), split(|ms, edge| ms > edge));
            prop_assert_eq!(ask(&mut host, "previous"), split(|ms, edge| ms < edge));
        }
    }

    #[test]
    fn means_are_those_of_all_numbers(batches in prop::collection::vec(prop::collection::vec((0_u32..50_000, "[ab]", -1_000_i32..1_000), 1..50), 1..6)) {
        let eight = 1_795_248_000_u32;
        let mut host = Host::<Tenta>::new(json!({"sensors": "any"})).unwrap();
        let mut model: BTreeMap<String, BTreeMap<u32, Vec<i32>>> = BTreeMap::new();
        for batch in batches {
            let body: Vec<_> = batch.iter().map(|(ago, name, value)| json!({"value": {name: value}, "timestamp": eight - ago})).collect();
            host.store(&[testing::message_json("measurements/s1", &body).build()]).unwrap();
            for (ago, name, value) in batch {
                let hour = (eight - ago) / 3_600 * 3_600;
                model.entry(name).or_default().entry(hour).or_default().push(value);
            }
        }
        let answer = host.query("measurements/s1", json!({"aggregate": true, "now": eight})).unwrap();
        let found: Vec<Value> = answer.items.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
        prop_assert_eq!(found.len(), model.len());
        for (item, (name, hours)) in found.iter().zip(&model) {
            prop_assert_eq!(&item["attribute"], name);
            let buckets = item["buckets"].as_array().unwrap();
            prop_assert_eq!(buckets.len(), hours.len());
            for (bucket, (hour, values)) in buckets.iter().zip(hours) {
                prop_assert_eq!(bucket["bucket_timestamp"].as_f64(), Some(f64::from(*hour)));
                let mean = f64::from(values.iter().sum::<i32>()) / values.len() as f64;
                prop_assert!((bucket["average"].as_f64().unwrap() - mean).abs() < 1e-9);
            }
        }
    }
}

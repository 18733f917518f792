//! Measurements and logs, as the storage plugin keeps them.

use weir::message::now_us;

use super::*;

/// A user, and the path of a sensor of theirs.
async fn sensor<'a>(router: &'a Reach) -> (Asker<'a>, String, String) {
    let ada = Asker::new(router, "ada").await;
    let network = ada.network("north").await;
    let sensor = ada.sensor(&network, "s1").await;
    let path = format!("/networks/{network}/sensors/{sensor}");
    (ada, sensor, path)
}

fn measured(value: Value, at: f64, revision: Value) -> Value {
    json!({"value": value, "timestamp": at, "revision": revision})
}

fn logged(message: &str, severity: &str, at: f64, revision: Value) -> Value {
    json!({"message": message, "severity": severity, "timestamp": at, "revision": revision})
}

async fn times(asker: &Asker<'_>, path: &str) -> Vec<f64> {
    let answer = asker.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let all = answer.json.as_array().unwrap();
    all.iter().map(|one| one["creation_timestamp"].as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_and_thirty_measurements_come_in_pages_of_64_64_and_2() {
    let router = router().await;
    let (ada, sensor, path) = sensor(&router).await;
    let all: Vec<_> = (0..130).map(|n| measured(json!({"n": n}), f64::from(n) + 0.25, Value::Null)).collect();
    publish(&router, &format!("measurements/{sensor}"), json!(all)).await;
    let path = format!("{path}/measurements");
    let range = |from: u32, to: u32| (from..to).map(|n| f64::from(n) + 0.25).collect::<Vec<_>>();
    for (query, wanted) in [
        ("", range(0, 64)),
        ("?creation_timestamp=63.25", range(64, 128)),
        ("?direction=next&creation_timestamp=127.25", range(128, 130)),
        ("?creation_timestamp=129.25", range(0, 0)),
        ("?creation_timestamp=-5", range(0, 64)),
        ("?direction=previous", range(66, 130)),
        ("?direction=previous&creation_timestamp=66.25", range(2, 66)),
        ("?direction=previous&creation_timestamp=2.25", range(0, 2)),
        ("?direction=previous&creation_timestamp=0.25", range(0, 0)),
        ("?direction=previous&creation_timestamp=1e9", range(66, 130)),
    ] {
        assert_eq!(times(&ada, &format!("{path}{query}")).await, wanted, "{query}");
    }
    for bad in [
        "creation_timestamp=",
        "creation_timestamp=x",
        "creation_timestamp=nan",
        "direction=",
        "direction=back",
        "aggregate=",
        "aggregate=maybe",
        "revision=1",
    ] {
        ada.refused(400, "Bad Request", &[("GET", &format!("{path}?{bad}"), "")]).await;
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_points_of_one_time_and_revision_are_one_measurement() {
    let router = router().await;
    let (ada, sensor, path) = sensor(&router).await;
    let topic = format!("measurements/{sensor}");
    publish(&router, &topic, json!([measured(json!({"a": 1, "b": 2.5}), 10.0, json!(0))])).await;
    publish(&router, &topic, json!([measured(json!({"c": -3}), 10.0, json!(0))])).await;
    publish(&router, &topic, json!([{"value": {"a": 4}, "timestamp": 10.0}])).await;
    let answer = ada.get(&format!("{path}/measurements")).await;
    let mut all = answer.json.as_array().unwrap().clone();
    all.sort_by_key(|one| one["revision"].is_null());
    assert_eq!(
        all,
        [
            json!({"value": {"a": 1, "b": 2.5, "c": -3}, "revision": 0, "creation_timestamp": 10.0}),
            json!({"value": {"a": 4}, "revision": null, "creation_timestamp": 10.0})
        ]
    );
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_are_hourly_means_of_the_last_four_weeks() {
    let hour = (now_us() / 3_600_000_000 * 3_600) as f64;
    for flavour in [TentaFlavour::Tenta, TentaFlavour::Hermes] {
        let router = setup(Tenta { flavour, ..Tenta::default() }).start().await;
        let (ada, sensor, path) = sensor(&router).await;
        let (first, second, old) = (hour - 7_200.0, hour - 3_600.0, hour - 40.0 * 86_400.0);
        let all = json!([
            measured(json!({"t": 1}), first + 1.0, Value::Null),
            measured(json!({"t": 2, "h": 7}), first + 3_599.0, json!(1)),
            measured(json!({"t": 5}), second, Value::Null),
            measured(json!({"t": 9}), old, Value::Null),
            measured(json!({"u": 1e308}), second, Value::Null),
            measured(json!({"u": 1.1e308}), second + 1.0, Value::Null),
        ]);
        publish(&router, &format!("measurements/{sensor}"), all).await;
        let bucket = |at: f64, average: Value| match flavour {
            TentaFlavour::Tenta => json!({"bucket_timestamp": at, "average": average}),
            TentaFlavour::Hermes => {
                let text = weir_contract::time::rfc3339(at as u64 * 1_000_000);
                json!({"bucket_timestamp": format!("{}+00:00", &text[..19]), "average": average})
            }
        };
        for query in
            ["?aggregate=true", "?aggregate=1", "?aggregate=yes&direction=previous&creation_timestamp=0"]
        {
            let answer = ada.get(&format!("{path}/measurements{query}")).await;
            assert_eq!(
                answer.json,
                json!({
                    "h": [bucket(first, json!(7.0))],
                    "t": [bucket(first, json!(1.5)), bucket(second, json!(5.0))],
                    "u": [bucket(second, json!("Infinity"))],
                }),
                "{query}"
            );
        }
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_have_a_message_and_come_in_pages() {
    let router = router().await;
    let (ada, sensor, path) = sensor(&router).await;
    let all: Vec<_> = (0..70).map(|n| logged("a \"line\"", "info", f64::from(n), json!(0))).collect();
    publish(&router, &format!("logs/{sensor}"), json!(all)).await;
    let path = format!("{path}/logs");
    let first = ada.get(&path).await.json;
    assert_eq!(
        first[0],
        json!({"severity": "info", "message": "a \"line\"", "revision": 0, "creation_timestamp": 0.0})
    );
    assert_eq!(first.as_array().unwrap().len(), 64);
    assert_eq!(times(&ada, &format!("{path}?creation_timestamp=63")).await.len(), 6);
    assert_eq!(times(&ada, &format!("{path}?direction=previous")).await[0], 6.0);
    assert_eq!(times(&ada, &format!("{path}?direction=previous&creation_timestamp=6")).await.len(), 6);
    ada.refused(400, "Bad Request", &[("GET", &format!("{path}?aggregate=true"), "")]).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lines_fill_a_page_all_the_same() {
    let router = router().await;
    let (ada, sensor, path) = sensor(&router).await;
    let long = "ä".repeat(16_384);
    for n in 0..7 {
        let some: Vec<_> =
            (0..10).map(|m| logged(&long, "error", f64::from(10 * n + m), Value::Null)).collect();
        publish(&router, &format!("logs/{sensor}"), json!(some)).await;
    }
    let range = |from: u32, to: u32| (from..to).map(f64::from).collect::<Vec<_>>();
    assert_eq!(times(&ada, &format!("{path}/logs")).await, range(0, 64));
    assert_eq!(times(&ada, &format!("{path}/logs?direction=previous")).await, range(6, 70));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hermes_reads_without_authorization_and_splits_messages() {
    let router = setup(hermes()).start().await;
    let (ada, sensor, path) = sensor(&router).await;
    let nobody = Asker::nobody(&router);
    let all = json!([
        logged("hot", "warning", 10.0, json!(1)),
        logged("hot", "warning", 20.0, json!(2)),
        logged("fine", "info", 15.0, Value::Null),
        logged("fire", "error", 30.0, json!(2)),
    ]);
    publish(&router, &format!("logs/{sensor}"), all).await;
    publish(&router, &format!("measurements/{sensor}"), json!([measured(json!({"t": 1}), 1.0, Value::Null)]))
        .await;
    let logs = nobody.get(&format!("{path}/logs")).await;
    assert_eq!(
        (logs.status, &logs.json[0]),
        (
            200,
            &json!({"severity": "warning", "subject": "hot", "details": "", "revision": 1, "creation_timestamp": 10.0})
        )
    );
    let aggregates = nobody.get(&format!("{path}/logs/aggregates")).await;
    assert_eq!(
        (aggregates.status, aggregates.json),
        (
            200,
            json!([
                {"severity": "warning", "min_revision": 1, "max_revision": 2, "min_creation_timestamp": 10.0,
                    "max_creation_timestamp": 20.0, "subject": "hot", "count": 2},
                {"severity": "error", "min_revision": 2, "max_revision": 2, "min_creation_timestamp": 30.0,
                    "max_creation_timestamp": 30.0, "subject": "fire", "count": 1}
            ])
        )
    );
    assert_eq!(times(&nobody, &format!("{path}/measurements")).await, [1.0]);
    // Of a sensor that there is not there is nothing, and nobody says so.
    let unknown = format!("/networks/{NOBODY}/sensors/{NOBODY}");
    for rest in ["/logs", "/logs/aggregates", "/measurements"] {
        assert_eq!(nobody.get(&format!("{unknown}{rest}")).await.json, json!([]), "{rest}");
    }
    assert_eq!(nobody.get(&format!("{unknown}/measurements?aggregate=true")).await.json, json!({}));
    let configurations = format!("{path}/configurations");
    nobody
        .refused(401, "Unauthorized", &[("GET", &configurations, ""), ("POST", &configurations, "{}")])
        .await;
    nobody.refused(400, "Bad Request", &[("GET", &format!("{path}/logs?creation_timestamp=-1"), "")]).await;
    assert_eq!(ada.get(&configurations).await.json, json!([]));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_storage_plugin_data_are_not_to_be_had_and_the_rest_works() {
    let router = setup(Tenta { storage: "another".into(), ..Tenta::default() }).start().await;
    let (ada, _, path) = sensor(&router).await;
    let (configurations, measurements, logs) =
        (format!("{path}/configurations"), format!("{path}/measurements"), format!("{path}/logs"));
    assert_eq!(ada.get(&configurations).await.json, json!([]), "nothing is there to be acknowledged");
    assert_eq!(ada.post(&configurations, json!({})).await.json["revision"], 0);
    let all = [("GET", configurations.as_str(), ""), ("GET", &measurements, ""), ("GET", &logs, "")];
    ada.refused(500, "Internal Server Error", &all).await;
    router.stop().await;
}

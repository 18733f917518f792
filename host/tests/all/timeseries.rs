//! Numbers over time, as who asks gets them from a router: at once, page by page, and after a restart.

use serde_json::{Value, json};

use crate::harness::{Client, Reach, Setup};

/// 2025-11-21T08:00:00Z.
const EIGHT: u64 = 1_763_712_000;

/// For ever, so that the test may lie in any year.
const BINDING: &str = r#"
plugin = "stock:timeseries"
topics = ["room/#"]
[config]
time = "/at"
time_unit = "s"
raw_age_s = 3000000000
buckets = [{ every = "1m", age_s = 0 }, { every = "1h", age_s = 0 }]
"#;

async fn publish(client: &mut Client, room: u64, minute: u64, celsius: f64) {
    let data = json!({"celsius": celsius, "unit": "C", "at": EIGHT + 60 * minute + 1});
    let answer = client.publish_at("stored", &format!("room/{room}"), data).await;
    assert_eq!(answer["level"], "stored", "{answer}");
}

/// All pages of a question over WebSocket.
async fn pages(client: &mut Client, topic: &str, params: &Value, limit: u64) -> Vec<Value> {
    let mut all = Vec::new();
    let mut frame = json!({"action": "query", "plugin": "timeseries", "topic": topic, "params": params,
        "limit": limit});
    loop {
        let page = client.ask(frame.clone()).await;
        assert_eq!(page["ok"], true, "{page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() as u64 <= limit);
        all.extend(items.iter().cloned());
        if page["next"].is_null() {
            return all;
        }
        frame["cursor"] = page["next"].clone();
    }
}

/// The same over HTTP, where all parameters are texts.
async fn http_pages(reach: &Reach, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = reach.http("GET", &format!("/v1/query/timeseries?{query}{cursor}"), &[], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        all.extend(answer.json["items"].as_array().unwrap().iter().cloned());
        let Some(next) = answer.json["next"].as_str() else { return all };
        cursor = format!("&cursor={}", next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_kept_over_time_and_asked_for_in_pages() {
    let setup = Setup::open().binding("timeseries", BINDING);
    let router = setup.start().await;
    let mut client = router.client("sensor").await;
    for room in 0..3 {
        for minute in 0..90 {
            publish(&mut client, room, minute, 20.0 + (minute % 4) as f64).await;
        }
    }
    // A late one, and what is no number.
    publish(&mut client, 1, 0, 60.0).await;
    client.publish_at("stored", "room/1", json!("on")).await;
    let hours = json!({"bucket": "1h"});
    let bucket = |room: u64, hour: u64, count: u64, max: f64, sum: f64| {
        let item = json!({"topic": format!("room/{room}"), "field": "/celsius", "bucket": "1h",
            "time_us": (EIGHT + hour * 3_600) * 1_000_000, "count": count, "min": 20.0, "max": max,
            "mean": sum / count as f64, "sum": sum});
        // Read back as an answer is: serde_json's reading of a fraction may be off by a bit.
        serde_json::from_str::<Value>(&item.to_string()).unwrap()
    };
    let wanted = [
        bucket(1, 0, 61, 60.0, 60.0 * 21.5 + 60.0),
        bucket(1, 1, 30, 23.0, 30.0 * 21.5 - 2.0),
        bucket(2, 0, 60, 23.0, 60.0 * 21.5),
    ];
    let found = pages(&mut client, "room/+", &hours, 1).await;
    assert_eq!((found.len(), &found[2..5]), (6, &wanted[..]));
    let folders = router.stop().await;

    let router = Setup::over(&folders).start().await;
    let mut client = router.client("page").await;
    assert_eq!(pages(&mut client, "room/+", &hours, 4).await, found);
    assert_eq!(pages(&mut client, "room/#", &json!({}), 100).await.len(), 3 * 90);
    let range = "bucket=raw&from=2025-11-21T08:10:00Z&to=2025-11-21T08:15:00%2B00:00&field=%2Fcelsius";
    let raw = http_pages(&router, &format!("topic=room/0&limit=2&{range}")).await;
    let times: Vec<u64> =
        raw.iter().map(|item| item["time_us"].as_u64().unwrap() / 1_000_000 - EIGHT).collect();
    assert_eq!(times, [601, 661, 721, 781, 841]);
    assert_eq!(
        raw[0],
        json!({"topic": "room/0", "field": "/celsius", "time_us": (EIGHT + 601) * 1_000_000, "value": 22.0})
    );
    let last = http_pages(&router, &format!("topic=room/%23&from={}000000", EIGHT + 89 * 60)).await;
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(http_pages(&router, "topic=room/0&from=-1h").await.is_empty(), "nothing is so new");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_answered_with_what_is_accepted() {
    let router = Setup::open().binding("timeseries", BINDING).start().await;
    let mut client = router.client("sensor").await;
    publish(&mut client, 1, 0, 20.0).await;
    for (query, status, said) in [
        ("topic=room/1&bucket=5m", 400, "accepted are raw, 1m, 1h"),
        ("topic=room/1&from=yesterday", 400, "/from"),
        ("topic=room/1&to=1763712000", 400, "too small to be Unix microseconds"),
        ("topic=room/1&field=celsius", 400, "JSON Pointer"),
        ("topic=room/1&buckets=1m", 400, "unknown field `buckets`"),
        ("topic=room/1&limit=0", 400, "limit"),
        ("topic=room/1&cursor=AAAA", 400, "cursor"),
        ("topic=room/9", 404, "not-found"),
    ] {
        let answer = router.http("GET", &format!("/v1/query/timeseries?{query}"), &[], "").await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
        assert!(answer.text.contains(said), "{query}: {}", answer.text);
    }
    router.stop().await;
}

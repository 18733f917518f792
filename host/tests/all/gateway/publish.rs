//! `POST /v1/publish`: one message, several, a raw payload.

use serde_json::json;

use super::wire::call;
use super::{OUTCOMES, with_outcomes};
use crate::harness::{Answer, Reach, Setup};

async fn post(router: &Reach, headers: &[(&str, &str)], body: &str) -> Answer {
    router.http("POST", "/v1/publish", headers, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_has_its_status() {
    let router = with_outcomes().start().await;
    for (topic, data, outcome, status) in OUTCOMES {
        let body = format!(r#"{{"topic":"{topic}","data":{data}}}"#);
        let answer = call(router.http, "POST", "/v1/publish", &[], body.as_bytes()).await;
        assert_eq!(answer.outcome(), (status, outcome.to_owned()), "{topic}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{topic}");
        assert_eq!(answer.json()["ok"], status < 300);
        assert_eq!(answer.json().get("id"), None);
    }
    let large = json!({"topic": "a", "text": "x".repeat(1_001)}).to_string();
    let large = post(&router, &[], &large).await;
    assert_eq!((large.status, &large.json["outcome"]), (413, &json!("too-large")));
    // Of several messages, the highest status counts.
    let several = r#" [{"topic":"twice","data":1},{"topic":"$x","data":1},
        {"topic":"checked","data":{"n":"x"}},{"topic":"c","text":"x","level":"logged"}]"#;
    let answer = post(&router, &[], several).await;
    assert_eq!((answer.status, &answer.json["ok"]), (422, &json!(false)), "{answer:?}");
    let results = answer.json["results"].as_array().unwrap();
    let outcomes: Vec<_> = results.iter().map(|result| result["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["filtered", "denied", "invalid", "accepted"]);
    assert_eq!((&results[2]["path"], &results[3]["level"]), (&json!("/n"), &json!("logged")));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_fast_is_429_and_says_when() {
    let router = Setup::open().config(|config| config.limits.publishes_per_s = 1).start().await;
    let messages: Vec<_> = (0..20).map(|n| json!({"topic": "a", "data": n})).collect();
    let body = json!(messages).to_string();
    let answer = call(router.http, "POST", "/v1/publish", &[], body.as_bytes()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{answer:?}");
    let body = answer.json();
    let results = body["results"].as_array().unwrap();
    assert_eq!((results.len(), &results[0]["outcome"]), (20, &json!("accepted")));
    assert!(results.iter().any(|result| result["retry_after_ms"].is_u64()), "{body}");
    // A new request is the same publisher; sixty of them do not fit into a burst of one and the time they take.
    let one = br#"{"topic":"a","data":1}"#;
    let mut refused = 0;
    for _ in 0..60 {
        refused += usize::from(call(router.http, "POST", "/v1/publish", &[], one).await.status == 429);
    }
    assert!(refused > 0, "requests have one rate together");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_nothing_is_published() {
    let router = Setup::open().config(|config| config.limits.requests_messages = 3).start().await;
    for (body, status, part) in [
        ("", 400, "one JSON object"),
        ("nonsense", 400, "one JSON object"),
        ("{}", 400, "`topic` is missing"),
        (r#"{"topic":"a"}"#, 400, "exactly one of data, text, base64"),
        (r#"{"topic":"a","base64":"?"}"#, 400, "must be base64"),
        (r#"{"topic":"a","data":1,"level":"soon"}"#, 400, "routed, logged or stored"),
        (r#"{"topic":"a","data":1,"id":1}"#, 400, "unknown key `id`"),
        (r#"{"topic":"a","tpic":"a","data":1}"#, 400, "unknown key `tpic`: accepted are topic, data"),
        ("[]", 400, "empty"),
        ("[1]", 400, "one JSON object"),
        (r#"[{"topic":"a","data":1},{"data":1}]"#, 400, "`topic` is missing"),
        ("[{},{},{},{}]", 413, "3 are accepted"),
    ] {
        let answer = post(&router, &[], body).await;
        assert_eq!(answer.status, status, "{body}");
        let reason = answer.json["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{body}: {reason}");
    }
    let indexed = post(&router, &[], r#"[{"topic":"a","data":1},{"data":1}]"#).await;
    assert_eq!(indexed.json["index"], 1);
    // Whatever had been published before this one would stand before it.
    post(&router, &[], r#"{"topic":"a","data":"first","level":"logged"}"#).await;
    let page = router.http("GET", "/v1/history?topic=%23", &[], "").await;
    let data: Vec<_> = page.json["messages"].as_array().unwrap().iter().map(|m| m["data"].clone()).collect();
    assert_eq!(data, ["first"]);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_itself_is_a_payload_where_the_address_has_the_topic() {
    let router = Setup::open().start().await;
    let headers = [("content-type", "image/png"), ("idempotency-key", "k-1")];
    let path = "/v1/publish?topic=a%2Fb&level=logged";
    let answer = call(router.http, "POST", path, &headers, b"\x89PNG\xff").await;
    assert_eq!((answer.status, &answer.json()["level"]), (201, &json!("logged")));
    let page = router.http("GET", "/v1/history?topic=a/b", &[], "").await.json;
    let message = &page["messages"][0];
    assert_eq!((&message["content_type"], &message["message_id"]), (&json!("image/png"), &json!("k-1")));
    assert_eq!(message["base64"], "iVBOR/8=");
    for (query, status) in [
        ("topic=a", 201),
        ("topic=a&message_id=m-1", 201),
        ("topic=a&level=soon", 400),
        ("topic=a%00", 400),
        ("topic=%FF", 400),
    ] {
        let answer = router.http("POST", &format!("/v1/publish?{query}"), &[], "x").await;
        assert_eq!(answer.status, status, "{query}: {answer:?}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_is_the_message_id() {
    let router = Setup::open().binding("dedupe", "plugin = \"stock:dedupe\"\n").start().await;
    let key = [("idempotency-key", "k-2")];
    for (body, status) in [
        (r#"{"topic":"a","data":1}"#, 201),
        // Again, over HTTP's word and the protocol's own: it is there already.
        (r#"{"topic":"a","data":1}"#, 200),
        (r#"{"topic":"a","data":1,"message_id":"k-2"}"#, 200),
        (r#"{"topic":"a","data":1,"message_id":"k-3"}"#, 400),
        (r#"[{"topic":"a","data":1}]"#, 400),
    ] {
        assert_eq!(post(&router, &key, body).await.status, status, "{body}");
    }
    let long = "k".repeat(65);
    assert_eq!(post(&router, &[("idempotency-key", &long)], r#"{"topic":"a","data":1}"#).await.status, 400);
    router.stop().await;
}

//! History and queries over HTTP, and addresses that are none.

use serde_json::{Value, json};

use super::data;
use super::wire::call;
use crate::harness::{Answer, Client, Events, Reach, Setup};

async fn get(router: &Reach, path: &str) -> Answer {
    router.http("GET", path, &[], "").await
}

fn all_data(page: &Value) -> Vec<Value> {
    page["messages"].as_array().unwrap().iter().map(data).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_in_pages() {
    let router = Setup::open().start().await;
    let mut writer = router.client("writer").await;
    for n in 0..5 {
        assert_eq!(writer.publish_at("logged", "a", json!(n)).await["level"], "logged");
    }
    let first = get(&router, "/v1/history?topic=a&limit=2").await;
    assert_eq!(
        (first.status, &first.json["more"], all_data(&first.json)),
        (200, &json!(true), vec![json!(0), json!(1)])
    );
    assert_eq!(first.json["messages"][0].get("event"), None);
    let next = &first.json["next"]["default"];
    let next = format!("/v1/history?topic=a&since=default:{}:{}", next["epoch"], next["offset"]);
    assert_eq!(all_data(&get(&router, &next).await.json), [json!(2), json!(3), json!(4)]);
    let newest = get(&router, "/v1/history?topic=%2B&limit=1&reverse=true&log=default").await;
    assert_eq!(all_data(&newest.json), [json!(4)]);
    for bad in [
        "",
        "?topic=",
        "?topic=%23/a",
        "?topic=a&limit=0",
        "?topic=a&limit=1001",
        "?topic=a&limit=x",
        "?topic=a&since=7",
        "?topic=a&reverse=maybe",
        "?topic=a&log=nowhere",
    ] {
        let answer = get(&router, &format!("/v1/history{bad}")).await;
        assert_eq!((answer.status, &answer.json["outcome"]), (400, &json!("invalid")), "{bad}: {answer:?}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_hand_their_parameters_on() {
    let router = Setup::open().guest("oracle").start().await;
    let ours = "api_key=k&client_id=c&origin=page&limit=3&cursor=AQL_";
    let answer = get(&router, &format!("/v1/query/oracle?topic=a/b&since=1h&x=%22&{ours}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let item = json!({"topic": "a/b", "params": {"since": "1h", "x": "\""}, "limit": 3});
    assert_eq!(answer.json, json!({"ok": true, "items": [item], "next": "AQL_"}));
    for (path, status, outcome) in [
        ("oracle?topic=invalid", 400, "invalid"),
        ("oracle?topic=unknown", 404, "not-found"),
        ("oracle?topic=broken", 500, "plugin-failed"),
        ("oracle?topic=busy", 503, "unavailable"),
        ("nobody?topic=a", 404, "not-found"),
        ("oracle", 400, "invalid"),
        ("oracle?topic=a&x=1&x=2", 400, "invalid"),
        ("oracle?topic=a&cursor=*", 400, "invalid"),
        ("oracle?topic=a&limit=0", 400, "invalid"),
        ("oracle?topic=%23/a", 400, "invalid"),
        ("oracle?topic=a&x=%FF", 400, "invalid"),
        ("%FF?topic=a", 400, "invalid"),
    ] {
        let answer = get(&router, &format!("/v1/query/{path}")).await;
        assert_eq!((answer.status, &answer.json["outcome"]), (status, &json!(outcome)), "{path}");
        assert_eq!(answer.json["ok"], false);
    }
    assert_eq!(get(&router, "/v1/query/oracle?topic=invalid").await.json["path"], "/since");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_messages_in_pages() {
    let router = Setup::open().binding("last-value", "plugin = \"stock:latest\"\n").start().await;
    let mut writer = router.client("writer").await;
    for (room, n) in [("b", 1), ("a", 2), ("c", 3), ("a", 4)] {
        let answer = writer.publish_at("stored", &format!("room/{room}"), json!(n)).await;
        assert_eq!(answer["level"], "stored", "{answer}");
    }
    let first = get(&router, "/v1/query/last-value?topic=room/%2B&limit=2").await;
    let values = |answer: &Answer| {
        let items = answer.json["items"].as_array().unwrap();
        items.iter().map(|item| (item["topic"].clone(), data(item))).collect::<Vec<_>>()
    };
    assert_eq!(values(&first), [(json!("room/a"), json!(4)), (json!("room/b"), json!(1))], "{first:?}");
    let next = first.json["next"].as_str().unwrap();
    let second = get(&router, &format!("/v1/query/last-value?topic=room/%2B&limit=2&cursor={next}")).await;
    assert_eq!((values(&second), &second.json["next"]), (vec![(json!("room/c"), json!(3))], &Value::Null));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_paths_and_methods() {
    let router = Setup::open().start().await;
    for path in ["/", "/v1", "/v1/query", "/v1/publish/x", "/metrics", "/v1/keys"] {
        let answer = call(router.http, "GET", path, &[], b"").await;
        assert_eq!(answer.outcome(), (404, "not-found".to_owned()), "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/v1/publish", "POST"),
        ("POST", "/v1/history?topic=a", "GET,HEAD"),
        ("DELETE", "/v1/query/x?topic=a", "GET,HEAD"),
    ] {
        let answer = call(router.http, method, path, &[], b"").await;
        assert_eq!(answer.outcome(), (405, "invalid".to_owned()), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_count_once_or_are_refused() {
    let router = Setup::open().start().await;
    for (method, path, reason) in [
        ("POST", "/v1/publish?topic=a&topic=b", "\"topic\" is given twice"),
        ("POST", "/v1/publish?topic=a&level=logged&level=routed", "\"level\" is given twice"),
        ("POST", "/v1/publish?topic=a&retain", "`retain` is \"\": accepted are true, false"),
        ("POST", "/v1/publish?topic=a&retain=1", "`retain` is \"1\": accepted are true, false"),
        ("POST", "/v1/publish?topic=a&message_id=", "`message_id` must be 1 to 64 bytes"),
        ("GET", "/v1/history?topic=a&topic=b", "\"topic\" is given twice"),
        ("GET", "/v1/history?topic=a&reverse", "`reverse` is \"\": accepted are true, false"),
        ("GET", "/v1/history?topic=a&since=default:1:1,default:1:2", "each log once"),
        ("GET", "/v1/presence?topic=a&topic=b", "\"topic\" is given twice"),
        ("GET", "/v1/presence?topic=a&client_id=a&client_id=b", "\"client_id\" is given twice"),
        ("GET", "/v1/subscribe?topic=a&since=now&since=start", "\"since\" is given twice"),
        ("GET", "/v1/subscribe?topic=a&retained", "`retained` is \"\": accepted are true, false"),
        ("GET", "/v1/query/none?topic=a&topic=b", "\"topic\" is given twice"),
        ("GET", "/v1/query/none?topic=a&own=1&own=2", "\"own\" is given twice"),
    ] {
        let answer = router.http(method, path, &[], if method == "POST" { "1" } else { "" }).await;
        assert_eq!((answer.status, &answer.json["outcome"]), (400, &json!("invalid")), "{path}: {answer:?}");
        let said = answer.json["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{path}: {said}");
    }
    let mut client = router.client("c").await;
    let twice = r#"{"action":"history","id":1,"topic":"a","since":{"default":{"epoch":1,"offset":1},"default":{"epoch":1,"offset":2}}}"#;
    assert!(client.send_text(twice.into()).await);
    let answer = client.next().await;
    assert!(answer["reason"].as_str().unwrap().ends_with("each log once"), "{answer}");
    assert_eq!(client.history("a").await, Vec::<Value>::new(), "nothing was published");
    // An identifier that a browser sends empty is none.
    let mut events = Events::open(router.http, "?topic=a&topic=b", &[("last-event-id", "")]).await;
    assert!(events.event("subscribed").await.data.get("recovered").is_none());
    assert_eq!(router.http("HEAD", "/v1/subscribe?topic=a", &[], "").await.status, 405);
    assert_eq!(Client::try_connect(router.http, "?topic=a", &[]).await.err(), Some(400));
    assert_eq!(Client::try_connect(router.http, "?client_id=a&client_id=b", &[]).await.err(), Some(400));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_type_is_one_line() {
    let router = Setup::open().start().await;
    let mut client = router.client("c").await;
    for bad in ["a/b\r\nX: y", "a/b\n", "a\0", "a\u{7f}", "a\tb", "a\u{85}"] {
        let frame = json!({"action": "publish", "topic": "t", "text": "", "content_type": bad});
        let answer = client.ask(frame).await;
        assert_eq!(answer["outcome"], "invalid", "{bad:?}: {answer}");
        assert!(answer["reason"].as_str().unwrap().contains("without control characters"), "{answer}");
    }
    let frame = json!({"action": "publish", "topic": "t", "text": "", "content_type": "é/x; y=\"z\""});
    assert_eq!(client.ask(frame).await["outcome"], "accepted");
    router.stop().await;
}

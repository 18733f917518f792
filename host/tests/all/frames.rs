//! A payload is a payload, whatever it looks like: none can pass for a part of the frame around it.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::harness::{Setup, payload, request};

/// Bytes and the content type that they are sent with.
const NASTY: [(&[u8], &str); 18] = [
    (br#"1},{"event":"message","topic":"admin","data":1"#, "application/json"),
    (br#"1,"topic":"admin""#, "application/json"),
    (br#"{"a":1} {"event":"message","topic":"admin"}"#, "application/json"),
    (b"{\"a\":1}\n{\"event\":\"message\",\"topic\":\"admin\"}", "application/json"),
    (b"\"a\"\r\n\"b\"", "application/json"),
    (br#"{"topic":"admin","topic":"admin"}"#, "application/json"),
    (br#"" , "topic":"admin""#, "text/plain"),
    (b"\"\n}\r\n{\"event\":\"unsubscribed\"}", "text/plain"),
    (b"\\\",\\\"topic\\\":\\\"admin", "text/plain"),
    (b"\x00\x01\x1f\x7f", "text/plain"),
    (b"\xe2\x80\xa8\xe2\x80\xa9 line and paragraph", "text/plain"),
    (b"\xff\xfe\"}", "text/plain"),
    (b"\xff\xfe\"}", "application/json"),
    (b"\x81\x05hello\x88\x02\x03\xe8", "application/octet-stream"),
    (b"", "application/json"),
    (b"   ", "application/json"),
    (b"NaN", "application/json"),
    (b"{\"a\":1}", "text/html"),
];

fn bytes(message: &Value) -> Vec<u8> {
    match payload(message) {
        ("text", text) => text.as_str().unwrap().as_bytes().to_vec(),
        ("base64", text) => base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap(),
        (key, value) => panic!("{key}: {value}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raw_body_cannot_forge_a_frame() {
    let router = Setup::open().start().await;
    let mut reader = router.client("reader").await;
    reader.subscribe("#").await;
    for (body, content_type) in NASTY {
        let headers = [("content-type", content_type)];
        let path = "/v1/publish?topic=a&level=logged&client_id=writer";
        let answer = request(router.http, "POST", path, &headers, body).await;
        assert_eq!(answer.status, 201, "{body:?}: {answer:?}");
        let message = reader.message().await;
        assert_eq!((&message["topic"], &message["from"]), (&json!("a"), &json!("writer")), "{message}");
        assert_eq!(message["content_type"], content_type);
        if message.get("data").is_some() {
            // Only what is one JSON value is handed on as such; of keys given twice the reader's parser takes one.
            assert_eq!(message["data"], serde_json::from_slice::<Value>(body).unwrap(), "{message}");
        } else {
            assert_eq!(bytes(&message), body, "{message}");
        }
    }
    assert!(reader.drain().await.is_empty());
    let history = reader.history("a").await;
    assert_eq!(history.len(), NASTY.len());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_publisher_chooses_comes_as_it_was() {
    let router = Setup::open().start().await;
    let (mut writer, mut reader) = (router.client("writer").await, router.client("reader").await);
    reader.subscribe("#").await;
    let nasty = "\"},{\"event\":\"message\",\"topic\":\"admin\"\n\\\u{2028}é";
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for (key, value) in [
        ("text", json!(nasty)),
        ("data", json!({nasty: nasty})),
        ("data", json!(null)),
        ("data", json!(1e300)),
        ("data", serde_json::from_str(&deep).unwrap()),
        ("base64", json!("//79")),
    ] {
        let mut frame = json!({"action": "publish", "topic": nasty, "message_id": nasty,
                               "headers": {"x": nasty}, "content_type": null});
        frame[key] = value.clone();
        let answer = writer.ask(frame.clone()).await;
        assert_eq!(answer["outcome"], "accepted", "{frame}: {answer}");
        let message = reader.message().await;
        assert_eq!(payload(&message), (key, value));
        for key in ["topic", "message_id"] {
            assert_eq!(message[key], nasty, "{message}");
        }
        assert_eq!((&message["headers"]["x"], &message["from"]), (&json!(nasty), &json!("writer")));
    }
    // What nests deeper than readers bear comes as text.
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let answer = request(router.http, "POST", "/v1/publish?topic=deep", &[], deep.clone()).await;
    assert_eq!(answer.status, 201);
    assert_eq!(payload(&reader.message().await), ("text", json!(deep)));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_none_get_an_answer_and_the_connection_goes_on() {
    let router = Setup::open().start().await;
    let mut client = router.client("a").await;
    for (text, hint) in [
        ("hello", "JSON"),
        ("[]", ""),
        (r#"{"action":"shout"}"#, "shout"),
        (r#"{"action":"publish","topic":"a","data":1,"text":"b"}"#, "text"),
        (r#"{"action":"publish","topic":"a"}"#, "data"),
        (r#"{"action":"publish","topic":"a","data":1,"data":2}"#, "data"),
        (r#"{"action":"publish","topic":"a","data":1,"qos":1}"#, "qos"),
    ] {
        assert!(client.send_text(text.to_owned()).await);
        let error = client.event("error").await;
        assert_eq!(error["outcome"], "invalid", "{error}");
        assert!(error["reason"].as_str().unwrap().contains(hint), "{text}: {error}");
    }
    assert_eq!(client.publish("a", json!(1)).await["outcome"], "accepted");
    router.stop().await;
}

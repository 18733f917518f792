//! Those who publish, over WebSocket and HTTP, at all levels, until the router is dead.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Load;
use super::kept::Message;
use crate::harness::{Client, Reach, http};

/// Over WebSocket; one more publishes over HTTP.
pub(super) const SOCKETS: u64 = 3;
/// Publishes of a connection that wait for their answer.
const OPEN: usize = 32;

/// Which log a number goes to.
pub(super) fn log_of(number: u64) -> &'static str {
    if number.is_multiple_of(3) { "fast" } else { "default" }
}

fn topic(publisher: u64, number: u64) -> String {
    format!("load/{}/{publisher}", log_of(number))
}

fn level(number: u64) -> &'static str {
    match number % 8 {
        0 | 5 => "routed",
        3 => "stored",
        _ => "logged",
    }
}

fn body(publisher: u64, number: u64) -> Value {
    // Some are so large that they fill packs of the log by themselves.
    let fill = if number.is_multiple_of(32) { "x".repeat(3_000) } else { String::new() };
    let data = json!({"n": number, "fill": fill});
    json!({"topic": topic(publisher, number), "data": data, "level": level(number)})
}

/// The message, if the answer says that it is on the disk.
fn durable(answer: &Value, publisher: u64, number: u64) -> Option<Message> {
    assert_eq!(answer["outcome"], "accepted", "{answer}");
    let (asked, reached) = (level(number), &answer["level"]);
    assert!(*reached == asked || (asked == "stored" && *reached == "logged"), "{asked}: {answer}");
    if *reached == "routed" {
        return None;
    }
    let message = Message::read(&answer["messages"][0], &json!(number));
    assert_eq!(message.topic, topic(publisher, number), "{answer}");
    Some(message)
}

/// Returns what was answered as durable.
pub(super) async fn by_socket(mut client: Client, publisher: u64, load: Arc<Load>) -> Vec<Message> {
    let mut all = Vec::new();
    let mut open = BTreeMap::new();
    loop {
        while open.len() < OPEN {
            let number = load.number();
            let mut frame = body(publisher, number);
            frame["action"] = json!("publish");
            frame["id"] = json!(number);
            open.insert(number, ());
            if !client.send(&frame).await {
                break;
            }
        }
        let Some(answer) = client.try_next().await else {
            load.must_be_dead();
            return all;
        };
        let number = answer["id"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        open.remove(&number).unwrap_or_else(|| panic!("nothing waits for {answer}"));
        all.extend(durable(&answer, publisher, number));
        load.heard();
    }
}

/// One after the other. Returns what was answered as durable.
pub(super) async fn by_http(reach: Reach, publisher: u64, load: Arc<Load>) -> Vec<Message> {
    let mut all = Vec::new();
    let path = format!("/v1/publish?client_id=publisher-{publisher}");
    loop {
        let number = load.number();
        let body = body(publisher, number).to_string();
        let Ok(answer) = http::try_request(reach.http, "POST", &path, &[], body).await else {
            load.must_be_dead();
            return all;
        };
        assert_eq!(answer.status, 201, "{answer:?}");
        all.extend(durable(&answer.json, publisher, number));
        load.heard();
    }
}

//! What differs between two results, in words: JSON by its pointers, anything else by size and a short text.

use serde_json::Value;

use super::side::{Became, Ended, SideResult};
use crate::message::Message;
use crate::pipeline::{compare, explain};

/// Differences told of one message.
const MOST: usize = 20;
/// Bytes told of a value.
const VALUE_BYTES: usize = 100;
/// Messages told of a side.
const MESSAGES: usize = 8;
/// Payloads over so many bytes are not compared as JSON.
const JSON_BYTES: usize = 256 * 1024;

/// Whether both made the same of a message.
pub(super) fn is_same(live: &Ended, candidate: &Ended) -> bool {
    live.outcome.as_str() == candidate.outcome.as_str()
        && compare::is_same(&live.messages, &candidate.messages)
}

pub(super) fn shown(ended: &Ended) -> SideResult {
    let became = |message: &Message| Became { topic: message.topic.clone(), bytes: message.payload.len() };
    SideResult {
        outcome: ended.outcome.as_str().to_owned(),
        reason: ended.outcome.reason(),
        messages: ended.messages.iter().take(MESSAGES).map(became).collect(),
        more: ended.messages.len().saturating_sub(MESSAGES),
    }
}

/// What differs, in words; the last one says how many are left out.
pub(super) fn between(live: &Ended, candidate: &Ended) -> Vec<String> {
    let mut found = Vec::new();
    let (was, is) = (live.outcome.as_str(), candidate.outcome.as_str());
    if was != is {
        found.push(format!("outcome: {was} → {is}"));
    }
    let (before, after) = (&live.messages, &candidate.messages);
    if before.len() != after.len() {
        found.push(format!("messages: {} → {}", before.len(), after.len()));
    }
    let several = before.len().max(after.len()) > 1;
    for (number, (one, other)) in before.iter().zip(after).enumerate() {
        let prefix = if several { format!("message {}: ", number + 1) } else { String::new() };
        found.extend(message(one, other).into_iter().map(|text| format!("{prefix}{text}")));
    }
    if found.len() > MOST {
        let left_out = found.len() - MOST;
        found.truncate(MOST);
        found.push(format!("and {left_out} more"));
    }
    found
}

fn message(one: &Message, other: &Message) -> Vec<String> {
    let mut found = Vec::new();
    if one.topic != other.topic {
        found.push(format!("topic: {} → {}", one.topic, other.topic));
    }
    let (before, after) = (compare::fields(one, VALUE_BYTES), compare::fields(other, VALUE_BYTES));
    found.extend(before.iter().filter(|field| !after.contains(field)).map(|field| format!("- {field}")));
    found.extend(after.iter().filter(|field| !before.contains(field)).map(|field| format!("+ {field}")));
    if one.payload != other.payload {
        let json = |payload: &[u8]| {
            (payload.len() <= JSON_BYTES).then(|| serde_json::from_slice::<Value>(payload).ok()).flatten()
        };
        match (json(&one.payload), json(&other.payload)) {
            (Some(one), Some(other)) if one != other => values(String::new(), &one, &other, &mut found),
            _ => found.push(format!("payload: {} → {}", bytes(&one.payload), bytes(&other.payload))),
        }
    }
    found
}

fn values(at: String, one: &Value, other: &Value, found: &mut Vec<String>) {
    match (one, other) {
        (one, other) if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            for (key, value) in one {
                let at = format!("{at}/{}", escaped(key));
                match other.get(key) {
                    Some(other) => values(at, value, other, found),
                    None => found.push(format!("payload{at}: {} → gone", text(value))),
                }
            }
            for (key, value) in other.iter().filter(|(key, _)| !one.contains_key(*key)) {
                found.push(format!("payload{at}/{}: new {}", escaped(key), text(value)));
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for (number, value) in one.iter().enumerate() {
                let at = format!("{at}/{number}");
                match other.get(number) {
                    Some(other) => values(at, value, other, found),
                    None => found.push(format!("payload{at}: {} → gone", text(value))),
                }
            }
            for (number, value) in other.iter().enumerate().skip(one.len()) {
                found.push(format!("payload{at}/{number}: new {}", text(value)));
            }
        }
        (one, other) => found.push(format!("payload{at}: {} → {}", text(one), text(other))),
    }
}

/// As RFC 6901 wants a key in a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn text(value: &Value) -> String {
    let text = value.to_string();
    let end = explain::cut_at(text.as_bytes(), VALUE_BYTES);
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", text.get(..end).unwrap_or_default())
}

fn bytes(payload: &[u8]) -> String {
    let head = payload.get(..explain::cut_at(payload, VALUE_BYTES)).unwrap_or_default();
    let more = if head.len() < payload.len() { "…" } else { "" };
    match std::str::from_utf8(head) {
        Ok(text) => format!("{} B {text:?}{more}", payload.len()),
        Err(_) => format!("{} B", payload.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(payload: impl Into<Vec<u8>>) -> Message {
        Message { topic: "t".into(), meta: vec![1].into(), payload: payload.into().into() }
    }

    fn between(one: Value, other: Value) -> Vec<String> {
        message(&of(one.to_string()), &of(other.to_string()))
    }

    #[test]
    fn json_is_compared_by_its_pointers() {
        assert_eq!(
            between(
                json!({"a": 1, "b": {"c/d": [1, 2]}, "g": 0}),
                json!({"a": 2, "b": {"c/d": [1, 3, 4]}, "n": "x"})
            ),
            [
                "payload/a: 1 → 2",
                "payload/b/c~1d/1: 2 → 3",
                "payload/b/c~1d/2: new 4",
                "payload/g: 0 → gone",
                "payload/n: new \"x\"",
            ]
        );
        assert_eq!(between(json!(1), json!([1])), ["payload: 1 → [1]"]);
        let long = between(json!("é".repeat(90)), json!(1)).remove(0);
        assert!(
            long.starts_with("payload: \"ééé") && long.ends_with("…\" → 1") || long.ends_with("… → 1"),
            "{long}"
        );
    }

    #[test]
    fn anything_else_is_told_with_its_size() {
        assert_eq!(message(&of("a b"), &of("{")), ["payload: 3 B \"a b\" → 1 B \"{\""]);
        assert_eq!(message(&of(vec![0xff, 0]), &of("x")), ["payload: 2 B → 1 B \"x\""]);
        assert_eq!(message(&of("{\"a\":1}"), &of("{ \"a\": 1 }")).len(), 1, "the bytes differ");
        assert!(message(&of("x"), &of("x")).is_empty());
    }
}

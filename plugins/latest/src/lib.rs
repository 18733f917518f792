//! `stock:latest`, a storage plugin that keeps the last message of each topic.
//!
//! ```toml
//! [config]
//! max_age_s = 86400            # forget a topic this long after its last message, in seconds; default: never
//! ```
//!
//! A query names a topic, or a pattern, which is answered in the order of topics and in pages. Each item is
//!
//! ```json
//! {"topic": "room/1", "time_us": 1795248000000000, "log": "default", "epoch": 1, "offset": 41, "from": "s1", "data": {"celsius": 21.5}}
//! ```
//!
//! with the payload as `data` if it is JSON, else as `text` if it is UTF-8, else as `base64`. Of a payload
//! over 40,000 bytes, or one that would make the item longer than an answer may be, only the size is kept, as
//! `omitted_bytes`. The query takes no parameters.

mod item;

use std::time::Duration;
use weir_plugin::{
    Answer, ConfigError, Context, Message, Pattern, Plugin, QueryError, Question, Range, Result, Space,
    Storage, StoreFailure, state,
};

/// Bytes of items after which a page ends: an answer may have 1 MiB in all.
const PAGE_BYTES: usize = 900 * 1024;

/// Scans per page: a pattern that matches little of a large range is answered with an early `next`, since a
/// query has one second.
const SCANS: usize = 8;

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    max_age_s: Option<u64>,
}

/// The plugin.
#[derive(Debug)]
pub struct Latest {
    max_age: Option<Duration>,
}

impl Plugin for Latest {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        if config.max_age_s == Some(0) {
            return Err(ConfigError::new("/max_age_s", "must be at least 1 second"));
        }
        Ok(Self { max_age: config.max_age_s.map(Duration::from_secs) })
    }
}

impl Storage for Latest {
    /// The key is the topic as it is: a topic may be as long as a key.
    fn store(&self, batch: &[Message], space: &mut Space) -> Result<(), StoreFailure> {
        for message in batch {
            let item = item::write(message)?;
            match self.max_age {
                Some(age) => space.put_until(message.topic(), item, message.received().after(age)),
                None => space.put(message.topic(), item),
            }
        }
        Ok(())
    }

    fn query(&self, question: &Question) -> Result<Answer, QueryError> {
        let pattern = Pattern::parse(&question.topic).map_err(QueryError::Invalid)?;
        if pattern.is_literal() {
            let item = state::get(&question.topic)?.ok_or(QueryError::NotFound)?;
            return Ok(Answer { items: vec![text(item)?], next: None });
        }
        page(&pattern, question)
    }
}

/// One page of what matches a pattern. The cursor is the last topic that was looked at; one that somebody made
/// up moves the start, and shows nothing that the pattern does not match.
fn page(pattern: &Pattern, question: &Question) -> Result<Answer, QueryError> {
    let mut range = Range::prefix(pattern.literal_prefix());
    if let Some(cursor) = &question.cursor {
        range = range.beyond(cursor);
    }
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for _ in 0..SCANS {
        let pairs = state::scan(range.clone(), state::MAX_SCAN)?;
        if pairs.is_empty() {
            return Ok(Answer { items, next: None });
        }
        for (key, item) in pairs {
            if std::str::from_utf8(&key).is_ok_and(|topic| pattern.matches(topic)) {
                if items.len() >= question.limit || bytes + item.len() > PAGE_BYTES {
                    return Ok(Answer { items, next: last });
                }
                bytes += item.len();
                items.push(text(item)?);
            }
            range = range.beyond(&key);
            last = Some(key);
        }
    }
    Ok(Answer { items, next: last })
}

fn text(item: Vec<u8>) -> Result<String, QueryError> {
    String::from_utf8(item).map_err(|_| QueryError::Internal("an item is not UTF-8".to_owned()))
}

weir_plugin::export_storage!(Latest);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{Value, json};
    use weir_plugin::testing::{self, Host};

    fn stored(messages: &[(&str, &str)]) -> Host<Latest> {
        let mut host = Host::<Latest>::new(json!({})).unwrap();
        let messages: Vec<Message> =
            messages.iter().map(|(topic, payload)| testing::message(topic, *payload).build()).collect();
        host.store(&messages).unwrap();
        host
    }

    fn topics(answer: &Answer) -> Vec<String> {
        let topic = |item: &String| {
            let item: Value = weir_plugin::serde_json::from_str(item).unwrap();
            item["topic"].as_str().unwrap().to_owned()
        };
        answer.items.iter().map(topic).collect()
    }

    #[test]
    fn the_last_message_of_a_topic() {
        let mut host = stored(&[("a", "1"), ("b", "2"), ("a", "3")]);
        let answer = host.query("a", json!({})).unwrap();
        let item: Value = weir_plugin::serde_json::from_str(&answer.items[0]).unwrap();
        let wanted = json!({"topic": "a", "time_us": 1_795_248_000_000_000_u64, "log": "default", "epoch": 1,
            "offset": 2, "from": "s1", "data": 3});
        assert_eq!((item, answer.items.len(), answer.next), (wanted, 1, None));
        assert_eq!(host.query("c", json!({})), Err(QueryError::NotFound));
        assert!(matches!(host.query("a/#/b", json!({})), Err(QueryError::Invalid(_))));
    }

    #[test]
    fn patterns_are_answered_in_pages() {
        let all: Vec<String> = (0..5).map(|n| format!("room/{n}/t")).collect();
        let mut messages: Vec<(&str, &str)> = all.iter().map(|topic| (topic.as_str(), "1")).collect();
        messages.extend([("room/2/h", "1"), ("roof", "1"), ("$SYS/x", "1"), ("room", "1")]);
        let mut host = stored(&messages);
        let first = host.query_page("room/+/t", json!({}), None, 2).unwrap();
        assert_eq!(topics(&first), ["room/0/t", "room/1/t"]);
        let second = host.query_page("room/+/t", json!({}), first.next.as_deref(), 2).unwrap();
        assert_eq!(topics(&second), ["room/2/t", "room/3/t"]);
        let third = host.query_page("room/+/t", json!({}), second.next.as_deref(), 2).unwrap();
        assert_eq!((topics(&third), third.next), (vec!["room/4/t".to_owned()], None));
        assert_eq!(host.query("room/#", json!({})).unwrap().items.len(), 7);
        assert_eq!(topics(&host.query("+", json!({})).unwrap()), ["roof", "room"]);
        assert_eq!(host.query("none/#", json!({})).unwrap(), Answer::default());
    }

    #[test]
    fn a_made_up_cursor_shows_nothing_else() {
        let mut host = stored(&[("a/1", "1"), ("b/1", "1"), ("c/1", "1")]);
        for cursor in [&b""[..], b"a", b"\xff", b"c/1"] {
            let answer = host.query_page("b/+", json!({}), Some(cursor), 9).unwrap();
            assert!(topics(&answer).iter().all(|topic| topic == "b/1"));
        }
    }

    #[test]
    fn large_answers_are_cut_into_pages() {
        let payload = format!("\"{}\"", "x".repeat(30_000));
        let names: Vec<String> = (0..70).map(|n| format!("t/{n:02}")).collect();
        let messages: Vec<(&str, &str)> =
            names.iter().map(|name| (name.as_str(), payload.as_str())).collect();
        let mut host = stored(&messages);
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let answer = host.query_page("t/+", json!({}), cursor.as_deref(), 1_000).unwrap();
            seen.extend(topics(&answer));
            cursor = answer.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, names);
    }

    #[test]
    fn old_topics_are_forgotten() {
        let mut host = Host::<Latest>::new(json!({"max_age_s": 60})).unwrap();
        let message = testing::message("a", "1").build();
        host.store(std::slice::from_ref(&message)).unwrap();
        assert!(host.query("a", json!({})).is_ok());
        host.now(message.received().after(Duration::from_secs(60)));
        assert_eq!(host.query("a", json!({})), Err(QueryError::NotFound));
        assert_eq!(Host::<Latest>::new(json!({"max_age_s": 0})).unwrap_err().path, "/max_age_s");
    }
}

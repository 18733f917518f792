//! What a gateway allows the sessions that it lets in by its own protocol's rule, without asking an auth plugin.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_contract::topic::{Pattern, TopicError};

/// What stands before a gateway's name where other principals have the name of an auth binding. No binding can
/// have such a name.
const GATEWAY: &str = "gateway:";

/// Topics of a session. It stands in the principal's claims, so that it goes wherever those go.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
    query: Vec<Pattern>,
}

/// As it stands in the claims.
#[derive(Serialize, Deserialize)]
struct Written {
    publish: Vec<String>,
    subscribe: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Vec<String>,
}

impl Rights {
    /// Patterns of topics to publish to, and of topics to subscribe to and to read the past of. The error is a
    /// pattern that is none.
    pub fn new(publish: &[&str], subscribe: &[&str]) -> Result<Self, TopicError> {
        Ok(Self { publish: parse(publish)?, subscribe: parse(subscribe)?, query: Vec::new() })
    }

    /// Patterns of topics that storage plugins may be asked about; nothing else.
    pub fn to_query(patterns: &[&str]) -> Result<Self, TopicError> {
        Ok(Self { query: parse(patterns)?, ..Self::default() })
    }

    /// What stands in place of an auth binding's name.
    pub fn binding(gateway: &str) -> Arc<str> {
        format!("{GATEWAY}{gateway}").into()
    }

    /// The claims that say so.
    pub fn claims(&self) -> Vec<u8> {
        let texts = |all: &[Pattern]| all.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let (publish, subscribe) = (texts(&self.publish), texts(&self.subscribe));
        let written = Written { publish, subscribe, query: texts(&self.query) };
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Those of a principal; none: an auth plugin decides. Claims that cannot be read allow nothing.
    pub(super) fn of(binding: &str, claims: &[u8]) -> Option<Arc<Self>> {
        binding.strip_prefix(GATEWAY)?;
        let written = serde_json::from_slice::<Written>(claims).ok();
        let read = |all: Written| {
            let (publish, subscribe) = (parse(&all.publish).ok()?, parse(&all.subscribe).ok()?);
            Some(Self { publish, subscribe, query: parse(&all.query).ok()? })
        };
        Some(Arc::new(written.and_then(read).unwrap_or_default()))
    }

    /// Whether the action is allowed there.
    pub fn allow(&self, action: &str, topic: &str) -> bool {
        let patterns = match action {
            "publish" => &self.publish,
            "subscribe" | "history" | "presence" => &self.subscribe,
            "query" => &self.query,
            _ => return false,
        };
        patterns.iter().any(|pattern| pattern.covers(topic))
    }
}

fn parse(texts: &[impl AsRef<str>]) -> Result<Vec<Pattern>, TopicError> {
    texts.iter().map(|text| Pattern::parse(text.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_with_the_claims_and_no_further() {
        let rights = Rights::new(&["events/+"], &["events/+", "news/#"]).unwrap();
        let back = Rights::of(&Rights::binding("picloud"), &rights.claims()).unwrap();
        for (action, topic, allowed) in [
            ("publish", "events/a", true),
            ("publish", "news/a", false),
            ("publish", "events/a/b", false),
            ("subscribe", "events/+", true),
            ("subscribe", "events/#", false),
            ("subscribe", "news/a/b", true),
            ("history", "news/#", true),
            ("query", "events/a", false),
        ] {
            assert_eq!(back.allow(action, topic), allowed, "{action} {topic}");
        }
        let asking = Rights::to_query(&["logs/+"]).unwrap();
        let back = Rights::of(&Rights::binding("tenta"), &asking.claims()).unwrap();
        assert!(back.allow("query", "logs/a") && !back.allow("history", "logs/a"));
        assert!(!back.allow("query", "logs/a/b") && !back.allow("publish", "logs/a"));
        assert!(Rights::of("api-key", &rights.claims()).is_none());
        assert!(!Rights::of("gateway:x", b"?").unwrap().allow("publish", "events/a"));
    }
}

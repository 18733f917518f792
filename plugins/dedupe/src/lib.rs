//! `stock:dedupe`, a filter that drops what was published twice.
//!
//! ```toml
//! [config]
//! by = "message-id"                 # the publisher's own id (the default), or "payload": equal bytes
//! window_s = 300                    # how long a message is remembered, in seconds, 1 to 604,800; default 300
//! per = ["topic", "principal"]      # equal only on the same topic, and from the same principal; the default
//! ```
//!
//! - A message without an id of its own is kept, when `by` is `message-id`.
//! - With `per = []`, equal messages are duplicates wherever in the tenant they come from; tenants are never
//!   mixed.
//! - A duplicate is answered `filtered`, a success on most wires: for its publisher, the message is there.
//! - When a later plugin or the log refuses a message, it is forgotten again, so that who publishes it
//!   once more is not taken for a duplicate.

use sha2::{Digest, Sha256};
use std::time::Duration;
use weir_plugin::{ConfigError, Context, Filter, Message, Plugin, Result, Verdict, state};

/// A week: remembered messages count against the state's quota.
const MAX_WINDOW_S: u64 = 7 * 24 * 3600;

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    by: By,
    #[serde(default = "five_minutes")]
    window_s: u64,
    #[serde(default = "both")]
    per: Vec<Per>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    #[default]
    MessageId,
    Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    Topic,
    Principal,
}

fn five_minutes() -> u64 {
    300
}

fn both() -> Vec<Per> {
    vec![Per::Topic, Per::Principal]
}

/// The plugin.
#[derive(Debug)]
pub struct Dedupe {
    config: Config,
    window: Duration,
}

impl Plugin for Dedupe {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        if !(1..=MAX_WINDOW_S).contains(&config.window_s) {
            return Err(ConfigError::new("/window_s", format!("must be 1 to {MAX_WINDOW_S} seconds")));
        }
        let window = Duration::from_secs(config.window_s);
        Ok(Self { config, window })
    }
}

impl Filter for Dedupe {
    fn check(&self, message: &Message) -> Result<Verdict> {
        let identity = match self.config.by {
            By::Payload => message.payload(),
            By::MessageId => match message.dedup_id() {
                Some(id) => id,
                None => return Ok(Verdict::Keep),
            },
        };
        let key = self.key(message, identity);
        if state::get(key)?.is_some() {
            return Ok(Verdict::drop("duplicate"));
        }
        state::set_until(key, [], message.received().after(self.window))?;
        Ok(Verdict::Keep)
    }
}

impl Dedupe {
    /// What makes two messages one. A cryptographic hash, since who can make two messages collide could make
    /// the router drop somebody's; each part is preceded by its length, so that no two lists of parts are alike.
    fn key(&self, message: &Message, identity: &[u8]) -> [u8; 32] {
        let topic = if self.config.per.contains(&Per::Topic) { message.topic() } else { "" };
        let name = if self.config.per.contains(&Per::Principal) { message.session().name() } else { "" };
        let mut hash = Sha256::default();
        for part in [message.session().tenant().as_bytes(), topic.as_bytes(), name.as_bytes(), identity] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}

weir_plugin::export_filter!(Dedupe);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::Time;
    use weir_plugin::serde_json::{Value, json};
    use weir_plugin::testing::{self, Build, Host};

    fn host(config: Value) -> Host<Dedupe> {
        Host::new(config).unwrap()
    }

    fn kept(host: &mut Host<Dedupe>, message: Build) -> bool {
        match host.check(&message.build()) {
            Ok(Verdict::Keep) => true,
            Ok(Verdict::Drop(reason)) if reason == "duplicate" => false,
            other => panic!("{other:?}"),
        }
    }

    fn numbered(id: &str) -> Build {
        testing::message("a/b", "x").dedup_id(id)
    }

    #[test]
    fn an_id_counts_once_within_the_window() {
        let mut host = host(json!({"window_s": 60}));
        let first = numbered("1").build().received();
        assert!(
            kept(&mut host, numbered("1"))
                && !kept(&mut host, numbered("1"))
                && kept(&mut host, numbered("2"))
        );
        host.restart();
        assert!(!kept(&mut host, numbered("1")), "another instance knows it too");
        let later = Time::from_micros(first.micros() + 60_000_000);
        assert!(kept(&mut host, numbered("1").received(later)));
    }

    #[test]
    fn topics_and_principals_are_apart_unless_told() {
        let elsewhere = || testing::message("c", "x").dedup_id("1");
        let from_other = || numbered("1").from("sensor", "s2");
        let mut strict = host(json!({}));
        assert!(
            kept(&mut strict, numbered("1"))
                && kept(&mut strict, elsewhere())
                && kept(&mut strict, from_other())
        );
        let mut wide = host(json!({"per": []}));
        assert!(
            kept(&mut wide, numbered("1")) && !kept(&mut wide, elsewhere()) && !kept(&mut wide, from_other())
        );
        assert!(kept(&mut wide, numbered("1").tenant("other")));
    }

    #[test]
    fn payloads_are_compared_whole() {
        let mut host = host(json!({"by": "payload"}));
        let message = |payload: &str| testing::message("a/b", payload);
        assert!(
            kept(&mut host, message("1")) && !kept(&mut host, message("1")) && kept(&mut host, message("1 "))
        );
        assert!(kept(&mut host, message("")) && !kept(&mut host, message("").dedup_id("ignored")));
    }

    #[test]
    fn without_an_id_nothing_is_a_duplicate() {
        let mut host = host(json!({}));
        assert!(kept(&mut host, testing::message("a", "x")) && kept(&mut host, testing::message("a", "x")));
        assert_eq!(host.state_len(), 0);
    }

    #[test]
    fn another_thread_that_was_faster_is_seen() {
        let mut host = host(json!({}));
        let message = numbered("1").build();
        let key =
            Dedupe { config: Config { by: By::MessageId, window_s: 1, per: both() }, window: Duration::ZERO }
                .key(&message, b"1");
        host.conflict_once(&key, b"");
        assert_eq!(host.check(&message), Ok(Verdict::drop("duplicate")));
    }

    #[test]
    fn what_the_configuration_may_not_say() {
        for (config, path) in [
            (json!({"window_s": 0}), "/window_s"),
            (json!({"window_s": 604_801}), "/window_s"),
            (json!({"per": ["topic", "phase"]}), "/per/1"),
            (json!({"windows": 1}), "/windows"),
        ] {
            assert_eq!(Host::<Dedupe>::new(config).unwrap_err().path, path);
        }
    }
}

//! `stock:bridge`, a transform that copies messages to the topics of other systems, so that their clients hear
//! each other. The message itself goes on as it is.
//!
//! ```toml
//! topics = ["events/+"]                     # of the binding: here what picloud's clients publish
//! emit = ["rooms/ada/lobby", "paikea/+/up"] # the copies' topics, which the binding must be granted
//!
//! [[config.copy]]
//! to = "rooms/ada/lobby"
//!
//! [[config.copy]]
//! to = "paikea/%2Fdoor/up"
//! wrap = "picloud/{level.1}"                # {"picloud/EVENT": PAYLOAD}, for clients that want an object
//!
//! [[config.copy]]
//! to = "events/copied"
//! text = true                               # "said" in JSON becomes said, for clients that want plain text
//! ```
//!
//! Templates in `to` and `wrap`: `{topic}`, `{level.N}` (of the message's topic, the first level is 0) and
//! `{principal}`; in `wrap` a level stands for the text that it was made of (`%2F` is `/`).
//!
//! - Without `wrap` the payload is copied as it is. With it, a payload that is JSON becomes the value, any other
//!   text a string, and what is no text a string in base64.
//! - A copy carries the header `bridged-from` with the topic that it was copied from, and is not copied again: two
//!   systems can be bridged both ways.
//! - A message whose topic lacks a level that a template names is not copied there. At most 16 copies may be asked
//!   for.

mod template;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use template::Template;
use weir_plugin::contract::topic;
use weir_plugin::serde_json::value::RawValue;
use weir_plugin::serde_json::{self, json};
use weir_plugin::{ConfigError, Context, Draft, Message, Outcome, Plugin, Refusal, Result, Transform};

/// Copies of one message.
const MOST: usize = 16;
/// Says of a copy what it is a copy of.
const HEADER: &str = "bridged-from";

/// The keys of `[config]`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    copy: Vec<Copy>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Copy {
    to: Template,
    wrap: Option<Template>,
    #[serde(default)]
    text: bool,
}

/// The plugin.
#[derive(Debug)]
pub struct Bridge {
    copies: Vec<Copy>,
}

impl Plugin for Bridge {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        let count = config.copy.len();
        if let Some(at) = config.copy.iter().position(|copy| copy.text && copy.wrap.is_some()) {
            return Err(ConfigError::new(format!("/copy/{at}/text"), "goes without `wrap` only"));
        }
        if let Some(at) = config.copy.iter().position(|copy| copy.to.has_wildcard()) {
            let reason = "has a `+` or `#`: a copy goes to one topic";
            return Err(ConfigError::new(format!("/copy/{at}/to"), reason));
        }
        if !(1..=MOST).contains(&count) {
            return Err(ConfigError::new("/copy", format!("{count} copies: 1 to {MOST} are accepted")));
        }
        Ok(Self { copies: config.copy })
    }
}

impl Transform for Bridge {
    fn apply(&self, message: &Message) -> Result<Outcome> {
        if message.header(HEADER).is_some() {
            return Ok(Outcome::Unchanged);
        }
        let mut drafts = Vec::with_capacity(self.copies.len());
        for copy in &self.copies {
            drafts.extend(copy.of(message)?);
        }
        if drafts.is_empty() { Ok(Outcome::Unchanged) } else { Ok(Outcome::Add(drafts)) }
    }
}

impl Copy {
    /// None: the message's topic has not the levels for it.
    fn of(&self, message: &Message) -> Result<Option<Draft>> {
        let Some(to) = self.to.fill(message, str::to_owned) else { return Ok(None) };
        topic::check(&to).map_err(|error| Refusal::new(format!("`{to}` would be no topic: {error}")))?;
        let payload = match &self.wrap {
            None if self.text => text(message.payload()),
            None => message.payload().to_vec(),
            Some(wrap) => match wrap.fill(message, template::text_of) {
                Some(name) => wrapped(&name, message.payload())?,
                None => return Ok(None),
            },
        };
        let meta = message.meta().with_header(HEADER, message.topic()).with_retain(false);
        Ok(Some(message.draft(to, payload).with(meta)))
    }
}

/// Of a string in JSON the text, of anything else all.
fn text(payload: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<String>(payload).map_or_else(|_| payload.to_vec(), String::into_bytes)
}

/// `{NAME: PAYLOAD}`.
fn wrapped(name: &str, payload: &[u8]) -> Result<Vec<u8>> {
    let value = match std::str::from_utf8(payload) {
        Ok(text) => match serde_json::from_str::<&RawValue>(text) {
            // As it stands: a number keeps all of its digits.
            Ok(value) => {
                return Ok(format!("{{{}:{}}}", serde_json::to_string(name)?, value.get()).into_bytes());
            }
            Err(_) => text.to_owned(),
        },
        Err(_) => STANDARD.encode(payload),
    };
    Ok(serde_json::to_vec(&json!({ name: value }))?)
}

weir_plugin::export_transform!(Bridge);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::Value;
    use weir_plugin::testing::{self, Host};

    fn host(config: Value) -> Host<Bridge> {
        Host::new(config).expect("the configuration is accepted").grant_emit("#")
    }

    /// Topics and payloads of what goes on.
    fn made(config: Value, topic: &str, payload: &[u8]) -> Vec<(String, String)> {
        let input = testing::message(topic, payload).from("device", "ada").build();
        let made = host(config).apply(&input).expect("it goes on");
        let text = |message: &Message| String::from_utf8_lossy(message.payload()).into_owned();
        made.iter().map(|message| (message.topic().to_owned(), text(message))).collect()
    }

    #[test]
    fn copies_go_where_the_templates_say_and_the_message_goes_on() {
        let config = json!({"copy": [
            {"to": "rooms/{level.1}/lobby"},
            {"to": "paikea/%2Fx/up", "wrap": "{principal}: {level.1}"},
            {"to": "a/{level.2}"},
        ]});
        let all = made(config, "events/a%2Fb", b"open");
        let wanted = [
            ("events/a%2Fb", "open"),
            ("rooms/a%2Fb/lobby", "open"),
            ("paikea/%2Fx/up", r#"{"ada: a/b":"open"}"#),
        ];
        assert_eq!(all, wanted.map(|(topic, text)| (topic.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_is_wrapped_becomes_a_value() {
        for (payload, value) in [
            (&b"12345678901234567890.50"[..], "12345678901234567890.50"),
            (b"{\"a\": 1}", "{\"a\": 1}"),
            (b"open", "\"open\""),
            (b"", "\"\""),
            (b"\xff", "\"/w==\""),
        ] {
            let all = made(json!({"copy": [{"to": "x", "wrap": "{topic}"}]}), "events/e", payload);
            assert_eq!(all[1].1, format!("{{\"events/e\":{value}}}"));
        }
    }

    #[test]
    fn a_string_becomes_its_text_where_that_is_wanted() {
        for (payload, wanted) in
            [(&br#""come \u00e4""#[..], "come ä"), (b"{\"a\":1}", "{\"a\":1}"), (b"come", "come")]
        {
            let all = made(json!({"copy": [{"to": "x", "text": true}]}), "rooms/a/b", payload);
            assert_eq!(all[1].1, wanted);
        }
    }

    #[test]
    fn a_copy_is_marked_and_not_copied_again() {
        let config = json!({"copy": [{"to": "rooms/a/b"}]});
        let input = testing::message("events/e", b"x").header("kept", "1").build();
        let made = host(config.clone()).apply(&input).unwrap();
        assert_eq!((made[1].header(HEADER), made[1].header("kept")), (Some("events/e"), Some("1")));
        assert_eq!(host(config).apply(&made[1]).unwrap().len(), 1);
    }

    #[test]
    fn a_wrong_configuration_is_named() {
        for (config, wanted) in [
            (json!({"copy": []}), "0 copies: 1 to 16 are accepted"),
            (json!({"copy": [{"to": "{level.x}"}]}), "`{level.x}` is none of {topic}"),
            (json!({"copy": [{"to": "a/{topic"}]}), "a `{` without `}`"),
            (json!({"copy": [{"to": "a/+"}]}), "has a `+` or `#`"),
            (json!({"copy": [{"to": "a", "when": 1}]}), "unknown field `when`"),
            (json!({"copy": [{"to": "a", "text": true, "wrap": "b"}]}), "goes without `wrap`"),
        ] {
            let error = Host::<Bridge>::new(config).expect_err("it is refused").to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}

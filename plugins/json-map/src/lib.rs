//! `stock:json-map`, a transform that changes JSON payloads field by field, splits arrays into messages, and
//! sends messages to other topics.
//!
//! What it does, in this order; every part is optional. Places are JSON Pointers.
//!
//! ```toml
//! [config]
//! on_not_json = "refuse"           # or "pass": leave payloads that are not JSON alone; default "refuse"
//! remove = ["/secret"]             # 4. take fields out
//! topic = "rooms/{/room}/celsius"  # 6. send it there instead
//! copy_to = ["archive/{topic}"]    # 7. and a copy to each of these
//!
//! [config.split]                   # 1. one message per element of an array; none, when it is empty
//! path = "/readings"
//! keep = ["/room"]                 #    fields of the whole that each element gets too
//!
//! [config.rename]                  # 2. move fields, in the order of the pointers
//! "/temp" = "/celsius"
//!
//! [[config.convert]]               # 3. numbers: value * scale + offset, or a conversion by name
//! path = "/celsius"
//! unit = "fahrenheit-to-celsius"
//! digits = 1                       #    digits after the point to which it is rounded; default: all
//!
//! [config.add]                     # 5. set fields, to any value; templates in texts are filled in
//! "/sender" = "{principal}"
//! ```
//!
//! Templates: `{principal}` `{tenant}` `{origin}` `{time}` (when the router took the message, as RFC 3339 text)
//! `{topic}` and `{level.N}` (of the message as it came, the first level is 0) `{index}` (of the element,
//! when split) and `{/pointer}`, a field of the body as it is at that step. In a topic a field is
//! percent-encoded to be one level; a text that is nothing but `{/pointer}` copies the value as it is.
//!
//! Units: celsius-to-fahrenheit, celsius-to-kelvin, fahrenheit-to-celsius, kelvin-to-celsius, inch-to-mm,
//! mm-to-inch, mile-to-km, km-to-mile, mph-to-mps, knots-to-mps, kmh-to-mps, psi-to-hpa, mmhg-to-hpa, hpa-to-pa,
//! pa-to-hpa, percent-to-fraction, fraction-to-percent, wh-to-joule, s-to-ms, ms-to-s.
//!
//! - A message that lacks a field to rename, convert or remove goes on without that step; one that lacks a field
//!   or a level that a template names, or whose field to convert is no number, is refused.
//! - To other topics than the publisher may publish to, the binding needs `emit`.
//! - Numbers are those of JavaScript where they are converted; what is not touched is kept as it is, but whole
//!   numbers over 64 bits.
//! - At most 256 messages come from one; more are refused.

mod body;
mod config;
mod convert;
mod pointer;
mod template;

use config::{Config, OnNotJson};
use template::Surroundings;
use weir_plugin::serde_json::{self, Value};
use weir_plugin::{ConfigError, Context, Draft, Message, Outcome, Plugin, Refusal, Result, Transform};

/// Most messages that a plugin may return.
const MAX_MESSAGES: usize = 256;

/// The plugin.
#[derive(Debug)]
pub struct JsonMap {
    config: Config,
}

impl Plugin for JsonMap {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Transform for JsonMap {
    fn apply(&self, message: &Message) -> Result<Outcome> {
        let config = &self.config;
        let body: Value = match message.json() {
            Ok(body) => body,
            Err(_) if config.on_not_json == OnNotJson::Pass => return Ok(Outcome::Unchanged),
            Err(refusal) => return Ok(refusal.into()),
        };
        let parts = body::split(config.split.as_ref(), body)?;
        if parts.len() * (1 + config.copy_to.len()) > MAX_MESSAGES {
            let reason = format!("{} elements make more than {MAX_MESSAGES} messages", parts.len());
            let at = config.split.as_ref().map(|split| split.path.to_string());
            return Ok(Refusal::new(reason).at(at.unwrap_or_default()).into());
        }
        if config.split.is_none() && config.topic.is_none() && config.copy_to.is_empty() {
            return self.in_place(message, parts);
        }
        let mut drafts = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            self.send(message, part, index, &mut drafts)?;
        }
        if !config.changes_body() && config.split.is_none() && config.topic.is_none() {
            // The message itself is as it was: it keeps its id, and only the copies are new.
            return Ok(Outcome::Add(drafts.split_off(1)));
        }
        Ok(Outcome::Replace(drafts))
    }
}

impl JsonMap {
    /// Neither split nor sent elsewhere: the message keeps its id.
    fn in_place(&self, message: &Message, parts: Vec<Value>) -> Result<Outcome> {
        let Some(mut body) = parts.into_iter().next().filter(|_| self.config.changes_body()) else {
            return Ok(Outcome::Unchanged);
        };
        body::change(&self.config, &mut body, &Surroundings { message, index: 0 })?;
        Ok(Outcome::SetPayload(serde_json::to_vec(&body)?))
    }

    /// One part to its topic, and its copies.
    fn send(&self, message: &Message, mut part: Value, index: usize, drafts: &mut Vec<Draft>) -> Result<()> {
        let around = Surroundings { message, index };
        let payload = if self.config.changes_body() || self.config.split.is_some() {
            body::change(&self.config, &mut part, &around)?;
            serde_json::to_vec(&part)?
        } else {
            message.payload().to_vec()
        };
        let topic = match &self.config.topic {
            Some(template) => template.topic(&part, &around)?,
            None => message.topic().to_owned(),
        };
        drafts.push(message.draft(topic, payload.clone()));
        for template in &self.config.copy_to {
            drafts.push(message.draft(template.topic(&part, &around)?, payload.clone()));
        }
        Ok(())
    }
}

weir_plugin::export_transform!(JsonMap);

use crate::pointer::Pointer;
use serde::{Deserialize, Deserializer};
use weir_plugin::contract::topic;
use weir_plugin::serde_json::Value;
use weir_plugin::{Message, Refusal};

/// A text with places that a message fills.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Principal,
    Tenant,
    Origin,
    Time,
    Topic,
    Level(usize),
    Index,
    Field(Pointer),
}

/// What surrounds a body: the message as it came, and which of its elements this is.
pub(crate) struct Surroundings<'a> {
    pub(crate) message: &'a Message,
    pub(crate) index: usize,
}

/// What a field is set to: a template, or any value but a text.
#[derive(Debug)]
pub(crate) enum Fill {
    Template(Template),
    Value(Value),
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                return Err(format!("`{text}`: a `{{` without `}}`"));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::parse(name)?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// A topic: a field of the body becomes one level of it.
    pub(crate) fn topic(&self, body: &Value, around: &Surroundings<'_>) -> Result<String, Refusal> {
        let topic = self.fill(body, around, topic::encode_level)?;
        match topic::check(&topic) {
            Ok(()) => Ok(topic),
            Err(error) => Err(Refusal::new(format!("`{topic}` would be no topic: {error}"))),
        }
    }

    fn fill(
        &self,
        body: &Value,
        around: &Surroundings<'_>,
        encode: impl Fn(&str) -> String,
    ) -> Result<String, Refusal> {
        let Surroundings { message, index } = around;
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Principal => text.push_str(message.session().name()),
                Part::Tenant => text.push_str(message.session().tenant()),
                Part::Origin => text.push_str(message.origin().as_str()),
                Part::Time => text.push_str(&message.received().rfc3339()),
                Part::Topic => text.push_str(message.topic()),
                Part::Index => text.push_str(&index.to_string()),
                Part::Level(n) => match message.levels().nth(*n) {
                    Some(level) => text.push_str(level),
                    None => return Err(Refusal::new(format!("the topic has no level {n}, counted from 0"))),
                },
                Part::Field(pointer) => text.push_str(&encode(&field(pointer, body)?)),
            }
        }
        Ok(text)
    }
}

impl Fill {
    /// The value for a field of the body.
    pub(crate) fn value(&self, body: &Value, around: &Surroundings<'_>) -> Result<Value, Refusal> {
        let template = match self {
            Self::Value(value) => return Ok(value.clone()),
            Self::Template(template) => template,
        };
        if let [Part::Field(pointer)] = template.0.as_slice() {
            return pointer.get(body).cloned().ok_or_else(|| Refusal::new("is missing").at(pointer));
        }
        template.fill(body, around, str::to_owned).map(Value::String)
    }
}

impl Part {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "principal" => Ok(Self::Principal),
            "tenant" => Ok(Self::Tenant),
            "origin" => Ok(Self::Origin),
            "time" => Ok(Self::Time),
            "topic" => Ok(Self::Topic),
            "index" => Ok(Self::Index),
            field if field.starts_with('/') => Pointer::parse(field).map(Self::Field),
            other => match other.strip_prefix("level.").and_then(|n| n.parse().ok()) {
                Some(n) => Ok(Self::Level(n)),
                None => Err(format!(
                    "`{{{other}}}` is unknown: {{principal}}, {{tenant}}, {{origin}}, {{time}}, {{topic}}, {{level.N}}, \
                     {{index}} and {{/pointer}} are accepted"
                )),
            },
        }
    }
}

/// A field as text: texts as they are, numbers and flags as in JSON.
fn field(pointer: &Pointer, body: &Value) -> Result<String, Refusal> {
    match pointer.get(body) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(plain @ (Value::Number(_) | Value::Bool(_))) => Ok(plain.to_string()),
        Some(_) => Err(Refusal::new("must be a text, a number or a flag").at(pointer)),
        None => Err(Refusal::new("is missing").at(pointer)),
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Fill {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Value::deserialize(from)? {
            Value::String(text) => {
                Template::parse(&text).map(Self::Template).map_err(serde::de::Error::custom)
            }
            value => Ok(Self::Value(value)),
        }
    }
}

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, de};
use weir_plugin::Message;

/// A text with places that a message fills.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Topic,
    Principal,
    Level(usize),
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) =
                after.split_once('}').ok_or_else(|| format!("`{text}`: a `{{` without `}}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(match (name, name.strip_prefix("level.").map(str::parse)) {
                ("topic", _) => Part::Topic,
                ("principal", _) => Part::Principal,
                (_, Some(Ok(level))) => Part::Level(level),
                _ => return Err(format!("`{{{name}}}` is none of {{topic}}, {{level.N}}, {{principal}}")),
            });
            rest = tail;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Whether it has a `+` or `#` of its own, which no topic may have.
    pub(crate) fn has_wildcard(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Text(text) if text.contains(['+', '#'])))
    }

    /// The text, with `level` applied to each level that stands in it. None: the message's topic lacks a level.
    pub(crate) fn fill(&self, message: &Message, level: impl Fn(&str) -> String) -> Option<String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Topic => text.push_str(message.topic()),
                Part::Principal => text.push_str(message.session().name()),
                Part::Level(number) => text.push_str(&level(message.levels().nth(*number)?)),
            }
        }
        Some(text)
    }
}

/// The text of which a level was made.
pub(crate) fn text_of(level: &str) -> String {
    percent_decode_str(level).decode_utf8_lossy().into_owned()
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(input)?).map_err(de::Error::custom)
    }
}

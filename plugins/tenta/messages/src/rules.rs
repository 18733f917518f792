//! The rules: one bad element, and the whole message is malformed.

use std::collections::BTreeMap;

use crate::json::{self, Json};
use crate::{Kind, Malformed, Timestamp};

/// Longest key of a measurement, in characters.
const KEY: usize = 64;
/// Longest line of a log, in characters; what is longer is cut.
const MESSAGE: usize = 16_384;
/// One more than the highest revision, and than hermes' last second.
const MAX_INT4: f64 = 2_147_483_648.0;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flavour {
    /// tenta's server.
    #[default]
    Tenta,
    /// hermes' server: keys begin with a letter, a measurement may be empty, times are those of 1970 to 2038.
    Hermes,
    /// Whatever one of both takes.
    Either,
}

/// What a message says: one element at least.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Of `measurements/ID`.
    Measurements(Vec<Measurement>),
    /// Of `logs/ID`.
    Logs(Vec<Log>),
    /// Of `acknowledgments/ID`.
    Acknowledgments(Vec<Acknowledgment>),
}

/// Numbers that were measured together.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// By attribute. May be NaN or infinite.
    pub value: BTreeMap<String, f64>,
    /// When.
    pub time: Timestamp,
    /// Of the configuration that was in force.
    pub revision: Option<u32>,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// At most 16,384 characters: the rest was cut.
    pub message: String,
    /// How bad it is.
    pub severity: Severity,
    /// When.
    pub time: Timestamp,
    /// Of the configuration that was in force.
    pub revision: Option<u32>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `info`
    Info,
    /// `warning`
    Warning,
    /// `error`
    Error,
}

impl Severity {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Of a word on the wire.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Error].into_iter().find(|known| known.as_str() == word)
    }
}

/// What became of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgment {
    /// Whether the sensor has taken it.
    pub success: bool,
    /// When.
    pub time: Timestamp,
    /// Of the configuration.
    pub revision: u32,
}

/// Reads a payload.
pub fn read(kind: Kind, flavour: Flavour, payload: &[u8]) -> Result<Said, Malformed> {
    let Json::Array(elements) = json::parse(payload)? else { return Err(Malformed::new("must be an array")) };
    if elements.is_empty() {
        return Err(Malformed::new("must have at least one element"));
    }
    Ok(match kind {
        Kind::Measurements => Said::Measurements(all(elements, flavour, measurement)?),
        Kind::Logs => Said::Logs(all(elements, flavour, log)?),
        Kind::Acknowledgments => Said::Acknowledgments(all(elements, flavour, acknowledgment)?),
    })
}

fn all<T>(
    elements: Vec<Json>,
    flavour: Flavour,
    read: fn(&mut Element) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let one = |element| {
        let Json::Object(fields) = element else { return Err(Malformed::new("must be an object")) };
        let mut element = Element { fields, flavour };
        let read = read(&mut element)?;
        if element.fields.is_empty() { Ok(read) } else { Err(Malformed::new("must have no other fields")) }
    };
    let numbered = elements.into_iter().enumerate();
    numbered.map(|(index, element)| one(element).map_err(|error| error.within(index))).collect()
}

fn measurement(element: &mut Element) -> Result<Measurement, Malformed> {
    let flavour = element.flavour;
    Ok(Measurement {
        value: element.field("value", |value| attributes(value, flavour))?,
        time: element.time()?,
        revision: element.revision()?,
    })
}

fn log(element: &mut Element) -> Result<Log, Malformed> {
    let message = |value| match value {
        Some(Json::Text(text)) => Ok(cut(text)),
        _ => Err(Malformed::new("must be a text")),
    };
    let severity = |value| {
        let known = if let Some(Json::Text(word)) = &value { Severity::parse(word) } else { None };
        known.ok_or_else(|| Malformed::new("must be info, warning or error"))
    };
    Ok(Log {
        message: element.field("message", message)?,
        severity: element.field("severity", severity)?,
        time: element.time()?,
        revision: element.revision()?,
    })
}

fn acknowledgment(element: &mut Element) -> Result<Acknowledgment, Malformed> {
    let success = |value| match value {
        Some(Json::Bool(success)) => Ok(success),
        _ => Err(Malformed::new("must be true or false")),
    };
    let there = |revision: Option<u32>| revision.ok_or_else(|| Malformed::new("must be there"));
    Ok(Acknowledgment {
        success: element.field("success", success)?,
        time: element.time()?,
        revision: there(element.revision()?).map_err(|error| error.within("revision"))?,
    })
}

/// An element of the array; what has been read of it is gone.
struct Element {
    fields: BTreeMap<String, Json>,
    flavour: Flavour,
}

impl Element {
    fn field<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Option<Json>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        read(self.fields.remove(name)).map_err(|error| error.within(name))
    }

    fn time(&mut self) -> Result<Timestamp, Malformed> {
        let hermes = self.flavour == Flavour::Hermes;
        self.field("timestamp", |value| match value {
            Some(Json::Integer(seconds) | Json::Float(seconds)) => {
                if hermes && !(0.0..MAX_INT4).contains(&seconds) {
                    return Err(Malformed::new("must be at least 0 and less than 2147483648"));
                }
                Timestamp::from_seconds(seconds)
            }
            _ => Err(Malformed::new("must be a number")),
        })
    }

    fn revision(&mut self) -> Result<Option<u32>, Malformed> {
        self.field("revision", |value| match value {
            None | Some(Json::Null) => Ok(None),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range")]
            Some(Json::Integer(revision)) if (0.0..MAX_INT4).contains(&revision) => Ok(Some(revision as u32)),
            Some(_) => Err(Malformed::new("must be an integer from 0 to 2147483647")),
        })
    }
}

fn attributes(value: Option<Json>, flavour: Flavour) -> Result<BTreeMap<String, f64>, Malformed> {
    let Some(Json::Object(value)) = value else { return Err(Malformed::new("must be an object")) };
    if value.is_empty() && flavour == Flavour::Tenta {
        return Err(Malformed::new("must have at least one attribute"));
    }
    let one = |(key, number): (String, Json)| {
        if !is_key(&key) || (flavour == Flavour::Hermes && key.starts_with(|c: char| c.is_ascii_digit())) {
            return Err(Malformed::new(
                "must have names of a-z, 0-9 and single _ between, 64 at most; of hermes with a letter first",
            ));
        }
        match number {
            Json::Float(number) => Ok((key, number)),
            Json::Integer(number) if number.is_finite() => Ok((key, number)),
            // The key is known to be harmless.
            _ => Err(Malformed::new("must be a number").within(key)),
        }
    };
    value.into_iter().map(one).collect()
}

/// `^[a-z0-9](_?[a-z0-9])*$`
fn is_key(key: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let edges = key.starts_with('_') || key.ends_with('_') || key.contains("__");
    (1..=KEY).contains(&key.len()) && key.bytes().all(known) && !edges
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests;

//! What a tablet says: a JSON object. Numbers may come as text, and fields that nobody reads are passed over.

use serde_json::{Map, Value};
use weir_plugin::{Message, Refusal, Result, Time};

/// Longest device id, in bytes: it becomes part of a key.
const DEVICE_BYTES: usize = 128;
/// Longest other text, in bytes.
const TEXT_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct Ask {
    demand: String,
    at: Time,
    fields: Map<String, Value>,
}

/// A no that names a field.
pub(crate) fn refusal(field: &str, reason: impl ToString) -> Refusal {
    let refusal = Refusal::new(reason);
    if field.is_empty() { refusal } else { refusal.at(format!("/{field}")) }
}

impl Ask {
    /// A demand.
    pub(crate) fn read(message: &Message) -> Result<Self> {
        let mut ask = Self::object(message)?;
        match ask.fields.get("demand") {
            Some(Value::String(demand)) if !demand.is_empty() => ask.demand.clone_from(demand),
            _ => return Err(refusal("demand", "a text is expected: init, survey, …").into()),
        }
        Ok(ask)
    }

    /// An object that need not be a demand.
    pub(crate) fn object(message: &Message) -> Result<Self> {
        Ok(Self { demand: String::new(), at: message.received(), fields: message.json()? })
    }

    pub(crate) fn demand(&self) -> &str {
        &self.demand
    }

    /// When it came.
    pub(crate) fn at(&self) -> Time {
        self.at
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    /// Whether a field is `true`.
    pub(crate) fn is_set(&self, field: &str) -> bool {
        self.fields.get(field) == Some(&Value::Bool(true))
    }

    /// Whether it says whose it is.
    pub(crate) fn names_anybody(&self) -> bool {
        let given = |field| self.fields.get(field).is_some_and(|value| !value.is_null() && value != "");
        given("userId") || given("deviceId")
    }

    /// A number, if it is given.
    pub(crate) fn number(&self, field: &str) -> Result<Option<u64>> {
        let read = match self.fields.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_u64(),
        };
        read.map(Some).ok_or_else(|| refusal(field, "a whole number is expected, 0 or more").into())
    }

    /// A number that must be given.
    pub(crate) fn wanted(&self, field: &str) -> Result<u64> {
        let missing = || refusal(field, "it is missing: a whole number is expected, 0 or more").into();
        self.number(field)?.ok_or_else(missing)
    }

    /// A text, empty if it is not given.
    pub(crate) fn text(&self, field: &str) -> Result<String> {
        let text = self.fields.get(field).and_then(Value::as_str).unwrap_or_default();
        if text.len() <= TEXT_BYTES {
            return Ok(text.to_owned());
        }
        Err(refusal(field, format!("a text of at most {TEXT_BYTES} bytes is expected")).into())
    }

    /// The device; numbers count as text.
    pub(crate) fn device(&self) -> Result<String> {
        let device = match self.fields.get("deviceId") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        if (1..=DEVICE_BYTES).contains(&device.len()) {
            return Ok(device);
        }
        Err(refusal("deviceId", format!("a text of 1 to {DEVICE_BYTES} bytes is expected")).into())
    }
}

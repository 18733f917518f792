//! A frame, or a message in an HTTP body, taken apart by its keys. Values stay as they are written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::request::Fault;

/// The keys that some frame may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Action,
    Id,
    Topic,
    Data,
    Text,
    Base64,
    ContentType,
    Headers,
    MessageId,
    Level,
    Log,
    Limit,
    Reverse,
    Plugin,
    Params,
    Cursor,
    Since,
    Retained,
    Presence,
    Consumer,
    Group,
    AckWaitMs,
    MaxInFlight,
    ExpiresAfterMs,
    Delete,
    Epoch,
    Offset,
    Offsets,
    UpTo,
    Retain,
    ExpiresInMs,
    ReplyTo,
    TimeoutMs,
}

const KEYS: [(Key, &str); 33] = [
    (Key::Action, "action"),
    (Key::Id, "id"),
    (Key::Topic, "topic"),
    (Key::Data, "data"),
    (Key::Text, "text"),
    (Key::Base64, "base64"),
    (Key::ContentType, "content_type"),
    (Key::Headers, "headers"),
    (Key::MessageId, "message_id"),
    (Key::Level, "level"),
    (Key::Log, "log"),
    (Key::Limit, "limit"),
    (Key::Reverse, "reverse"),
    (Key::Plugin, "plugin"),
    (Key::Params, "params"),
    (Key::Cursor, "cursor"),
    (Key::Since, "since"),
    (Key::Retained, "retained"),
    (Key::Presence, "presence"),
    (Key::Consumer, "consumer"),
    (Key::Group, "group"),
    (Key::AckWaitMs, "ack_wait_ms"),
    (Key::MaxInFlight, "max_in_flight"),
    (Key::ExpiresAfterMs, "expires_after_ms"),
    (Key::Delete, "delete"),
    (Key::Epoch, "epoch"),
    (Key::Offset, "offset"),
    (Key::Offsets, "offsets"),
    (Key::UpTo, "up_to"),
    (Key::Retain, "retain"),
    (Key::ExpiresInMs, "expires_in_ms"),
    (Key::ReplyTo, "reply_to"),
    (Key::TimeoutMs, "timeout_ms"),
];

/// Bytes of an unknown key that are repeated to the client.
const QUOTED: usize = 64;

impl Key {
    /// The key as it is written.
    pub(super) fn name(self) -> &'static str {
        KEYS.get(self as usize).map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<Self> {
        KEYS.iter().find(|(_, known)| *known == name).map(|(key, _)| *key)
    }
}

/// One JSON object. Its syntax has been checked, its values' types have not.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    values: [Option<&'a RawValue>; KEYS.len()],
    unknown: Option<String>,
    twice: Option<Key>,
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Self { values: [None; KEYS.len()], unknown: None, twice: None }
    }
}

impl<'a> Keys<'a> {
    /// The value of a key. `null` is none, but for `data`, where it is a value.
    pub(super) fn get(&self, key: Key) -> Option<&'a RawValue> {
        let value = self.values.get(key as usize).copied().flatten()?;
        (key == Key::Data || value.get() != "null").then_some(value)
    }

    /// Refuses every key that is not accepted here.
    pub(super) fn only(&self, accepted: &[Key]) -> Result<(), Fault> {
        if let Some(key) = self.twice {
            return Err(Fault::new(format!("key `{}` is given twice", key.name())));
        }
        let strange =
            KEYS.iter().zip(self.values).find(|((key, _), value)| value.is_some() && !accepted.contains(key));
        let name = self.unknown.as_deref().or(strange.map(|((_, name), _)| *name));
        let Some(name) = name else { return Ok(()) };
        let accepted: Vec<_> = accepted.iter().map(|key| key.name()).collect();
        Err(Fault::new(format!("unknown key `{name}`: accepted are {}", accepted.join(", "))))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Keys<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Keys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Keys::default();
        while let Some(name) = map.next_key_seed(Name)? {
            match name {
                Ok(key) => {
                    let value = map.next_value()?;
                    if let Some(slot) = keys.values.get_mut(key as usize)
                        && slot.replace(value).is_some()
                    {
                        keys.twice = Some(key);
                    }
                }
                Err(unknown) => {
                    map.next_value::<IgnoredAny>()?;
                    keys.unknown.get_or_insert(unknown);
                }
            }
        }
        Ok(keys)
    }
}

/// Reads a key without keeping its text, unless it is unknown.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Result<Key, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Result<Key, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let quoted = || name.get(..name.floor_char_boundary(QUOTED)).unwrap_or_default().to_owned();
        Ok(Key::parse(name).ok_or_else(quoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Keys<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_table_is_in_order() {
        for (index, (key, name)) in KEYS.iter().enumerate() {
            assert_eq!(*key as usize, index);
            assert_eq!(key.name(), *name);
        }
    }

    #[test]
    fn values_stay_as_written() {
        let keys = read(r#" {"top\u0069c" : "a" , "data" :  {"x": [1 , 2]}, "id":null} "#);
        assert_eq!(keys.get(Key::Topic).unwrap().get(), r#""a""#);
        assert_eq!(keys.get(Key::Data).unwrap().get(), r#"{"x": [1 , 2]}"#);
        assert!(keys.get(Key::Id).is_none());
        assert_eq!(read(r#"{"data":null}"#).get(Key::Data).unwrap().get(), "null");
    }

    #[test]
    fn strangers_are_refused_by_name() {
        let accepted = [Key::Topic, Key::Data];
        let refusal = |text| read(text).only(&accepted).unwrap_err().reason;
        assert_eq!(refusal(r#"{"tpic":1}"#), "unknown key `tpic`: accepted are topic, data");
        assert_eq!(refusal(r#"{"cursor":1}"#), "unknown key `cursor`: accepted are topic, data");
        assert_eq!(refusal(r#"{"topic":"a","topic":"b"}"#), "key `topic` is given twice");
        assert!(read(r#"{"topic":"a"}"#).only(&accepted).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\":,a-z0-9 \\\\]{0,60}") {
            let _ = serde_json::from_str::<Keys<'_>>(&text);
        }
    }
}

//! A frame, or a message in an HTTP body, taken apart by its keys. Values stay as they are written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::request::Fault;
use crate::gateway::json::syntax;

/// Each key with its name, in one place.
macro_rules! keys {
    ($($key:ident = $name:literal,)*) => {
        /// The keys that some frame may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key {
            $($key,)*
        }

        const KEYS: &[(Key, &str)] = &[$((Key::$key, $name),)*];

        impl Key {
            fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$key),)*
                    _ => None,
                }
            }
        }
    };
}

keys! {
    Action = "action",
    Id = "id",
    Topic = "topic",
    Data = "data",
    Text = "text",
    Base64 = "base64",
    ContentType = "content_type",
    Headers = "headers",
    MessageId = "message_id",
    Level = "level",
    Log = "log",
    Limit = "limit",
    Reverse = "reverse",
    Plugin = "plugin",
    Params = "params",
    Cursor = "cursor",
    Since = "since",
    Retained = "retained",
    Presence = "presence",
    Consumer = "consumer",
    Group = "group",
    AckWaitMs = "ack_wait_ms",
    MaxInFlight = "max_in_flight",
    ExpiresAfterMs = "expires_after_ms",
    Delete = "delete",
    Epoch = "epoch",
    Offset = "offset",
    Offsets = "offsets",
    UpTo = "up_to",
    Retain = "retain",
    ExpiresInMs = "expires_in_ms",
    ReplyTo = "reply_to",
    TimeoutMs = "timeout_ms",
}

/// Bytes of an unknown key that are repeated to the client.
const QUOTED: usize = 64;

impl Key {
    /// The key as it is written.
    pub(super) fn name(self) -> &'static str {
        KEYS.get(self as usize).map_or("", |(_, name)| name)
    }

    fn bit(self) -> u64 {
        1 << self as u64
    }
}

/// A value as it is written: JSON, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The text, quotes and escapes included.
    pub(super) fn get(self) -> &'a str {
        self.0
    }

    /// What stands in a string that has no escapes: that is its value.
    fn plain(self) -> Option<&'a str> {
        self.0.strip_prefix('"')?.strip_suffix('"').filter(|inner| syntax::is_plain(inner))
    }
}

/// One JSON object. Its syntax has been checked, its values' types have not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys<'a> {
    values: [Raw<'a>; KEYS.len()],
    /// Which of the values are there: one bit each.
    given: u64,
    /// Which of them are strings without escapes.
    plain: u64,
    unknown: Option<String>,
    twice: Option<Key>,
}

impl Default for Keys<'_> {
    fn default() -> Self {
        Self { values: [Raw(""); KEYS.len()], given: 0, plain: 0, unknown: None, twice: None }
    }
}

impl<'a> Keys<'a> {
    /// Takes an object apart.
    pub(super) fn read(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut keys = Self::default();
        keys.fill(text)?;
        Ok(keys)
    }

    /// The same in place: it is large enough that moving it shows.
    pub(super) fn fill(&mut self, text: &'a str) -> Result<(), serde_json::Error> {
        // What the quick reader does not take may still be fine, or wrong in a way that has to be told.
        if self.read_known(text).is_none() {
            *self = serde_json::from_str(text)?;
        }
        Ok(())
    }

    /// The same, of an object that has nothing but known keys, each once and without escapes.
    /// None leaves behind what was read so far.
    fn read_known(&mut self, text: &'a str) -> Option<()> {
        let bytes = text.as_bytes();
        let mut at = syntax::skip_space(bytes, 0);
        let mut before = b'{';
        while bytes.get(at) == Some(&before) {
            at = syntax::skip_space(bytes, at + 1);
            let name_end = syntax::plain_string_end(bytes, at)?;
            let key = Key::parse(text.get(at + 1..name_end - 1)?)?;
            at = syntax::skip_space(bytes, name_end);
            if bytes.get(at) != Some(&b':') {
                return None;
            }
            let begin = syntax::skip_space(bytes, at + 1);
            let (end, plain) = match syntax::plain_string_end(bytes, begin) {
                Some(end) => (end, true),
                None => (syntax::value_end(bytes, begin)?, false),
            };
            if !self.put(key, Raw(text.get(begin..end)?), plain) {
                return None;
            }
            at = syntax::skip_space(bytes, end);
            before = b',';
        }
        let is_end = bytes.get(at) == Some(&b'}') && syntax::skip_space(bytes, at + 1) == bytes.len();
        (is_end && before == b',').then_some(())
    }

    /// False: it had been put before.
    fn put(&mut self, key: Key, value: Raw<'a>, plain: bool) -> bool {
        let first = self.given & key.bit() == 0;
        self.given |= key.bit();
        self.plain = self.plain & !key.bit() | if plain { key.bit() } else { 0 };
        if let Some(slot) = self.values.get_mut(key as usize) {
            *slot = value;
        }
        first
    }

    /// The value of a key. `null` is none, but for `data`, where it is a value.
    pub(super) fn get(&self, key: Key) -> Option<Raw<'a>> {
        if self.given & key.bit() == 0 {
            return None;
        }
        let value = self.values.get(key as usize).copied()?;
        (key == Key::Data || value.get() != "null").then_some(value)
    }

    /// The value of a key that is a string without escapes, which is most strings.
    pub(super) fn plain(&self, key: Key) -> Option<&'a str> {
        let value = self.values.get(key as usize).filter(|_| self.plain & key.bit() != 0)?;
        value.0.get(1..value.0.len() - 1)
    }

    /// Whether one of these keys is given, be it with `null`.
    pub(super) fn have_any(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| self.given & key.bit() != 0)
    }

    /// Refuses every key that is not accepted here.
    pub(super) fn only(&self, accepted: &[Key]) -> Result<(), Fault> {
        if let Some(key) = self.twice {
            return Err(Fault::new(format!("key `{}` is given twice", key.name())));
        }
        let expected = accepted.iter().fold(0, |all, key| all | key.bit());
        if self.given & !expected == 0 && self.unknown.is_none() {
            return Ok(());
        }
        let strange = KEYS.iter().find(|(key, _)| self.given & !expected & key.bit() != 0);
        let name = self.unknown.as_deref().or(strange.map(|(_, name)| *name)).unwrap_or_default();
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
                    let value = Raw(map.next_value::<&RawValue>()?.get());
                    if !keys.put(key, value, value.plain().is_some()) {
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
            assert_eq!(Key::parse(name), Some(*key));
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

    fn read_known(text: &str) -> Option<Keys<'_>> {
        let mut keys = Keys::default();
        keys.read_known(text).map(|()| keys)
    }

    /// What both ways of reading make of a text.
    fn agree(text: &str) -> Result<(), TestCaseError> {
        let slow = serde_json::from_str::<Keys<'_>>(text);
        if let Some(quick) = read_known(text) {
            prop_assert_eq!(Some(&quick), slow.as_ref().ok());
        }
        let read = Keys::read(text).map_err(|error| error.to_string());
        prop_assert_eq!(read, slow.map_err(|error| error.to_string()));
        Ok(())
    }

    #[test]
    fn plain_frames_are_read_the_quick_way() {
        for quick in
            [r#"{"topic":"a","data":{"x":[1,{}]},"id":7}"#, " { \"id\" : null , \"text\":\"\\n\" }\n"]
        {
            assert_eq!(read_known(quick), serde_json::from_str(quick).ok());
        }
        for slow in [
            "{}",
            r#"{"top\u0069c":1}"#,
            r#"{"topic":1,"topic":1}"#,
            r#"{"strange":1}"#,
            r#"{"id":1,}"#,
            r#"{,"id":1}"#,
            r#",{"id":1}"#,
            r#"{"id":1{"log":1}"#,
            r#"{"id":1} 2"#,
            r#"{"id":1"#,
            r#"{"id"1}"#,
            r#"{"id:1}"#,
            "",
        ] {
            assert_eq!(read_known(slow), None, "{slow}");
            agree(slow).unwrap();
        }
    }

    #[test]
    fn strings_without_escapes_are_their_own_values() {
        assert_eq!(Raw(r#""°C""#).plain(), Some("°C"));
        assert_eq!(Raw(r#""""#).plain(), Some(""));
        for other in [r#""a\n""#, r#""\\""#, "1", "{}", "null"] {
            assert_eq!(Raw(other).plain(), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\":,a-z0-9 \\\\]{0,60}") {
            agree(&text)?;
        }

        #[test]
        fn both_ways_of_reading_agree(
            members in proptest::collection::vec(
                (
                    "[ \n]?", "id|topic|top\\\\u0069c|data|text|idd|i\"d", "[ \t]?",
                    prop_oneof![
                        "[0-9]{1,2}", "\"[a-é\\\\\"]{0,4}\"", "null|true|nul",
                        "[\\[{][\\[\\]{}:,\"a1]{0,6}[\\]}]",
                    ],
                    "[ \r]?",
                ),
                0..4,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let all: Vec<_> = members.iter().map(|(a, name, b, value, c)| format!("{a}\"{name}\"{b}:{a}{value}{c}")).collect();
            let text = format!("{{{}}}", all.join(","));
            agree(&text)?;
            let mut at = cut.index(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            agree(&text[..at])?;
        }
    }
}

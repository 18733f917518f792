use crate::ConfigError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A checked topic pattern: `+` for one level, `#` at the end for the rest. In a configuration it stands as
/// a text, and a wrong one is refused when the plugin is loaded.
///
/// Everything of [`weir_contract::topic::Pattern`] is here by `Deref`: `matches`, `covers`,
/// `literal_prefix`, `as_str`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(weir_contract::topic::Pattern);

impl Pattern {
    /// Checks a pattern: 1 to 512 bytes, at most 32 levels, wildcards only as whole levels, `#` only last.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        weir_contract::topic::Pattern::parse(text)
            .map(Self)
            .map_err(|error| ConfigError::new("", format!("`{text}` is no topic pattern: {error}")))
    }
}

impl std::ops::Deref for Pattern {
    type Target = weir_contract::topic::Pattern;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(|error| serde::de::Error::custom(error.reason))
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

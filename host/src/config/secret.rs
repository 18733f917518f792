//! A secret of the configuration: read once, shown nowhere.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A text that is never shown. In the file it stands as it is, or as `env:NAME` for an environment variable.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "(none)" } else { "(hidden)" })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        // What was found instead of a text may be the secret: it is not shown.
        let Ok(text) = String::deserialize(input) else {
            return Err(D::Error::custom("found no text, expected one in quotes"));
        };
        match text.strip_prefix("env:") {
            Some(name) => std::env::var(name)
                .map(Self)
                .map_err(|_| D::Error::custom(format!("the environment has no {name}, or it is not UTF-8"))),
            None => Ok(Self(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_not_shown() {
        let read = |text: &str| serde_json::from_value::<Secret>(text.into());
        assert_eq!(read("hush").unwrap().as_str(), "hush");
        assert_eq!(format!("{:?}{:?}", read("hush").unwrap(), Secret::default()), "(hidden)(none)");
        assert_eq!(read("env:PATH").unwrap().as_str(), std::env::var("PATH").unwrap());
        let number = serde_json::from_str::<Secret>("987654321").unwrap_err().to_string();
        assert!(number.starts_with("found no text") && !number.contains("987"), "{number}");
        assert!(read("env:NO SUCH").unwrap_err().to_string().contains("the environment has no NO SUCH"));
    }
}

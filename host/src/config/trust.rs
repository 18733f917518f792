//! Whose plugins are accepted: minisign keys, each for some kinds of plugins.

use minisign_verify::PublicKey;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// Which plugins of the folder need a signature, and by whom. Stock plugins need none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// Whether a plugin without a good signature is refused.
    pub require_signatures: bool,
    /// The keys that are trusted.
    #[serde(rename = "key")]
    pub keys: Vec<TrustedKey>,
}

/// One key that is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKey {
    /// As in the second line of a `minisign.pub`.
    #[serde(deserialize_with = "public_key")]
    pub public: PublicKey,
    /// Kinds of plugins that it may sign.
    pub kinds: Vec<SignedKind>,
}

/// A kind of plugin, as configurations name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedKind {
    /// Decides who a client is and what it may do.
    Auth,
    /// Keeps or stops messages.
    Filter,
    /// Changes messages.
    Transform,
    /// Keeps what came of messages.
    Storage,
}

fn public_key<'de, D: Deserializer<'de>>(input: D) -> Result<PublicKey, D::Error> {
    let text = String::deserialize(input)?;
    PublicKey::from_base64(text.trim()).map_err(|_| {
        D::Error::custom(format!(
            "found {text:?}, expected a minisign public key: the 56 characters of the second line of a minisign.pub, RW…"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    fn read(text: &str) -> Result<Trust, String> {
        let source = Source::parse("weir.toml".as_ref(), text).unwrap();
        source.read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_is_read_with_its_kinds() {
        let key = "[[key]]\npublic = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\n";
        let trust = read(&format!("require_signatures = true\n{key}kinds = [\"filter\", \"auth\"]")).unwrap();
        assert_eq!(trust.keys[0].kinds, [SignedKind::Filter, SignedKind::Auth]);
        assert!(read(key).unwrap_err().contains("the key `kinds` is missing"));
        assert!(read(&format!("{key}kinds = [\"gateway\"]")).unwrap_err().contains("`auth`"));
        let wrong = read("[[key]]\npublic = \"RWQf\"\nkinds = [\"auth\"]").unwrap_err();
        assert!(wrong.starts_with("weir.toml:2: ") && wrong.contains("minisign.pub"), "{wrong}");
    }
}

//! Secrets of a binding's configuration: the file says where they stand, and nothing else ever shows them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::Spec;
use super::file::CONFIG_BYTES;
use crate::plugin::LoadError;

/// Longest secret, in bytes.
const SECRET_BYTES: u64 = 16 * 1024;
/// Shorter values are not looked for in texts: they would be found in every other word.
const REDACTED_BYTES: usize = 6;

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Secret {
    /// A variable of the router's environment.
    Env(String),
    /// A file, at most 16 KiB of UTF-8; line ends at its end are left out.
    File(PathBuf),
}

/// The values of a binding's secrets, for as long as it is loaded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    values: Vec<(String, String)>,
    /// What is looked for in texts: each value, its lines, and both as they stand in JSON and in Rust's debug texts.
    forms: Vec<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} secrets", self.values.len())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(out, "the environment variable {name}"),
            Self::File(path) => write!(out, "the file {}", path.display()),
        }
    }
}

impl Secret {
    /// Its value. Err says where it was looked for and why it is not there.
    fn read(&self) -> Result<String, String> {
        match self {
            Self::Env(name) => match std::env::var(name) {
                Ok(value) if value.is_empty() => Err(format!("{self} is empty")),
                Ok(value) => Ok(value),
                Err(error) => Err(format!("{self}: {error}")),
            },
            Self::File(path) => {
                let failed = |why: String| format!("{self}: {why}");
                let found = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
                if !found.is_file() || found.len() > SECRET_BYTES {
                    let accepted = format!("accepted is a regular file of at most {SECRET_BYTES} bytes");
                    return Err(failed(accepted));
                }
                let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
                match text.trim_end_matches(['\r', '\n']) {
                    "" => Err(format!("{self} is empty")),
                    value => Ok(value.to_owned()),
                }
            }
        }
    }
}

impl Secrets {
    /// Reads all that a binding asks for.
    pub fn read(spec: &Spec) -> Result<Self, LoadError> {
        let read = |(key, secret): &(String, Secret)| match secret.read() {
            Ok(value) => Ok((key.clone(), value)),
            Err(reason) => Err(LoadError::Secret { key: key.clone(), reason }),
        };
        let values: Vec<_> = spec.secrets.iter().map(read).collect::<Result<_, _>>()?;
        let mut forms: Vec<_> = values.iter().flat_map(|(_, value)| forms(value)).collect();
        // A form within another one must not spoil it.
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Ok(Self { values, forms })
    }

    /// The configuration with the secrets in it, as JSON text for `init`.
    pub fn fill(&self, config: &str) -> Result<String, LoadError> {
        let refuse = |why: String| LoadError::at(&["config"], why);
        if self.values.is_empty() {
            return Ok(config.to_owned());
        }
        let mut table: Map<String, Value> =
            serde_json::from_str(config).map_err(|error| refuse(error.to_string()))?;
        table.extend(self.values.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
        let text = serde_json::to_string(&table).map_err(|error| refuse(error.to_string()))?;
        if text.len() > CONFIG_BYTES {
            let why = format!("[config] with its secrets takes {} bytes: at most {CONFIG_BYTES}", text.len());
            return Err(refuse(why));
        }
        Ok(text)
    }

    /// Changes when a value changes; says nothing of the values.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (key, value) in &self.values {
            for part in [key, value] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }

    /// The text without the secrets that stand in it: what a plugin says goes to logs and lists.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let found: Vec<_> = self.forms.iter().filter(|form| text.contains(form.as_str())).collect();
        found.into_iter().fold(Cow::Borrowed(text), |text, form| text.replace(form, "[secret]").into())
    }
}

fn forms(value: &str) -> Vec<String> {
    let parts = std::iter::once(value).chain(value.lines().map(str::trim));
    let mut forms = Vec::new();
    for part in parts.filter(|part| part.len() >= REDACTED_BYTES) {
        let json = serde_json::to_string(part).unwrap_or_default();
        let json = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(part);
        forms.extend([part, json].map(str::to_owned));
        forms.extend([part.escape_debug().to_string(), part.escape_default().to_string()]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(secret: Secret) -> Spec {
        Spec { secrets: vec![("token".into(), secret)], config: r#"{"a":1}"#.into(), ..Spec::bare("x") }
    }

    #[test]
    fn a_file_is_filled_in_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret-value\n").unwrap();
        let spec = spec(Secret::File(file.path().to_owned()));
        let secrets = Secrets::read(&spec).unwrap();
        assert_eq!(secrets.fill(&spec.config).unwrap(), r#"{"a":1,"token":"s3cret-value"}"#);
        assert_eq!(secrets.redact("bad token s3cret-value!"), "bad token [secret]!");
        assert!(!format!("{spec:?} {secrets:?}").contains("s3cret"));
        std::fs::write(file.path(), "another-value").unwrap();
        assert_ne!(Secrets::read(&spec).unwrap().digest(), secrets.digest());
    }

    #[test]
    fn escaped_and_line_by_line_it_is_not_shown_either() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let value = "he said \"hi\"\tSQ\nAAAPEMLINE2\nend";
        std::fs::write(file.path(), value).unwrap();
        let secrets = Secrets::read(&spec(Secret::File(file.path().to_owned()))).unwrap();
        for text in [value.to_owned(), format!("{value:?}"), serde_json::to_string(value).unwrap()] {
            let shown = secrets.redact(&text);
            assert!(!shown.contains("hi") && !shown.contains("PEM"), "{shown}");
        }
        assert_eq!(secrets.redact("line AAAPEMLINE2"), "line [secret]");
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (secret, part) in [
            (Secret::Env("WEIR_NO_SUCH_VARIABLE".into()), "WEIR_NO_SUCH_VARIABLE"),
            (Secret::File("/no/such/file".into()), "/no/such/file"),
            (Secret::File("/dev".into()), "regular file"),
        ] {
            let said = Secrets::read(&spec(secret)).unwrap_err().to_string();
            assert!(said.starts_with("[secrets] token: ") && said.contains(part), "{said}");
        }
    }
}

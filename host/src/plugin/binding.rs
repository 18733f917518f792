//! A binding: one plugin at one place of the pipeline, as its `NAME.toml` says.

use std::path::Path;

use serde::Deserialize;
use weir_contract::topic::Pattern;

use super::{Kind, LoadError};
use crate::config::{ConfigError, Grant, Source as ConfigSource};

/// What happens to a message when the plugin fails (not when it says no).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// The publisher is told `plugin-failed`.
    Deny,
    /// The message goes on as if the plugin were not there. Never for auth.
    Pass,
    /// The message ends here, outcome `filtered`.
    Drop,
    /// The message is set aside, outcome `dead-lettered`.
    DeadLetter,
    /// As `deny`, and the session is closed.
    Disconnect,
}

impl Policy {
    /// The word in a binding file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::DeadLetter => "dead-letter",
            Self::Disconnect => "disconnect",
        }
    }

    /// Safe for the kind: an auth or filter that fails lets nothing through.
    pub fn default_for(kind: Kind) -> Self {
        match kind {
            Kind::Auth | Kind::Filter | Kind::Storage => Self::Deny,
            Kind::Transform => Self::DeadLetter,
        }
    }
}

/// Where the component comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `NAME.wasm` in the plugins folder, by stem.
    File(String),
    /// Embedded in the binary, written `stock:NAME`.
    Stock(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(name) => write!(f, "{name}.wasm"),
            Self::Stock(name) => write!(f, "stock:{name}"),
        }
    }
}

/// One binding, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// `[a-z0-9][a-z0-9-]{0,62}`, unique in the folder.
    pub name: String,
    /// The component.
    pub source: Source,
    /// Topics whose messages it gets; for storage, topics that it stores.
    pub topics: Vec<Pattern>,
    /// Lower comes first, within the kind; then by name.
    pub order: i64,
    /// None = the kind's default.
    pub on_error: Option<Policy>,
    /// Topics that it may emit to although the publisher may not.
    pub emit: Vec<Pattern>,
    /// Account realms that it may look up.
    pub accounts: Vec<String>,
    /// URLs below which a storage plugin may post.
    pub post: Vec<Grant>,
    /// The plugin's own configuration, as JSON text.
    pub config: String,
}

/// Order of a binding that says none.
pub const DEFAULT_ORDER: i64 = 100;
/// Longest `[config]`, as JSON, in bytes.
const CONFIG_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: Option<String>,
    plugin: Option<String>,
    topics: Option<Vec<String>>,
    order: Option<i64>,
    on_error: Option<Policy>,
    #[serde(default)]
    emit: Vec<String>,
    #[serde(default)]
    accounts: Vec<String>,
    #[serde(default)]
    post: Vec<String>,
    enabled: Option<bool>,
    config: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Several {
    binding: Vec<Table>,
}

/// Whether a name can be a plugin's: it becomes a file name, a metric label and a URL part.
pub fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 63 && bytes.next().is_some_and(plain) && bytes.all(|byte| plain(byte) || byte == b'-')
}

impl Spec {
    /// The binding of a component that has no `NAME.toml`: every topic, default order, no configuration.
    pub fn bare(stem: &str) -> Self {
        Self {
            name: stem.to_owned(),
            source: Source::File(stem.to_owned()),
            topics: Pattern::parse("#").into_iter().collect(),
            order: DEFAULT_ORDER,
            on_error: None,
            emit: Vec::new(),
            accounts: Vec::new(),
            post: Vec::new(),
            config: "{}".into(),
        }
    }

    /// Reads `STEM.toml`: one binding at the top level, or several as `[[binding]]`. Disabled ones are left out.
    pub fn parse(stem: &str, file: &Path, text: &str) -> Result<Vec<Self>, LoadError> {
        let source = ConfigSource::parse(file, text)?;
        // What stands at the top level decides which of the two forms it is; mistakes are found by `read`.
        let several = text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("binding"));
        let mut specs = Vec::new();
        if several {
            for (at, table) in source.read::<Several>()?.binding.into_iter().enumerate() {
                let at = at.to_string();
                specs.extend(Self::checked(stem, table, &|key, why| {
                    source.error(&["binding", &at, key], why)
                })?);
            }
        } else {
            let table = source.read::<Table>()?;
            specs.extend(Self::checked(stem, table, &|key, why| source.error(&[key], why))?);
        }
        Ok(specs)
    }

    /// None: it is disabled.
    fn checked(
        stem: &str,
        table: Table,
        refuse: &dyn Fn(&str, String) -> ConfigError,
    ) -> Result<Option<Self>, LoadError> {
        if table.enabled == Some(false) {
            return Ok(None);
        }
        let name = table.name.unwrap_or_else(|| stem.to_owned());
        if !valid_name(&name) {
            let why = format!("name {name:?}: accepted are 1 to 63 of a-z, 0-9 and -, not beginning with -");
            return Err(refuse("name", why).into());
        }
        let source = match table.plugin.as_deref() {
            None => Source::File(stem.to_owned()),
            Some(plugin) => match plugin.strip_prefix("stock:") {
                Some(stock) => Source::Stock(stock.to_owned()),
                None if valid_name(plugin) => Source::File(plugin.to_owned()),
                None => {
                    let why = format!("plugin {plugin:?}: accepted are stock:NAME, or NAME of NAME.wasm");
                    return Err(refuse("plugin", why).into());
                }
            },
        };
        let patterns = |key: &str, texts: Vec<String>| -> Result<Vec<Pattern>, LoadError> {
            let parse = |text: String| {
                Pattern::parse(&text).map_err(|error| refuse(key, format!("{key} {text:?}: {error}")).into())
            };
            texts.into_iter().map(parse).collect()
        };
        let grant = |text: String| -> Result<Grant, LoadError> {
            text.parse().map_err(|error| refuse("post", format!("post {text:?}: {error}")).into())
        };
        let post = table.post.into_iter().map(grant).collect::<Result<_, _>>()?;
        let config = serde_json::to_string(&table.config.unwrap_or_default())
            .map_err(|error| refuse("config", format!("[config] is no JSON: {error}")))?;
        if config.len() > CONFIG_BYTES {
            let why = format!("[config] takes {} bytes as JSON: at most {CONFIG_BYTES}", config.len());
            return Err(refuse("config", why).into());
        }
        Ok(Some(Self {
            topics: patterns("topics", table.topics.unwrap_or_else(|| vec!["#".into()]))?,
            emit: patterns("emit", table.emit)?,
            order: table.order.unwrap_or(DEFAULT_ORDER),
            on_error: table.on_error,
            accounts: table.accounts,
            post,
            name,
            source,
            config,
        }))
    }

    /// Whether messages of this topic are its business.
    pub fn takes(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether the deployer let it emit there.
    pub fn may_emit(&self, topic: &str) -> bool {
        self.emit.iter().any(|pattern| pattern.matches(topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Spec>, String> {
        Spec::parse("stem", Path::new("stem.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_the_bare_binding() {
        assert_eq!(parse("").unwrap(), [Spec::bare("stem")]);
    }

    #[test]
    fn several_bindings_may_use_one_component() {
        let text = "[[binding]]\nname = 'a'\nplugin = 'stock:dedupe'\n[[binding]]\nname = 'b'\norder = 5\n[binding.config]\nx = 1\n";
        let specs = parse(text).unwrap();
        assert_eq!(specs[0].source, Source::Stock("dedupe".into()));
        assert_eq!((specs[1].order, specs[1].config.as_str()), (5, r#"{"x":1}"#));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, part) in [
            ("order = 1\ntopic = ['a']", 2, "did you mean `topics`?"),
            ("\ntopics = ['a/#/b']", 2, "topics \"a/#/b\""),
            ("name = '../x'", 1, "accepted are 1 to 63"),
            ("on-error = 'explode'", 1, "dead-letter"),
            ("order = 1\npost = ['http://a/../b']", 2, "post \"http://a/../b\""),
            ("[[binding]]\n[[binding]]\nplugin = 'http://x'", 3, "accepted are stock:NAME"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(&format!("stem.toml:{line}: ")) && said.contains(part), "{said}");
        }
    }

    #[test]
    fn names() {
        for good in ["a", "0", "json-map", &"x".repeat(63)] {
            assert!(valid_name(good), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "..", "a.b", &"x".repeat(64)] {
            assert!(!valid_name(bad), "{bad}");
        }
    }
}

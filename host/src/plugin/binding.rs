//! A binding: one plugin at one place of the pipeline, as its `NAME.toml` says.

mod file;
mod sample;
mod secret;

pub use sample::{Expect, Sample};
pub use secret::{Secret, Secrets};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_contract::topic::Pattern;

use super::Kind;
use crate::config::{Grant, LimitsTable};

/// What happens to a message when the plugin fails (not when it says no).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The word in binding files and logs.
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
    /// Imports beyond those that every plugin may have.
    pub imports: Vec<String>,
    /// What it is not granted is counted and let through.
    pub count_only: bool,
    /// Whom an instance serves.
    pub isolation: Isolation,
    /// Limits that differ from the router's.
    pub limits: LimitsTable,
    /// Failures that a new version may have.
    pub budget: Budget,
    /// Whether messages depend on it.
    pub mode: Mode,
    /// Messages that a new version must handle as they say.
    pub samples: Vec<Sample>,
    /// Values of the configuration that stand elsewhere: key, and where.
    pub secrets: Vec<(String, Secret)>,
    /// The plugin's own configuration, as JSON text, without the secrets.
    pub config: String,
}

/// Whom one instance of a plugin serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Everybody, one message after the other.
    #[default]
    Shared,
    /// One tenant: no memory is shared with another's messages.
    PerTenant,
    /// One message: slow, some 10 µs more.
    PerMessage,
}

/// How many failures a version may have after it went live, before the one before it is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// One more is too many; 0 = the first one.
    pub failures: u32,
    /// So long after the swap.
    pub window: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { failures: 5, window: Duration::from_secs(5 * 60) }
    }
}

/// Whether messages depend on a binding.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Mode {
    /// They do.
    #[default]
    Live,
    /// It sees a share of what another binding gets, and is only compared with it.
    Shadow {
        /// The other binding.
        of: String,
        /// Share of its messages, above 0 and at most 1.
        sample: f64,
    },
}

/// Order of a binding that says none.
pub const DEFAULT_ORDER: i64 = 100;
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
            imports: Vec::new(),
            count_only: false,
            isolation: Isolation::default(),
            limits: LimitsTable::default(),
            budget: Budget::default(),
            mode: Mode::default(),
            samples: Vec::new(),
            secrets: Vec::new(),
            config: "{}".into(),
        }
    }

    /// Whether messages of this topic are its business.
    pub fn takes(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether the deployer let it emit there.
    pub fn may_emit(&self, topic: &str) -> bool {
        self.emit.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether the deployer let it bring sessions into these topics, and out of them.
    pub fn may_enrol(&self, pattern: &str) -> bool {
        self.emit.iter().any(|granted| granted.covers(pattern))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
            ("order = 1\nemit = ['$sys/#']", 2, "the router's own"),
            ("imports = ['wasi:http/types']", 1, "accepted are wasi:random/insecure"),
            ("\nisolation = 'none'", 2, "per-tenant"),
            ("share = 0.5", 1, "share is for mode"),
            ("mode = 'shadow'", 1, "wants shadow-of"),
            ("mode = 'shadow'\nshadow-of = 'stem'", 2, "another binding's name"),
            ("mode = 'shadow'\nshadow-of = 'x'\nshare = 1.5", 3, "above 0, at most 1"),
            ("[limits]\nmemory = 1", 2, "memory_bytes"),
            ("[limits]\ndeadline = 5", 2, "a duration such as"),
            ("[budget]\nwindow = 'x'", 2, "a duration such as"),
            ("[secrets]\na = { path = 'x' }", 2, "file"),
            ("[config]\na = 1\n[secrets]\na = { env = 'X' }", 3, "only one is accepted"),
            ("[[sample]]\ntopic = 'a'", 1, "exactly one of json, text, base64"),
            ("[[sample]]\ntopic = 'a/#'\ntext = ''", 1, "topic \"a/#\""),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with(&format!("stem.toml:{line}: ")) && said.contains(part), "{said}");
        }
    }

    #[test]
    fn every_key_says_what_it_says() {
        let text = "count-only = true\nimports = ['wasi:random/random']\nisolation = 'per-tenant'\nmode = 'shadow'\n\
            shadow-of = 'x'\nshare = 0.5\n[limits]\nmemory_bytes = '1MiB'\n[budget]\nfailures = 1\nwindow = '1m'\n\
            [secrets]\na = { env = 'X' }\n[[sample]]\ntopic = 't'\njson = { a = 1 }\nexpect = 'keep'\n";
        let spec = parse(text).unwrap().remove(0);
        let sample = Sample {
            topic: "t".into(),
            payload: br#"{"a":1}"#.to_vec(),
            content_type: Some("application/json"),
            expect: Expect::Keep,
        };
        let expected = Spec {
            count_only: true,
            imports: vec!["wasi:random/random".into()],
            isolation: Isolation::PerTenant,
            mode: Mode::Shadow { of: "x".into(), sample: 0.5 },
            limits: LimitsTable { memory_bytes: Some(1 << 20), ..LimitsTable::default() },
            budget: Budget { failures: 1, window: Duration::from_secs(60) },
            secrets: vec![("a".into(), Secret::Env("X".into()))],
            samples: vec![sample],
            ..Spec::bare("stem")
        };
        assert_eq!(spec, expected);
        assert_eq!(parse("count_only = true\non_error = 'drop'").unwrap()[0].on_error, Some(Policy::Drop));
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

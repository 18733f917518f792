use crate::ConfigError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use weir_contract::packed::{self, tag};

/// What every plugin is: something made from its configuration.
///
/// A type that implements `Default` is a plugin already; it takes no configuration, and a key in `[config]` is
/// refused. A type with a configuration implements this trait, and not `Default`.
///
/// ```
/// use weir_plugin::{ConfigError, Context, Plugin, serde::Deserialize};
///
/// #[derive(Deserialize)]
/// #[serde(crate = "weir_plugin::serde", deny_unknown_fields)]
/// struct Config {
///     most_celsius: f64,
/// }
///
/// struct NotTooHot {
///     config: Config,
/// }
///
/// impl Plugin for NotTooHot {
///     type Config = Config;
///
///     fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
///         if !config.most_celsius.is_finite() {
///             return Err(ConfigError::new("/most_celsius", "must be finite"));
///         }
///         Ok(Self { config })
///     }
/// }
/// ```
pub trait Plugin: Sized + 'static {
    /// The binding's `[config]` table. Derive serde's `Deserialize` with `deny_unknown_fields`, so that a
    /// misspelt key is told and not ignored; the SDK turns serde's error into path and reason.
    type Config: DeserializeOwned;

    /// First call on every instance: at load (on a trial instance), per shard, and after each trap. `state`
    /// can be read, not written. Has 5 s.
    fn new(config: Self::Config, context: &Context) -> Result<Self, ConfigError>;
}

impl<T: Default + 'static> Plugin for T {
    type Config = NoConfig;

    fn new(NoConfig {}: NoConfig, _context: &Context) -> Result<Self, ConfigError> {
        Ok(T::default())
    }
}

/// The configuration of a plugin that takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoConfig {}

impl<'de> Deserialize<'de> for NoConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        Nothing::deserialize(from).map(|Nothing {}| Self {})
    }
}

/// Where and as what a plugin runs.
#[derive(Debug, Clone)]
pub struct Context(Vec<u8>);

impl Context {
    pub(crate) fn from_packed(blob: Vec<u8>) -> Self {
        Self(blob)
    }

    /// The file's name without `.wasm`.
    pub fn plugin(&self) -> &str {
        packed::text(&self.0, tag::PLUGIN).unwrap_or_default()
    }

    /// The binding's name.
    pub fn binding(&self) -> &str {
        packed::text(&self.0, tag::BINDING).unwrap_or_default()
    }

    /// SHA-256 of the component, 32 bytes.
    pub fn digest(&self) -> &[u8] {
        packed::first(&self.0, tag::DIGEST).unwrap_or_default()
    }

    /// The router's version.
    pub fn host_version(&self) -> &str {
        packed::text(&self.0, tag::HOST_VERSION).unwrap_or_default()
    }

    /// A number that changes with each start of the router.
    pub fn run(&self) -> u64 {
        packed::u64_of(&self.0, tag::RUN).unwrap_or_default()
    }

    /// Whether this is the trial instance of a load, which never sees live traffic.
    pub fn is_trial(&self) -> bool {
        packed::flag_of(&self.0, tag::TRIAL)
    }
}

/// Makes a plugin from the texts that cross the boundary.
pub(crate) fn from_json<P: Plugin>(config: &str, context: &Context) -> Result<P, ConfigError> {
    let config = read_json(config.as_bytes()).map_err(|(path, reason)| {
        // The deployer wrote TOML: a place in the JSON that the router made of it would mislead.
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
        ConfigError { path, reason }
    })?;
    P::new(config, context)
}

/// Reads JSON; an error is the JSON Pointer of its place, and the reason.
pub(crate) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, (String, String)> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| (pointer(error.path()), error.inner().to_string()))?;
    reader.end().map_err(|error| (String::new(), error.to_string()))?;
    Ok(value)
}

/// RFC 6901: `~` and `/` within a key are escaped.
pub(crate) fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                text.push('/');
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // An enum's variant is no level of the document's own when it is a plain text, and a key when
            // it is a map; serde reports the map's key as the variant.
            Segment::Enum { variant } => {
                text.push('/');
                text.push_str(variant);
            }
            Segment::Unknown => {}
        }
    }
    text
}

//! The configuration: defaults, then the file, then environment and flags, each overriding the one before.
//!
//! [`Config::load`] is the only way in. It refuses what it does not know, and says in which line and which
//! key was meant. [`EXAMPLE`] is the commented file that `weir init` writes; it spells out every default.

mod accounts;
mod bridge;
mod compile;
mod dead_letters;
mod delivery;
mod endpoint;
mod error;
mod file;
mod gateway;
mod limits;
mod log;
mod outbox;
mod secret;
mod site;
mod source;
mod tls;
mod trust;
pub(crate) mod unit;
mod validate;
mod words;

pub use accounts::AccountLimits;
pub use bridge::{Bridge, BrokerUrl, MqttBridge};
pub use compile::Compile;
pub use dead_letters::DeadLetters;
pub use delivery::{DeliveryRule, Overflow};
pub use endpoint::{Endpoint, EndpointError, Grant, Network};
pub use error::ConfigError;
pub use gateway::{Flavour, Ganomics, Mqtt, Paikea, Picloud, Rooms, Tenta, TentaFlavour};
pub use limits::{Limits, LimitsTable, PluginLimits};
pub use log::LogRule;
pub use outbox::{HeaderText, Outbox, Webhook, post_header};
pub use secret::Secret;
pub use site::{BasePath, ForwardedHeader, Proxy, Site};
pub use source::Source;
pub use tls::{ClientAuth, Tls, TlsError};
pub use trust::{SignedKind, Trust, TrustedKey};
pub use unit::parse_duration;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The commented file that `weir init` writes. Its values are the defaults.
pub const EXAMPLE: &str = include_str!("config/example.toml");

/// Everything that the operator can set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the store and the admin token; made at the first start.
    pub data: PathBuf,
    /// Folder of plugins and their bindings.
    pub plugins: PathBuf,
    /// Threads that run plugins; 0 = one per core.
    #[serde(deserialize_with = "unit::count")]
    pub shards: usize,
    /// With less room on the disk nothing is accepted, in bytes.
    #[serde(deserialize_with = "unit::size")]
    pub free_floor: usize,
    /// The public listener.
    pub http: Http,
    /// The operator's listener.
    pub admin: Admin,
    /// The listener of Ganomics' tablets; none: there is none.
    pub ganomics: Option<Ganomics>,
    /// MQTT clients; none: they are not served.
    pub mqtt: Option<Mqtt>,
    /// The listeners of Paikea's devices and pages; none: there are none.
    pub paikea: Option<Paikea>,
    /// The listener of picloud's clients; none: there is none.
    pub picloud: Option<Picloud>,
    /// The listener of rooms; none: there is none.
    pub rooms: Option<Rooms>,
    /// The listener of tenta's clients; none: there is none.
    pub tenta: Option<Tenta>,
    /// Brokers of others, whose client the router is.
    pub bridge: Bridge,
    /// Proxies in front of the listeners.
    pub proxy: Proxy,
    /// Limits of clients.
    pub limits: Limits,
    /// How many accounts there may be.
    pub accounts: AccountLimits,
    /// Limits of plugins.
    pub plugin: PluginLimits,
    /// How plugins are compiled.
    pub compile: Compile,
    /// The program that compiles plugins, by its verb `compile-plugin`; none = the running one. Not for the
    /// file: it is for those who run the router inside a program of their own.
    #[serde(skip)]
    pub compiler: Option<PathBuf>,
    /// Whose plugins are accepted.
    pub trust: Trust,
    /// Up to where bindings may set their own; what is left out is [`LimitsTable::ceiling`].
    pub plugin_ceiling: LimitsTable,
    /// Which messages are kept, and for how long; the first rule that matches a topic wins.
    #[serde(rename = "log")]
    pub logs: Vec<LogRule>,
    /// How many messages that were set aside are kept.
    pub dead_letters: DeadLetters,
    /// How posts are sent.
    pub outbox: Outbox,
    /// Messages that are posted to a URL.
    #[serde(rename = "webhook")]
    pub webhooks: Vec<Webhook>,
    /// What becomes of messages for readers that fall behind; the first rule that matches a topic wins.
    pub delivery: Vec<DeliveryRule>,
    /// What the router says about itself.
    pub logging: Logging,
}

/// The listener of devices, pages and services.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// Pages of these origins (`https://example.org`) may connect; empty = pages of the same host only,
    /// `*` = any.
    pub origins: Vec<String>,
}

/// The listener of the operator: metrics, health, keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port.
    #[serde(deserialize_with = "unit::address")]
    pub listen: SocketAddr,
    /// See [`Site::tls`].
    pub tls: Option<Tls>,
    /// See [`Site::proxy_protocol`].
    pub proxy_protocol: bool,
    /// See [`Site::base_path`].
    pub base_path: BasePath,
    /// Names, beside `localhost` and IP addresses, by which the listener may be called.
    pub hosts: Vec<String>,
}

/// How the router's own log is written, to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// `text` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or per module as `info,weir::plugin=debug`.
    pub level: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What flags and environment set; `None` leaves the file's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `http.listen`.
    pub http: Option<SocketAddr>,
    /// `admin.listen`.
    pub admin: Option<SocketAddr>,
    /// `data`, relative to the working folder.
    pub data: Option<PathBuf>,
    /// `plugins`, relative to the working folder.
    pub plugins: Option<PathBuf>,
    /// `logging.level`.
    pub log_level: Option<String>,
    /// `logging.format`.
    pub log_format: Option<LogFormat>,
}

impl Config {
    /// Reads `path` (none: no file), applies the overrides and checks the result. Relative folders in the
    /// file are relative to the file's own folder, so that the server can be started from anywhere.
    pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            let mut config = Self::default();
            let set = config.apply(overrides);
            return validate::check(&config).map_err(|problem| problem.unplaced(&set));
        };
        let text = file::read(path).map_err(|error| ConfigError::Read { file: path.to_owned(), error })?;
        let source = Source::parse(path, &text)?;
        let mut config: Self = source.read()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.data = folder.join(&config.data);
        config.plugins = folder.join(&config.plugins);
        if let Some(files) = config.ganomics.as_mut().and_then(|ganomics| ganomics.files.as_mut()) {
            *files = folder.join(&files);
        }
        if let Some(Paikea { log, .. }) = &mut config.paikea
            && !log.as_os_str().is_empty()
        {
            *log = folder.join(&log);
        }
        if let Some(ca) = config.bridge.mqtt.as_mut().and_then(|bridge| bridge.ca.as_mut()) {
            *ca = folder.join(&ca);
        }
        config.tls().for_each(|tls| tls.place(folder));
        let set = config.apply(overrides);
        validate::check(&config).map_err(|problem| problem.placed(&source, &set))
    }

    /// Reads the certificates that the listeners will show, and those that a bridge trusts, and says which setting of the file is wrong. `path` is
    /// the file that the configuration was loaded from. Blocks.
    pub fn check_certificates(&self, path: Option<&Path>) -> Result<(), ConfigError> {
        let text = path.map(|path| (path, file::read(path).unwrap_or_default()));
        let source = text.as_ref().and_then(|(path, text)| Source::parse(path, text).ok());
        for site in self.sites() {
            if let Some(Err(error)) = site.tls.as_ref().map(|tls| tls.load().and_then(|_| tls.verifier())) {
                return Err(validate::certificate(&site, &error).placed_or_not(source.as_ref()));
            }
        }
        if let Some(Err(error)) = self.bridge.mqtt.as_ref().map(MqttBridge::authorities) {
            return Err(validate::authorities(error).placed_or_not(source.as_ref()));
        }
        Ok(())
    }

    /// Looks for what the environment must have for webhooks, and says at which setting of the file it is wanted. `path` is
    /// as of [`check_certificates`](Self::check_certificates). Blocks.
    pub fn check_webhooks(&self, path: Option<&Path>) -> Result<(), ConfigError> {
        let text = path.map(|path| (path, file::read(path).unwrap_or_default()));
        let source = text.as_ref().and_then(|(path, text)| Source::parse(path, text).ok());
        validate::headers(&self.webhooks).map_err(|problem| problem.placed_or_not(source.as_ref()))
    }

    /// How every listener is reached.
    pub fn sites(&self) -> Vec<Site> {
        let mut sites = vec![self.http.site(), self.admin.site()];
        sites.extend(self.gateways());
        sites
    }

    /// Whether it is sound, after something was changed that no file says.
    pub fn sound(&self) -> Result<(), ConfigError> {
        validate::check(self).map(drop).map_err(|problem| problem.unplaced(&[]))
    }

    /// Applies the overrides; the answer names the settings that they set.
    fn apply(&mut self, overrides: Overrides) -> Vec<&'static str> {
        let mut set = Vec::new();
        replace(&mut self.http.listen, overrides.http, "http.listen", &mut set);
        replace(&mut self.admin.listen, overrides.admin, "admin.listen", &mut set);
        replace(&mut self.data, overrides.data, "data", &mut set);
        replace(&mut self.plugins, overrides.plugins, "plugins", &mut set);
        replace(&mut self.logging.level, overrides.log_level, "logging.level", &mut set);
        replace(&mut self.logging.format, overrides.log_format, "logging.format", &mut set);
        set
    }
}

fn replace<T>(slot: &mut T, value: Option<T>, name: &'static str, set: &mut Vec<&'static str>) {
    if let Some(value) = value {
        *slot = value;
        set.push(name);
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            plugins: "plugins".into(),
            shards: 0,
            free_floor: 64 << 20,
            http: Http::default(),
            admin: Admin::default(),
            ganomics: None,
            mqtt: None,
            paikea: None,
            picloud: None,
            rooms: None,
            tenta: None,
            bridge: Bridge::default(),
            proxy: Proxy::default(),
            limits: Limits::default(),
            accounts: AccountLimits::default(),
            plugin: PluginLimits::default(),
            compile: Compile::default(),
            compiler: None,
            trust: Trust::default(),
            plugin_ceiling: LimitsTable::ceiling(),
            logs: vec![LogRule::default()],
            dead_letters: DeadLetters::default(),
            outbox: Outbox::default(),
            webhooks: Vec::new(),
            delivery: Vec::new(),
            logging: Logging::default(),
        }
    }
}

impl Http {
    /// How it is reached.
    pub fn site(&self) -> Site {
        Site {
            name: "http",
            key: ["http", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

impl Admin {
    /// How it is reached.
    pub fn site(&self) -> Site {
        Site {
            name: "admin",
            key: ["admin", "listen"],
            listen: self.listen,
            tls: self.tls.clone(),
            proxy_protocol: self.proxy_protocol,
            base_path: self.base_path.clone(),
        }
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            origins: Vec::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: loopback(8081),
            tls: None,
            proxy_protocol: false,
            base_path: BasePath::default(),
            hosts: Vec::new(),
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

#[cfg(test)]
mod tests;

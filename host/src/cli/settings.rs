//! Flags that several verbs share. Each setting can also come from the environment or the file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError, LogFormat, Overrides};

/// The file that is read when none is named, if it is there.
pub(super) const DEFAULT_FILE: &str = "weir.toml";

/// All settings of a server that have a flag.
#[derive(Debug, Default, Args)]
pub(super) struct Settings {
    #[command(flatten)]
    pub(super) place: Place,
    /// Folder of plugins and bindings [default: plugins]
    #[arg(long, value_name = "DIR", env = "WEIR_PLUGINS")]
    pub(super) plugins: Option<PathBuf>,
    /// Public listener [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "WEIR_HTTP")]
    pub(super) http: Option<SocketAddr>,
    #[command(flatten)]
    log: LogFlags,
}

/// How the server logs.
#[derive(Debug, Default, Args)]
pub(super) struct LogFlags {
    /// error, warn, info, debug, trace, or per module as info,weir::plugin=debug [default: info]
    #[arg(long = "log-level", value_name = "LEVEL", env = "WEIR_LOG_LEVEL")]
    pub(super) level: Option<String>,
    /// Shape of log lines [default: text]
    #[arg(long = "log-format", value_name = "FORMAT", env = "WEIR_LOG_FORMAT")]
    pub(super) format: Option<LogFormat>,
}

/// Where a server's data and admin listener are.
#[derive(Debug, Default, Args)]
pub(super) struct Place {
    /// Configuration file [default: weir.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Folder of the store and the admin token [default: data]
    #[arg(long, value_name = "DIR", env = "WEIR_DATA")]
    pub(super) data: Option<PathBuf>,
    /// Admin listener [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", env = "WEIR_ADMIN")]
    pub(super) admin: Option<SocketAddr>,
}

/// How a list is shown, and whose.
#[derive(Debug, Args)]
pub(super) struct Listing {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// `DATA/addresses.json`.
#[derive(serde::Deserialize)]
struct Addresses {
    admin: SocketAddr,
}

impl Settings {
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        self.place.load_with(Overrides {
            http: self.http,
            plugins: self.plugins.clone(),
            log_level: self.log.level.clone(),
            log_format: self.log.format,
            ..Overrides::default()
        })
    }

    /// Whether the listeners' certificates can be used: only who runs the server needs to be able to read them.
    pub(super) fn check_certificates(&self, config: &Config) -> Result<(), ConfigError> {
        config.check_certificates(self.place.file().as_deref())
    }

    /// Looks for what the environment must have for webhooks.
    pub(super) fn check_webhooks(&self, config: &Config) -> Result<(), ConfigError> {
        config.check_webhooks(self.place.file().as_deref())
    }
}

impl Place {
    /// What the operator's verbs need. A server that runs on the data folder has written there where it listens.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let mut config = self.load_with(Overrides::default())?;
        let announced = std::fs::read_to_string(config.data.join("addresses.json")).ok();
        let announced = announced.and_then(|text| serde_json::from_str::<Addresses>(&text).ok());
        if let (None, Some(addresses)) = (self.admin, announced) {
            config.admin.listen = addresses.admin;
        }
        Ok(config)
    }

    fn load_with(&self, overrides: Overrides) -> Result<Config, ConfigError> {
        let overrides = Overrides { data: self.data.clone(), admin: self.admin, ..overrides };
        Config::load(self.file().as_deref(), overrides)
    }

    /// The file that is read, if any.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
        self.config.clone().or_else(default)
    }
}

/// Where to reach a listener on this machine: one that listens on every address is called on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        ip if !ip.is_unspecified() => listen,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listen.port()),
        IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), listen.port()),
    }
}

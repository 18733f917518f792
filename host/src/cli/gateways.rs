//! `weir serve --picloud` and the like: one line that takes over from another system's server, with that server's own
//! defaults and environment variables. Needs no configuration file.

mod ganomics;
mod tenta;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, anyhow, bail};

use super::settings::Settings;
use crate::config::{Config, Paikea, Picloud, TentaFlavour, Tls};

#[derive(Debug, Default, clap::Args)]
pub(super) struct Gateways {
    /// Serve Paikea's devices (port 7777) and pages (7770), with its server's log in the working folder
    #[arg(long)]
    paikea: bool,
    /// Serve picloud's clients, with the variables PORT, API_KEY, USE_TLS, CERT_FILE, KEY_FILE and
    /// ENABLE_INFO_SOCKET of its server
    #[arg(long)]
    picloud: bool,
    /// Serve Ganomics' tablets; the game's binding is made in the plugins folder if it is not there
    #[arg(long)]
    ganomics: bool,
    /// Serve rooms and their endpoints, on 127.0.0.1:8002 as their own server does
    #[arg(long)]
    rooms: bool,
    /// Serve tenta's sensors (MQTT on port 1883) and REST clients (8421), with the variables MQTT_PORT, MQTT_IDENTIFIER,
    /// MQTT_PASSWORD, … of its server; bindings are made in the plugins folder if they are not there
    #[arg(long, conflicts_with = "hermes")]
    tenta: bool,
    /// The same for hermes, which is like tenta: REST clients on port 8000, variables HERMES_MQTT_PORT, …, and TLS
    /// with a certificate of its own if none is configured
    #[arg(long)]
    hermes: bool,
}

impl Gateways {
    /// Changes the configuration accordingly. The environment wins over the file, as flags do.
    pub(super) fn turn_on(&self, config: &mut Config, settings: &Settings) -> anyhow::Result<()> {
        if !self.any() {
            return Ok(());
        }
        settings.make_plugins(config)?;
        if self.paikea {
            config.paikea.get_or_insert_with(paikea);
        }
        if self.picloud {
            picloud(config.picloud.get_or_insert_default(), variable)?;
        }
        if self.ganomics {
            config.ganomics.get_or_insert_default();
        }
        if self.rooms {
            config.rooms.get_or_insert_default();
        }
        if let Some(flavour) = self.sensors() {
            tenta::turn_on(config, flavour, settings.place.file().is_some())?;
        }
        settings.make_way(config);
        Ok(config.sound()?)
    }

    fn any(&self) -> bool {
        self.ganomics || self.paikea || self.picloud || self.rooms || self.sensors().is_some()
    }

    /// Whose sensors are served.
    fn sensors(&self) -> Option<TentaFlavour> {
        let tenta = self.tenta.then_some(TentaFlavour::Tenta);
        tenta.or_else(|| self.hermes.then_some(TentaFlavour::Hermes))
    }

    /// Moves weir's own listeners off ports that others have.
    pub(super) fn make_way(&self, config: &mut Config, settings: &Settings) {
        if self.any() {
            settings.make_way(config);
        }
    }

    /// Makes the bindings without which a gateway has nothing to do.
    pub(super) fn bind(&self, config: &Config) -> anyhow::Result<()> {
        if self.ganomics {
            ganomics::bind(&config.plugins)?;
        }
        if self.sensors().is_some() { tenta::bind(config) } else { Ok(()) }
    }
}

/// The original knows neither a file nor variables, and writes its log where it is started.
fn paikea() -> Paikea {
    Paikea { log: ".".into(), ..Paikea::default() }
}

fn picloud(
    picloud: &mut Picloud,
    variable: impl Fn(&str) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    if let Some(port) = variable("PORT")? {
        picloud
            .listen
            .set_port(port.parse().with_context(|| format!("PORT: found {port:?}, expected 0 to 65535"))?);
    }
    if let Some(key) = variable("API_KEY")? {
        picloud.api_key = key.into();
    }
    if variable("USE_TLS")?.is_some() {
        let (Some(cert), Some(key)) = (variable("CERT_FILE")?, variable("KEY_FILE")?) else {
            bail!("USE_TLS is set: CERT_FILE and KEY_FILE must name the certificate and its key");
        };
        picloud.tls = Some(Tls::new(cert, key));
    }
    picloud.info_socket |= variable("ENABLE_INFO_SOCKET")?.is_some();
    Ok(())
}

/// A variable that is set and not empty. One that cannot be read must not be taken for one that is not there.
fn variable(name: &str) -> anyhow::Result<Option<String>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| anyhow!("{name}: its value is not UTF-8"))?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}

impl Settings {
    /// A start without a file has its plugins in the data folder.
    fn make_plugins(&self, config: &mut Config) -> anyhow::Result<()> {
        if self.place.file().is_none() && self.plugins.is_none() {
            config.plugins = config.data.join("plugins");
            std::fs::create_dir_all(&config.plugins)
                .with_context(|| format!("cannot make the plugins folder {}", config.plugins.display()))?;
        }
        Ok(())
    }

    /// Without a file weir's own listeners are on their usual ports or, where a gateway or another program has these, on
    /// free ones.
    fn make_way(&self, config: &mut Config) {
        if self.place.file().is_some() {
            return;
        }
        let taken: Vec<u16> = config.gateways().iter().map(|site| site.listen.port()).collect();
        let usual = |address: SocketAddr| match std::net::TcpListener::bind(address) {
            Ok(_) if !taken.contains(&address.port()) => address,
            _ => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        };
        if self.http.is_none() {
            config.http.listen = usual(config.http.listen);
        }
        if self.place.admin.is_none() {
            config.admin.listen = usual(config.admin.listen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rooms;

    #[test]
    fn paikea_has_the_ports_and_the_log_of_its_server() {
        let made = paikea();
        assert_eq!(
            (made.device.to_string(), made.page.to_string()),
            ("0.0.0.0:7777".into(), "127.0.0.1:7770".into())
        );
        assert_eq!(made.log, std::path::Path::new("."));
    }

    #[test]
    fn one_line_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config { data: folder.path().join("data"), ..Config::default() };
        Gateways { rooms: true, ..Gateways::default() }.turn_on(&mut config, &Settings::default()).unwrap();
        let rooms = config.rooms.clone().unwrap();
        assert_eq!((rooms.listen.to_string().as_str(), rooms.keep_open), ("127.0.0.1:8002", false));
        assert!(config.picloud.is_none() && config.plugins == config.data.join("plugins"));
        assert!(config.plugins.is_dir());
        // What a file says of it stays.
        config.rooms = Some(crate::config::Rooms { keep_open: true, ..rooms });
        Gateways { rooms: true, ..Gateways::default() }.turn_on(&mut config, &Settings::default()).unwrap();
        assert!(config.rooms.unwrap().keep_open);
    }

    #[test]
    fn a_gateway_may_have_the_ports_that_are_usually_ours() {
        let mut config = Config { rooms: Some(Rooms::default()), ..Config::default() };
        config.rooms.as_mut().unwrap().listen.set_port(config.http.listen.port());
        Settings::default().make_way(&mut config);
        assert_eq!(config.http.listen.port(), 0);
        config.sound().unwrap();
    }

    #[test]
    fn picloud_has_the_variables_of_its_server() {
        let with = |set: &[(&str, &str)]| {
            let mut made = Picloud::default();
            let variable = |name: &str| {
                Ok(set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
            };
            picloud(&mut made, variable).map(|()| made).map_err(|error| error.to_string())
        };
        let made = with(&[("PORT", "9"), ("API_KEY", "k"), ("ENABLE_INFO_SOCKET", "1")]).unwrap();
        assert_eq!((made.listen.port(), made.api_key.as_str(), made.info_socket), (9, "k", true));
        let plain = with(&[]).unwrap();
        assert_eq!(plain, Picloud::default());
        assert_eq!(plain.listen.to_string(), "0.0.0.0:9000");
        let sealed = with(&[("USE_TLS", "1"), ("CERT_FILE", "c"), ("KEY_FILE", "k")]).unwrap();
        assert_eq!(sealed.tls, Some(Tls::new("c", "k")));
        assert!(
            with(&[("USE_TLS", "1"), ("CERT_FILE", "c")]).unwrap_err().contains("must name the certificate")
        );
        assert!(with(&[("PORT", "x")]).unwrap_err().contains("PORT: found \"x\""));
    }
}

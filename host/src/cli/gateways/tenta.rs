//! `weir serve --tenta` and `--hermes`: what the server of one of these and its MQTT broker did together, with the
//! server's own variables.

mod bindings;
mod login;
mod sealed;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};

use super::variable;
use crate::cli::run;
use crate::config::{Config, LogRule, Mqtt, MqttBridge, Tenta, TentaFlavour};

/// Port of the broker.
const MQTT_PORT: u16 = 1883;
/// How long messages of sensors are kept in their log, for who makes the stored data anew: as long as the lines of
/// sensors' own logs.
const LOG_AGE: Duration = Duration::from_secs(8 * 7 * 86_400);

/// All plugin calls of one message: the filter alone has half of it for a message of many thousand measurements.
const PASS: Duration = Duration::from_secs(2);

/// What a server calls its variables. Of several the first one that is set counts.
struct Names {
    port: u16,
    environment: &'static [&'static str],
    commit_sha: &'static str,
    branch_name: &'static str,
    mqtt_hostname: &'static str,
    mqtt_port: &'static str,
    base_topic: Option<&'static str>,
    user: &'static [&'static str],
    password: &'static str,
    /// Those of its database, which is not needed any more, begin with this.
    unused: &'static str,
}

const TENTA: Names = Names {
    port: 8421,
    environment: &["ENVIRONMENT"],
    commit_sha: "COMMIT_SHA",
    branch_name: "BRANCH_NAME",
    mqtt_hostname: "MQTT_HOSTNAME",
    mqtt_port: "MQTT_PORT",
    base_topic: None,
    user: &["MQTT_IDENTIFIER"],
    password: "MQTT_PASSWORD",
    unused: "POSTGRESQL_",
};

const HERMES: Names = Names {
    port: 8000,
    environment: &["HERMES_ENVIRONMENT", "ENVIRONMENT"],
    commit_sha: "HERMES_COMMIT_SHA",
    branch_name: "HERMES_BRANCH_NAME",
    mqtt_hostname: "HERMES_MQTT_URL",
    mqtt_port: "HERMES_MQTT_PORT",
    base_topic: Some("HERMES_MQTT_BASE_TOPIC"),
    // Where there are both, the identifier is the server's client identifier.
    user: &["HERMES_MQTT_USERNAME", "HERMES_MQTT_IDENTIFIER"],
    password: "HERMES_MQTT_PASSWORD",
    unused: "HERMES_POSTGRESQL_",
};

impl Names {
    fn of(flavour: TentaFlavour) -> &'static Self {
        if flavour == TentaFlavour::Hermes { &HERMES } else { &TENTA }
    }
}

/// Turns both gateways on. `has_file`: what the configuration's file says of logs is all of it.
pub(super) fn turn_on(config: &mut Config, flavour: TentaFlavour, has_file: bool) -> anyhow::Result<()> {
    listeners(config, flavour, variable)?;
    let Some(tenta) = &config.tenta else { return Ok(()) };
    if !has_file {
        let topics = topics(&tenta.base()).to_vec();
        let rule = LogRule { name: "sensors".into(), topics, max_age: Some(LOG_AGE), ..LogRule::default() };
        config.logs.insert(0, rule);
        config.plugin.pass_deadline = config.plugin.pass_deadline.max(PASS);
    }
    // hermes' stations speak TLS and nothing else, but for those that are being developed.
    let host = tenta.mqtt_hostname.clone();
    let wanted = flavour == TentaFlavour::Hermes && tenta.environment == "production";
    let slots =
        [config.tenta.as_mut().map(|tenta| &mut tenta.tls), config.mqtt.as_mut().map(|mqtt| &mut mqtt.tls)];
    for tls in slots.into_iter().flatten().filter(|tls| wanted && tls.is_none()) {
        run::data_folder(&config.data)?;
        *tls = Some(sealed::certificate(&config.data, &host)?);
    }
    Ok(())
}

/// The environment wins over the file.
fn listeners(
    config: &mut Config,
    flavour: TentaFlavour,
    variable: impl Fn(&str) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    let names = Names::of(flavour);
    let port =
        match variable(names.mqtt_port)? {
            Some(port) => Some(port.parse().with_context(|| {
                format!("{}: found {port:?}, expected a port, 0 to 65535", names.mqtt_port)
            })?),
            None => None,
        };
    let mqtt_port = match &mut config.bridge.mqtt {
        Some(bridge) => {
            bridge.url.port = port.unwrap_or(bridge.url.port);
            bridge.url.port
        }
        None => {
            let fresh = || Mqtt { listen: everywhere(MQTT_PORT), ..Mqtt::default() };
            let mqtt = config.mqtt.get_or_insert_with(fresh);
            mqtt.listen.set_port(port.unwrap_or(mqtt.listen.port()));
            mqtt.listen.port()
        }
    };
    let fresh = || Tenta { listen: everywhere(names.port), ..Tenta::default() };
    let tenta = config.tenta.get_or_insert_with(fresh);
    (tenta.flavour, tenta.mqtt_port) = (flavour, mqtt_port);
    let texts = [
        (&mut tenta.environment, first(names.environment, &variable)?),
        (&mut tenta.commit_sha, variable(names.commit_sha)?),
        (&mut tenta.branch_name, variable(names.branch_name)?),
        (&mut tenta.mqtt_hostname, variable(names.mqtt_hostname)?),
        (&mut tenta.base_topic, first(names.base_topic.as_slice(), &variable)?),
    ];
    for (text, found) in texts {
        if let Some(found) = found {
            *text = found;
        }
    }
    match &mut config.bridge.mqtt {
        Some(bridge) => elsewhere(bridge, tenta, names, variable),
        None => Ok(()),
    }
}

/// The file names a broker: sensors are there.
fn elsewhere(
    bridge: &mut MqttBridge,
    tenta: &Tenta,
    names: &Names,
    variable: impl Fn(&str) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    if let Some(host) = variable(names.mqtt_hostname)? {
        bridge.url.host = host;
    }
    if let Some(user) = first(names.user, &variable)? {
        bridge.username = Some(user);
    }
    if let Some(password) = variable(names.password)? {
        bridge.password = Some(password.into());
    }
    if names.base_topic.is_some() {
        (bridge.base_topic, bridge.local_prefix) = (tenta.base_topic.clone(), tenta.base());
    }
    Ok(())
}

/// The first of these that is set.
fn first(
    names: &[&str],
    variable: impl Fn(&str) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<Option<String>> {
    names.iter().find_map(|name| variable(name).transpose()).transpose()
}

/// Makes what the gateways need beside the configuration: bindings, and the login that sensors come in with.
pub(super) fn bind(config: &Config) -> anyhow::Result<()> {
    let Some(tenta) = &config.tenta else { return Ok(()) };
    let names = Names::of(tenta.flavour);
    if std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with(names.unused)) {
        tracing::info!(variables = %format!("{}…", names.unused), "not used: the router keeps the data itself");
    }
    bindings::make(&config.plugins, tenta)?;
    if config.bridge.mqtt.is_some() {
        return Ok(());
    }
    match (first(names.user, variable)?, variable(names.password)?) {
        (Some(user), Some(password)) => login::keep(config, tenta, &user, password),
        (None, None) => {
            let (user, password) = (names.user.join(" or "), names.password);
            tracing::warn!(
                "no sensor can come in over MQTT yet: set {user} and {password}, or make a login with `weir login create`"
            );
            Ok(())
        }
        (Some(_), None) => bail!("{} is set: {} must be set, too", names.user.join(" or "), names.password),
        (None, Some(_)) => bail!("{} is set: {} must be set, too", names.password, names.user.join(" or ")),
    }
}

/// What sensors publish to.
fn topics(base: &str) -> [String; 3] {
    ["measurements", "logs", "acknowledgments"].map(|kind| format!("{base}{kind}/+"))
}

/// Where both servers and their broker listen.
const fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment of these variables alone.
    fn of(set: &[(&str, &str)]) -> impl Fn(&str) -> anyhow::Result<Option<String>> {
        |name| Ok(set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn with(flavour: TentaFlavour, set: &[(&str, &str)]) -> Result<(Tenta, Mqtt), String> {
        let mut config = Config::default();
        listeners(&mut config, flavour, of(set)).map_err(|error| error.to_string())?;
        Ok((config.tenta.unwrap(), config.mqtt.unwrap()))
    }

    #[test]
    fn tentas_variables_are_those_of_its_server() {
        let (tenta, mqtt) = with(TentaFlavour::Tenta, &[]).unwrap();
        assert_eq!(tenta, Tenta { listen: everywhere(8421), ..Tenta::default() });
        assert_eq!(mqtt, Mqtt { listen: everywhere(1883), ..Mqtt::default() });
        let set = [
            ("ENVIRONMENT", "development"),
            ("COMMIT_SHA", "c"),
            ("BRANCH_NAME", "b"),
            ("MQTT_HOSTNAME", "broker.example"),
            ("MQTT_PORT", "8883"),
            ("HERMES_MQTT_PORT", "1"),
        ];
        let (tenta, mqtt) = with(TentaFlavour::Tenta, &set).unwrap();
        let texts = [&tenta.environment, &tenta.commit_sha, &tenta.branch_name, &tenta.mqtt_hostname];
        assert_eq!(texts, ["development", "c", "b", "broker.example"]);
        assert_eq!((tenta.mqtt_port, mqtt.listen), (8883, everywhere(8883)));
        let error = with(TentaFlavour::Tenta, &[("MQTT_PORT", "x")]).unwrap_err();
        assert!(error.contains("MQTT_PORT: found \"x\", expected a port"), "{error}");
    }

    #[test]
    fn a_broker_that_the_file_names_has_the_sensors() {
        let bridge = MqttBridge { incoming: vec!["logs/+".into()], ..MqttBridge::default() };
        let mut config = Config::default();
        config.bridge.mqtt = Some(bridge);
        let set = [
            ("HERMES_MQTT_URL", "broker.example"),
            ("HERMES_MQTT_PORT", "8883"),
            ("HERMES_MQTT_IDENTIFIER", "hermes_server"),
            ("HERMES_MQTT_USERNAME", "server"),
            ("HERMES_MQTT_PASSWORD", "hush"),
            ("HERMES_MQTT_BASE_TOPIC", "sensortopic"),
        ];
        listeners(&mut config, TentaFlavour::Hermes, of(&set)).unwrap();
        let bridge = config.bridge.mqtt.unwrap();
        assert_eq!((bridge.url.to_string().as_str(), config.mqtt), ("mqtt://broker.example:8883", None));
        assert_eq!((bridge.username.as_deref(), &bridge.password), (Some("server"), &Some("hush".into())));
        assert_eq!((bridge.base(), bridge.prefix()), ("sensortopic/".into(), "sensortopic/".into()));
    }

    #[test]
    fn hermes_variables_are_those_of_its_server() {
        let set = [
            ("HERMES_ENVIRONMENT", "test"),
            ("ENVIRONMENT", "production"),
            ("HERMES_MQTT_BASE_TOPIC", "sensortopic/"),
            ("HERMES_COMMIT_SHA", "c"),
            ("MQTT_PORT", "1"),
        ];
        let (hermes, mqtt) = with(TentaFlavour::Hermes, &set).unwrap();
        assert_eq!(
            (hermes.flavour, hermes.listen, mqtt.listen.port()),
            (TentaFlavour::Hermes, everywhere(8000), 1883)
        );
        assert_eq!([&hermes.environment, &hermes.commit_sha, &hermes.base()], ["test", "c", "sensortopic/"]);
        let (hermes, _) = with(TentaFlavour::Hermes, &[("ENVIRONMENT", "development")]).unwrap();
        assert_eq!(hermes.environment, "development");
    }
}

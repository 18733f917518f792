//! `stock:tenta-validate`, a filter that drops what the servers of tenta and hermes would not take of a sensor.
//!
//! ```toml
//! topics = ["measurements/+", "logs/+", "acknowledgments/+"]   # of the binding; behind a base, if there is one
//! accounts = ["sensors"]                                        # lets it look sensors up
//!
//! [config]
//! flavour = "tenta"            # whose rules: tenta (the default) or hermes
//! sensors = "known"            # of sensors that are not among the accounts nothing passes; the default. "any": all may
//! ```
//!
//! The topic's last level is the sensor's identifier, the one before says what the message is about; topics that end
//! otherwise pass. A payload is a JSON array with one element at least:
//!
//! | topic | elements |
//! |---|---|
//! | `measurements/ID` | `{"value": {ATTRIBUTE: number}, "timestamp": number, "revision": integer or null}` |
//! | `logs/ID` | `{"message": text, "severity": "info" or "warning" or "error", "timestamp": number, "revision": integer or null}` |
//! | `acknowledgments/ID` | `{"success": true or false, "timestamp": number, "revision": integer}` |
//!
//! - One bad element, an unknown field among them, and the whole message is dropped. The router's log has a warning,
//!   `Malformed message` with topic, place and reason; the publisher is answered `filtered`, a success in MQTT.
//! - Attributes are `^[a-z0-9](_?[a-z0-9])*$`, at most 64 characters, one at least; hermes' begin with a letter, and
//!   may be missing.
//! - A revision is an integer from 0 to 2147483647, `1.0` is none; where it may be null, it may be missing.
//! - A timestamp is Unix seconds of the years 1 to 9999; hermes' are at least 0 and less than 2147483648.
//! - Numbers are integers and floats, and `NaN`, `Infinity` and `-Infinity` as Python writes them. Such a message goes on
//!   as it came; it is no JSON to others, so native clients get it as text.
//! - Of a field that comes twice, the last one counts.

use weir_plugin::{ConfigError, Context, Filter, Message, Plugin, Result, Verdict, accounts};
use weir_tenta_messages::{Flavour, Kind, read};

/// The realm of sensors' accounts.
const REALM: &str = "sensors";

/// The keys of `[config]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    flavour: Whose,
    sensors: Sensors,
}

#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Whose {
    #[default]
    Tenta,
    Hermes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sensors {
    #[default]
    Known,
    Any,
}

/// The plugin.
#[derive(Debug)]
pub struct TentaValidate {
    flavour: Flavour,
    sensors: Sensors,
}

impl Plugin for TentaValidate {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        let flavour = match config.flavour {
            Whose::Tenta => Flavour::Tenta,
            Whose::Hermes => Flavour::Hermes,
        };
        Ok(Self { flavour, sensors: config.sensors })
    }
}

impl Filter for TentaValidate {
    fn check(&self, message: &Message) -> Result<Verdict> {
        let Some((kind, sensor)) = Kind::of(message.topic()) else { return Ok(Verdict::Keep) };
        if let Err(malformed) = read(kind, self.flavour, message.payload()) {
            weir_plugin::warn!("Malformed message", topic = message.topic(), reason = malformed);
            return Ok(Verdict::drop(format!("malformed: {malformed}")));
        }
        if self.sensors == Sensors::Known && accounts::lookup(REALM, sensor)?.is_none() {
            weir_plugin::warn!("message of an unknown sensor", topic = message.topic());
            return Ok(Verdict::drop("unknown sensor"));
        }
        Ok(Verdict::Keep)
    }
}

weir_plugin::export_filter!(TentaValidate);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{Value, json};
    use weir_plugin::testing::{self, Host};
    use weir_plugin::{Account, Error, Level};

    const GOOD: &str = r#"[{"value": {"celsius": 21.5}, "timestamp": 1683645000.0, "revision": null}]"#;

    fn host(config: Value) -> Host<TentaValidate> {
        Host::new(config).unwrap().with_account(Account::new(REALM, "s1", "main"))
    }

    fn check(host: &mut Host<TentaValidate>, topic: &str, payload: &str) -> Result<Verdict> {
        host.check(&testing::message(topic, payload).build())
    }

    #[test]
    fn what_keeps_the_rules_passes_under_any_base() {
        let mut host = host(json!({}));
        for topic in ["measurements/s1", "base/measurements/s1"] {
            assert_eq!(check(&mut host, topic, GOOD), Ok(Verdict::Keep));
        }
        let log = r#"[{"severity": "info", "message": "up", "revision": null, "timestamp": 1.5}]"#;
        assert_eq!(check(&mut host, "logs/s1", log), Ok(Verdict::Keep));
        let acknowledgment = r#"[{"success": true, "timestamp": 2, "revision": 0}]"#;
        assert_eq!(check(&mut host, "acknowledgments/s1", acknowledgment), Ok(Verdict::Keep));
        assert_eq!(host.logs(), []);
    }

    #[test]
    fn what_does_not_is_dropped_and_told_in_the_log_alone() {
        let mut host = host(json!({}));
        let dropped = Verdict::drop("malformed: must be true or false at /0/success");
        assert_eq!(check(&mut host, "acknowledgments/s1", GOOD), Ok(dropped));
        let line = "Malformed message topic=acknowledgments/s1 reason=must be true or false at /0/success";
        assert_eq!(host.logs(), [(Level::Warn, line.to_owned())]);
        assert_eq!(check(&mut host, "logs/s1", "hello"), Ok(Verdict::drop("malformed: must be JSON")));
    }

    #[test]
    fn other_topics_pass_whatever_they_carry() {
        let mut host = host(json!({}));
        for topic in ["configurations/s1", "room/1", "measurements", "measurements/s1/raw"] {
            assert_eq!(check(&mut host, topic, "hello"), Ok(Verdict::Keep), "{topic}");
        }
    }

    #[test]
    fn unknown_sensors_are_dropped_unless_all_are_welcome() {
        assert_eq!(check(&mut host(json!({})), "measurements/s2", GOOD), Ok(Verdict::drop("unknown sensor")));
        let mut any = Host::<TentaValidate>::new(json!({"sensors": "any"})).unwrap();
        assert_eq!(check(&mut any, "measurements/s2", GOOD), Ok(Verdict::Keep));
        let mut without_grant = Host::<TentaValidate>::new(json!({})).unwrap();
        let failed = check(&mut without_grant, "measurements/s1", GOOD);
        assert!(matches!(failed, Err(Error::Internal(said)) if said.contains("does not grant this realm")));
    }

    #[test]
    fn flavours_differ() {
        let mut hermes = host(json!({"flavour": "hermes"}));
        let empty = r#"[{"value": {}, "timestamp": 1}]"#;
        let early = r#"[{"value": {"1a": 1}, "timestamp": -1}]"#;
        assert_eq!(check(&mut hermes, "measurements/s1", empty), Ok(Verdict::Keep));
        assert!(matches!(check(&mut hermes, "measurements/s1", early), Ok(Verdict::Drop(_))));
        let mut tenta = host(json!({"flavour": "tenta"}));
        assert!(matches!(check(&mut tenta, "measurements/s1", empty), Ok(Verdict::Drop(_))));
        assert_eq!(check(&mut tenta, "measurements/s1", early), Ok(Verdict::Keep));
    }

    #[test]
    fn what_the_configuration_may_not_say() {
        for (config, path) in [
            (json!({"flavour": "Tenta"}), "/flavour"),
            (json!({"sensors": "all"}), "/sensors"),
            (json!({"sensor": "any"}), "/sensor"),
        ] {
            assert_eq!(Host::<TentaValidate>::new(config).unwrap_err().path, path);
        }
    }
}

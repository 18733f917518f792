//! Drops a sensor's reading that says nothing new.
//!
//! ```toml
//! [config]
//! step = 0.5               # a reading is news when it differs this much from the last one kept, or more
//! at_least_every_s = 60    # or when the last one kept is this old, in seconds; default 60
//! ```
//!
//! Payloads are plain JSON numbers, `21.5`. Whoever is not a sensor is left alone.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use weir_plugin::{ConfigError, Context, Filter, Message, Plugin, Result, Verdict, state};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    step: f64,
    #[serde(default = "a_minute")]
    at_least_every_s: u64,
}

fn a_minute() -> u64 {
    60
}

pub struct CalmSensors {
    step: f64,
    at_least_every: Duration,
}

/// What `state` keeps of each topic. It outlives restarts, swaps of the plugin, and crashes.
#[derive(Serialize, Deserialize)]
struct Kept {
    value: f64,
    time_us: u64,
}

impl Plugin for CalmSensors {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        if config.step <= 0.0 {
            return Err(ConfigError::new("/step", "must be greater than 0"));
        }
        Ok(Self { step: config.step, at_least_every: Duration::from_secs(config.at_least_every_s) })
    }
}

impl Filter for CalmSensors {
    fn check(&self, message: &Message) -> Result<Verdict> {
        if !message.origin().is_sensor() {
            return Ok(Verdict::Keep);
        }
        // What is no number is refused, and its publisher hears why.
        let value: f64 = message.json()?;
        let key = message.topic();
        let now = message.received();
        if let Some(last) = state::get_json::<Kept>(key)? {
            let fresh = now.micros() < last.time_us + self.at_least_every.as_micros() as u64;
            if fresh && (value - last.value).abs() < self.step {
                return Ok(Verdict::drop("nothing new"));
            }
        }
        state::set_json(key, &Kept { value, time_us: now.micros() })?;
        Ok(Verdict::Keep)
    }
}

weir_plugin::export_filter!(CalmSensors);

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::json;
    use weir_plugin::testing::{self, Build, Host};

    fn reading(celsius: f64) -> Build {
        testing::message("room/1/celsius", celsius.to_string())
    }

    #[test]
    fn only_news_is_kept() {
        let mut host = Host::<CalmSensors>::new(json!({"step": 0.5})).unwrap();
        let mut check = |message: Build| host.check(&message.build()).unwrap();
        let nothing_new = Verdict::drop("nothing new");
        assert_eq!(check(reading(21.0)), Verdict::Keep);
        assert_eq!(check(reading(21.4)), nothing_new);
        assert_eq!(check(reading(21.5)), Verdict::Keep);
        assert_eq!(check(reading(21.5)), nothing_new);
        assert_eq!(check(reading(21.5).from("page", "p1")), Verdict::Keep);
        let minute_later = reading(0.0).build().received().after(Duration::from_secs(60));
        assert_eq!(check(reading(21.5).received(minute_later)), Verdict::Keep);
        assert!(matches!(check(testing::message("room/1/celsius", "warm")), Verdict::Refuse(_)));
    }

    #[test]
    fn a_wrong_configuration_is_told() {
        assert_eq!(Host::<CalmSensors>::new(json!({"step": 0})).err().unwrap().path, "/step");
    }
}

//! `stock:tenta`, a storage plugin that keeps what sensors of tenta and hermes measure, log and acknowledge, for the gateway
//! `[tenta]` and for who asks.
//!
//! ```toml
//! topics = ["measurements/+", "logs/+", "acknowledgments/+"]   # of the binding; behind a base, if there is one
//! accounts = ["sensors"]                                        # lets it look sensors up
//!
//! [config]
//! sensors = "known"            # messages of sensors that are not among the accounts are left out; the default. "any": none is
//! ```
//!
//! It stores what [`stock:tenta-validate`](#tenta-validate) lets through in either flavour. What that filter would drop becomes a
//! dead letter here, so bind both.
//!
//! | of | is kept | for |
//! |---|---|---|
//! | `measurements/ID` | each measurement; those of one sensor with the same timestamp and revision are merged, of an attribute that comes twice the last one counts | ever |
//! | | sum and count of each attribute in each hour of its timestamps | 4 weeks |
//! | `logs/ID` | each line, cut at 16,384 characters | 8 weeks after the router took it |
//! | `acknowledgments/ID` | the first one of each revision, if the sensor has a configuration of that revision | ever |
//!
//! Timestamps are rounded to microseconds. Each message counts exactly once, also after a crash.
//!
//! A query names one of these topics. Measurements and logs come in the order of their timestamps, always ascending:
//!
//! | parameter | what | default |
//! |---|---|---|
//! | `direction` | `next` or `previous`: the first ones behind `creation_timestamp`, or the last ones before it | `next` |
//! | `creation_timestamp` | Unix seconds; what has exactly this timestamp is left out | the first page, or the last |
//! | `aggregate` | `true`: means of each hour, or log lines grouped, instead | `false` |
//! | `now` | Unix seconds: aggregates begin 4 weeks before, and lines of the log are left out that the router took more than 8 weeks before | the clock |
//! | `from`, `to` | acknowledgments only: the first and the last revision that are wanted | all |
//!
//! ```json
//! {"value": {"celsius": 21.5, "ratio": "NaN"}, "revision": 3, "creation_timestamp": 1683645000.5}
//! {"attribute": "celsius", "buckets": [{"bucket_timestamp": 1683644400.0, "average": 21.25}]}
//! {"severity": "error", "message": "on fire", "revision": null, "creation_timestamp": 1683645000.5}
//! {"severity": "error", "min_revision": 0, "max_revision": 3, "min_creation_timestamp": 1683645000.5, "max_creation_timestamp": 1683648600.5, "subject": "on fire", "count": 2}
//! {"revision": 3, "acknowledgment_timestamp": 1683645001.0, "success": true}
//! ```
//!
//! are items of measurements, of their means, of logs, of groups (warnings and errors alone), and of acknowledgments. Numbers that JSON does
//! not have are the texts `"NaN"`, `"Infinity"` and `"-Infinity"`. A page with `next` goes on in its direction: what follows a page of
//! `previous` comes before it.
//!
//! - At most 512 attributes of a measurement and of an hour: what is over is left out, and the router's log says so.
//! - A message of more than some 20,000 measurements or lines, and topics of more than 470 bytes, cannot be stored: the message
//!   becomes a dead letter.
//! - A line that as JSON is longer than 64 KiB is cut there in answers.
//! - Groups are made of the last 64 MiB of a sensor's log, and of 4 MiB of different lines.

mod batch;
mod hours;
mod leaves;
mod query;
mod rows;

use batch::Batch;
use weir_plugin::{
    Answer, ConfigError, Context, Message, Plugin, QueryError, Question, Space, Storage, StoreFailure,
};

/// The keys of `[config]`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    sensors: Sensors,
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
pub struct Tenta {
    sensors: Sensors,
}

impl Plugin for Tenta {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self { sensors: config.sensors })
    }
}

impl Storage for Tenta {
    fn store(&self, messages: &[Message], space: &mut Space) -> Result<(), StoreFailure> {
        let mut batch = Batch::new(self.sensors, space);
        for (index, message) in messages.iter().enumerate() {
            batch.take(index, message)?;
        }
        batch.finish(messages.len())
    }

    fn query(&self, question: &Question) -> Result<Answer, QueryError> {
        query::answer(question)
    }
}

weir_plugin::export_storage!(Tenta);

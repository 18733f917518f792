//! `stock:timeseries`, a storage plugin that keeps the numbers of messages over time: the points as they came
//! for a while, and for longer their count, minimum, maximum and mean in buckets of time.
//!
//! ```toml
//! [config]
//! fields = ["/celsius"]        # JSON Pointers to numbers; default: all numbers down to `depth`
//! # depth = 1                  # instead of `fields`: levels of objects to look at, 1 to 8; default 1, the top
//! time = "/at"                 # JSON Pointer to the time of a payload; default: when the router took it
//! time_unit = "s"              # what a number there counts since 1970: "s", "ms" or "us"; default "us"
//! raw_age_s = 86400            # how long points are kept as they came, in seconds; 0 = not at all; default a day
//! buckets = ["1m", { every = "1h", age_s = 7776000 }, { every = "1d", age_s = 0 }]
//! #                              s, m, h or d, 1s to 366d; default 1m, 1h, 1d. `age_s` 0 = for ever; default:
//! #                              10,000 times the length: a week for 1m, a year for 1h, 27 years for 1d
//! ```
//!
//! A bucket `1h` begins with each full hour of UTC. A point belongs to the bucket of its own time, however
//! late it comes, and is left out where it is older than points are kept. Each message counts exactly once, in
//! the points and in all buckets, also after a crash.
//!
//! A query names a topic, or a pattern, and takes these parameters:
//!
//! | parameter | what | default |
//! |---|---|---|
//! | `bucket` | one of `buckets`, or `raw` | the shortest bucket |
//! | `from` | the first time that is wanted | the oldest |
//! | `to` | the first time that is wanted no more | none |
//! | `field` | one field, as a JSON Pointer; empty for a payload that is a number itself | all |
//!
//! Times are RFC 3339 text (`2026-11-21T08:00:00Z`), Unix microseconds, or counted back from now: `-90s`, `-15m`,
//! `-1h`, `-7d`, `now`. The answer has every bucket of which a part lies between `from` and `to`, ordered by topic, time
//! and field, in pages. An item is, of a bucket and of a point,
//!
//! ```json
//! {"topic": "room/1", "field": "/celsius", "bucket": "1h", "time_us": 1795248000000000, "count": 60, "min": 20.5, "max": 22.0, "mean": 21.25, "sum": 1275.0}
//! {"topic": "room/1", "field": "/celsius", "time_us": 1795248000000000, "value": 21.5}
//! ```
//!
//! where `time_us` is the start of the bucket, or the time of the point, in Unix microseconds.
//!
//! - Payloads that are not JSON, or without a number at the fields, are passed by.
//! - Numbers are those of JavaScript. A sum that exceeds them is `null`, and so is its mean.
//! - At most 64 fields of a message, 128 of a bucket, names of 128 bytes: what is over is left out, and
//!   the router's log says so.
//! - Topics of more than 480 bytes, a time that is none, and one more than a day ahead of the router's, cannot be
//!   stored: the message becomes a dead letter.

mod config;
mod payload;
mod query;
mod series;

pub use config::Config;

use config::Rules;
use payload::Point;
use series::Filling;
use std::collections::BTreeMap;
use weir_plugin::{
    Answer, ConfigError, Context, Message, Plugin, QueryError, Question, Space, Storage, StoreFailure, Time,
};

/// The plugin.
#[derive(Debug)]
pub struct TimeSeries {
    rules: Rules,
}

/// Buckets that a batch touches, with what was committed of them before, and when they are gone.
type Touched = BTreeMap<Vec<u8>, (Filling, Option<Time>)>;

impl Plugin for TimeSeries {
    type Config = Config;

    fn new(config: Config, _context: &Context) -> Result<Self, ConfigError> {
        Ok(Self { rules: config.check()? })
    }
}

impl Storage for TimeSeries {
    fn store(&self, batch: &[Message], space: &mut Space) -> Result<(), StoreFailure> {
        let mut touched = Touched::new();
        for (index, message) in batch.iter().enumerate() {
            let point = payload::read(&self.rules, message);
            let point = point.map_err(|reason| StoreFailure::unprocessable(index, reason))?;
            let Some(point) = point else { continue };
            if message.topic().len() > series::MAX_TOPIC {
                let reason =
                    format!("a topic of {} bytes: at most {}", message.topic().len(), series::MAX_TOPIC);
                return Err(StoreFailure::unprocessable(index, reason));
            }
            let left_out = point.left_out + self.fill(message, &point, &mut touched, space)?;
            if left_out > 0 {
                weir_plugin::warn!(
                    "numbers left out: too many fields, or too long names",
                    numbers = left_out
                );
            }
            self.keep_raw(message, &point, space);
        }
        for (key, (filling, expires)) in touched {
            match expires {
                Some(at) => space.put_until(key, filling.encode(), at),
                None => space.put(key, filling.encode()),
            }
        }
        Ok(())
    }

    fn query(&self, question: &Question) -> Result<Answer, QueryError> {
        query::answer(&self.rules, question)
    }
}

impl TimeSeries {
    /// Adds a point to its buckets; how many numbers there was no room for.
    fn fill(
        &self,
        message: &Message,
        point: &Point,
        touched: &mut Touched,
        space: &Space,
    ) -> Result<usize, StoreFailure> {
        let mut left_out = 0;
        for bucket in &self.rules.buckets {
            let start = point.time.bucket(bucket.width());
            let expires = bucket.age.map(|age| start.after(bucket.width()).after(age));
            if expires.is_some_and(|at| at <= message.received()) {
                continue;
            }
            let key = series::place(bucket.width_s, message.topic(), start);
            if !touched.contains_key(&key) {
                let before = match space.get(&key)? {
                    Some(value) => Filling::decode(&value)
                        .ok_or_else(|| StoreFailure::Internal("a bucket cannot be read".to_owned()))?,
                    None => Filling::default(),
                };
                touched.insert(key.clone(), (before, expires));
            }
            if let Some((filling, _)) = touched.get_mut(&key) {
                left_out = left_out.max(filling.add(&point.fields));
            }
        }
        Ok(left_out)
    }

    fn keep_raw(&self, message: &Message, point: &Point, space: &mut Space) {
        let Some(age) = self.rules.raw_age else { return };
        let expires = point.time.after(age);
        if expires > message.received() {
            let value = series::encode(point.fields.iter().map(|(name, value)| (name, value)));
            space.put_until(series::raw(message, point.time), value, expires);
        }
    }
}

weir_plugin::export_storage!(TimeSeries);

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::time::Duration;
use weir_plugin::ConfigError;

/// Deepest level that is looked at for numbers.
const MAX_DEPTH: usize = 8;

/// Most buckets: each costs a write for each message.
const MAX_BUCKETS: usize = 6;

/// Most fields of a message, and most that may be named.
pub(crate) const MAX_FIELDS: usize = 64;

/// Longest name of a field, in bytes.
pub(crate) const MAX_NAME: usize = 128;

/// A bucket that says no age is kept so many times its own length.
const DEFAULT_AGE: u32 = 10_000;

/// How long points are kept as they came, if nothing is said.
const DEFAULT_RAW_AGE_S: u64 = 86_400;

/// The keys of `[config]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    fields: Option<Vec<String>>,
    depth: Option<usize>,
    time: Option<String>,
    #[serde(default)]
    time_unit: Unit,
    raw_age_s: Option<u64>,
    buckets: Option<Vec<BucketConfig>>,
}

/// What a number is that stands for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[default]
    #[serde(rename = "us")]
    Microseconds,
}

/// `"1m"`, or `{ every = "1m", age_s = 604800 }`.
#[derive(Debug)]
struct BucketConfig {
    every: String,
    age_s: Option<u64>,
}

/// Which numbers of a payload are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fields {
    /// Those that these JSON Pointers name.
    Named(Vec<String>),
    /// All down to a level; 1 is the top one.
    All { depth: usize },
}

/// Numbers that fall into one span of time are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// As the configuration writes it: `1m`.
    pub(crate) name: String,
    pub(crate) width_s: u32,
    /// None: for ever.
    pub(crate) age: Option<Duration>,
}

impl Bucket {
    pub(crate) fn width(&self) -> Duration {
        Duration::from_secs(self.width_s.into())
    }
}

/// A configuration that has been checked.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) fields: Fields,
    /// JSON Pointer of the time in the payload. None: when the router took the message.
    pub(crate) time: Option<(String, Unit)>,
    /// None: points are not kept as they came.
    pub(crate) raw_age: Option<Duration>,
    /// Finest first.
    pub(crate) buckets: Vec<Bucket>,
}

impl Config {
    pub(crate) fn check(self) -> Result<Rules, ConfigError> {
        let fields = match (self.fields, self.depth) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::new("/depth", "`fields` names them: leave one out"));
            }
            (Some(named), None) => Fields::Named(check_fields(named)?),
            (None, depth) => match depth.unwrap_or(1) {
                depth @ 1..=MAX_DEPTH => Fields::All { depth },
                other => {
                    return Err(ConfigError::new(
                        "/depth",
                        format!("{other}: 1 to {MAX_DEPTH} are accepted"),
                    ));
                }
            },
        };
        let time = match self.time {
            Some(pointer) => Some((check_pointer(pointer, "/time")?, self.time_unit)),
            None => None,
        };
        let raw_age_s = self.raw_age_s.unwrap_or(DEFAULT_RAW_AGE_S);
        let buckets = match self.buckets {
            Some(buckets) => check_buckets(buckets)?,
            None => check_buckets(["1m", "1h", "1d"].map(BucketConfig::plain).into())?,
        };
        if raw_age_s == 0 && buckets.is_empty() {
            return Err(ConfigError::new(
                "/buckets",
                "no buckets and `raw_age_s = 0`: nothing would be kept",
            ));
        }
        let raw_age = (raw_age_s > 0).then(|| Duration::from_secs(raw_age_s));
        Ok(Rules { fields, time, raw_age, buckets })
    }
}

fn check_fields(named: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if !(1..=MAX_FIELDS).contains(&named.len()) {
        let reason = format!("{} fields: 1 to {MAX_FIELDS} are accepted", named.len());
        return Err(ConfigError::new("/fields", reason));
    }
    let checked = named.into_iter().enumerate();
    let checked = checked.map(|(at, pointer)| check_pointer(pointer, &format!("/fields/{at}")));
    // A pointer that stands there twice would count each number twice.
    Ok(checked.collect::<Result<BTreeSet<_>, _>>()?.into_iter().collect())
}

fn check_pointer(pointer: String, path: &str) -> Result<String, ConfigError> {
    if pointer.len() > MAX_NAME {
        return Err(ConfigError::new(path, format!("{} bytes: at most {MAX_NAME}", pointer.len())));
    }
    if pointer.is_empty() || pointer.starts_with('/') {
        return Ok(pointer);
    }
    Err(ConfigError::new(path, format!("`{pointer}` is no JSON Pointer: write `/{pointer}`")))
}

fn check_buckets(configured: Vec<BucketConfig>) -> Result<Vec<Bucket>, ConfigError> {
    if configured.len() > MAX_BUCKETS {
        let reason = format!("{} buckets: at most {MAX_BUCKETS}", configured.len());
        return Err(ConfigError::new("/buckets", reason));
    }
    let mut buckets: Vec<Bucket> = Vec::new();
    for (at, BucketConfig { every, age_s }) in configured.into_iter().enumerate() {
        let wrong = |reason: String| ConfigError::new(format!("/buckets/{at}"), reason);
        let Some(width_s) = width(&every) else {
            return Err(wrong(format!(
                "`{every}`: a whole number of s, m, h or d up to 366d is accepted, as `5m`"
            )));
        };
        if let Some(same) = buckets.iter().find(|bucket| bucket.width_s == width_s) {
            return Err(wrong(format!("`{every}` is as long as `{}`", same.name)));
        }
        let age_s = age_s.unwrap_or(u64::from(width_s) * u64::from(DEFAULT_AGE));
        let age = (age_s > 0).then(|| Duration::from_secs(age_s));
        buckets.push(Bucket { name: every, width_s, age });
    }
    buckets.sort_by_key(|bucket| bucket.width_s);
    Ok(buckets)
}

/// Seconds of `90s`, `5m`, `1h`, `7d`: 1 s to 366 d.
pub(crate) fn width(text: &str) -> Option<u32> {
    let seconds = u32::try_from(span_s(text)?).ok()?;
    (1..=366 * 86_400).contains(&seconds).then_some(seconds)
}

/// Seconds of a whole number of s, m, h or d.
pub(crate) fn span_s(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(seconds)
}

impl BucketConfig {
    fn plain(every: &str) -> Self {
        Self { every: every.to_owned(), age_s: None }
    }
}

impl<'de> Deserialize<'de> for BucketConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(EitherForm)
    }
}

struct EitherForm;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    every: String,
    age_s: Option<u64>,
}

impl<'de> Visitor<'de> for EitherForm {
    type Value = BucketConfig;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a length as \"1m\", or { every = \"1m\", age_s = 604800 }")
    }

    fn visit_str<E: Error>(self, every: &str) -> Result<BucketConfig, E> {
        Ok(BucketConfig::plain(every))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BucketConfig, A::Error> {
        let Table { every, age_s } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(BucketConfig { every, age_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::serde_json::{Value, from_value, json};

    fn rules(config: Value) -> Result<Rules, String> {
        let config: Config = from_value(config).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_kept_if_nothing_is_said() {
        let rules = rules(json!({})).unwrap();
        assert_eq!((rules.fields, rules.time), (Fields::All { depth: 1 }, None));
        assert_eq!(rules.raw_age, Some(Duration::from_secs(86_400)));
        let buckets: Vec<_> = rules.buckets.iter().map(|b| (b.name.as_str(), b.width_s)).collect();
        assert_eq!(buckets, [("1m", 60), ("1h", 3_600), ("1d", 86_400)]);
        assert_eq!(rules.buckets[0].age, Some(Duration::from_secs(600_000)));
    }

    #[test]
    fn buckets_have_ages_of_their_own() {
        let config =
            json!({"buckets": [{"every": "1h", "age_s": 0}, {"every": "90s", "age_s": 7}], "raw_age_s": 0});
        let rules = rules(config).unwrap();
        let ages: Vec<_> = rules.buckets.iter().map(|b| (b.name.as_str(), b.age)).collect();
        assert_eq!(ages, [("90s", Some(Duration::from_secs(7))), ("1h", None)]);
        assert_eq!(rules.raw_age, None);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (config, said) in [
            (json!({"fields": ["/a", "b"]}), "write `/b` at /fields/1"),
            (json!({"fields": []}), "1 to 64 are accepted at /fields"),
            (json!({"fields": ["/a"], "depth": 2}), "leave one out at /depth"),
            (json!({"depth": 9}), "9: 1 to 8 are accepted at /depth"),
            (json!({"time": "at"}), "write `/at` at /time"),
            (json!({"time_unit": "h"}), "expected one of `s`, `ms`, `us`"),
            (json!({"buckets": ["1m", "1w"]}), "up to 366d is accepted, as `5m` at /buckets/1"),
            (json!({"buckets": ["1m", "60s"]}), "`60s` is as long as `1m` at /buckets/1"),
            (json!({"buckets": ["0s"]}), "at /buckets/0"),
            (json!({"buckets": ["367d"]}), "at /buckets/0"),
            (json!({"buckets": [60]}), "{ every = \"1m\", age_s = 604800 }"),
            (json!({"buckets": ["1s", "2s", "3s", "4s", "5s", "6s", "7s"]}), "at most 6 at /buckets"),
            (json!({"buckets": [], "raw_age_s": 0}), "nothing would be kept"),
            (json!({"bucket": []}), "unknown field `bucket`"),
        ] {
            let error = rules(config.clone()).unwrap_err();
            assert!(error.contains(said), "{config}: {error}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!((width("1s"), width("5m"), width("366d")), (Some(1), Some(300), Some(31_622_400)));
        for wrong in ["", "m", "-1m", "+1m", "1", "1.5h", "1 m", "1ä", "99999999999999999999s"] {
            assert_eq!(width(wrong), None, "{wrong}");
        }
    }
}

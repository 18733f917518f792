//! Sums and counts of hours: `"h", topic, start u64 → (name length u8, name, count u64, sum f64)*`. The start is in Unix
//! microseconds, big-endian and with its sign turned; values are little-endian.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_plugin::{Key, Message, Space, StoreFailure, Time};
use weir_tenta_messages::{Measurement, Timestamp};

use crate::batch::unreadable;
use crate::rows::{self, MAX_ATTRIBUTES};

/// An hour in microseconds.
const HOUR_US: i64 = 3_600_000_000;
/// How long hours are kept after their start.
pub(crate) const KEPT: Duration = Duration::from_secs(4 * 7 * 86_400);

/// Sum and count.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "a count of more than 2^53 would take centuries")]
    pub(crate) fn mean(self) -> f64 {
        self.sum / self.count as f64
    }
}

type Sums = BTreeMap<String, Sum>;

/// Hours that a batch touches, by key, and when they are gone.
#[derive(Default)]
pub(crate) struct Hours(BTreeMap<Key, (Sums, Time)>);

impl Hours {
    /// Adds a measurement to its hour; how many numbers there was no room for.
    pub(crate) fn add(
        &mut self,
        message: &Message,
        measurement: &Measurement,
        space: &Space,
    ) -> Result<usize, StoreFailure> {
        let start = measurement.time.micros().div_euclid(HOUR_US).saturating_mul(HOUR_US);
        // An hour before 1970 is long gone.
        let expires = Time::from_micros(u64::try_from(start).unwrap_or_default()).after(KEPT);
        if expires <= message.received() {
            return Ok(0);
        }
        let key = key(message.topic(), Timestamp::from_micros(start));
        if !self.0.contains_key(&key) {
            let before = match space.get(&key)? {
                Some(value) => decode(&value).ok_or_else(unreadable)?,
                None => Sums::new(),
            };
            self.0.insert(key.clone(), (before, expires));
        }
        let mut left_out = 0;
        if let Some((sums, _)) = self.0.get_mut(&key) {
            for (name, value) in &measurement.value {
                if !sums.contains_key(name) && sums.len() >= MAX_ATTRIBUTES {
                    left_out += 1;
                    continue;
                }
                let sum = sums.entry(name.clone()).or_default();
                (sum.count, sum.sum) = (sum.count + 1, sum.sum + value);
            }
        }
        Ok(left_out)
    }

    /// Writes all; how many writes that makes.
    pub(crate) fn write(self, space: &mut Space) -> usize {
        let writes = self.0.len();
        self.0.into_iter().for_each(|(key, (sums, expires))| space.put_until(key, encode(&sums), expires));
        writes
    }
}

/// All hours of a topic.
pub(crate) fn all(topic: &str) -> Key {
    Key::new("h").text(topic)
}

/// The hour that begins then, and where those begin that do not begin before.
pub(crate) fn key(topic: &str, start: Timestamp) -> Key {
    all(topic).number(u64::from_be_bytes(rows::time_order(start)))
}

/// When the hour of a key begins.
pub(crate) fn start(key: &[u8]) -> Option<Timestamp> {
    let (_, start) = key.split_last_chunk::<8>()?;
    rows::time_of(start)
}

fn encode(sums: &Sums) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, Sum { count, sum }) in sums {
        rows::put_name(&mut out, name);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&sum.to_le_bytes());
    }
    out
}

/// None: it is no hour.
pub(crate) fn decode(mut from: &[u8]) -> Option<Sums> {
    let mut sums = Sums::new();
    while !from.is_empty() {
        let (name, rest) = rows::take_name(from)?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        let sum = Sum { count: u64::from_le_bytes(*count), sum: f64::from_le_bytes(*sum) };
        sums.insert(name.to_owned(), sum);
        from = rest;
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_come_back_only_whole_and_fit_into_a_value() {
        let sums: Sums =
            (0..MAX_ATTRIBUTES).map(|n| (format!("{n:064}"), Sum { count: 2, sum: 3.0 })).collect();
        let value = encode(&sums);
        assert!(value.len() < 64 * 1024);
        assert_eq!(decode(&value), Some(sums));
        assert_eq!(decode(&value[..value.len() - 1]), None);
        assert_eq!(Sum { count: 2, sum: 3.0 }.mean(), 1.5);
    }

    #[test]
    fn keys_sort_by_hour() {
        let at = |us| key("t", Timestamp::from_micros(us));
        assert!(
            at(-HOUR_US) < at(0) && at(0) < at(HOUR_US) && at(HOUR_US) < key("ta", Timestamp::from_micros(0))
        );
        assert_eq!(start(at(-HOUR_US).as_bytes()), Some(Timestamp::from_micros(-HOUR_US)));
    }
}

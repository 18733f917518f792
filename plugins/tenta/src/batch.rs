//! What a batch of messages changes.

use std::collections::btree_map::Entry;

use weir_plugin::state::MAX_WRITES;
use weir_plugin::{Account, Message, Space, StoreFailure, Time, accounts};
use weir_tenta_messages::{Acknowledgment, Flavour, Kind, Log, Measurement, Said, read};

use crate::Sensors;
use crate::hours::Hours;
use crate::leaves::{Leaves, Table};
use crate::rows::{self, Values};

/// The realm of sensors' accounts.
const REALM: &str = "sensors";

/// Longest topic, in bytes: the longest key takes 33 more, and may have 512.
const MAX_TOPIC: usize = 470;

/// A batch being taken.
pub(crate) struct Batch<'a> {
    sensors: Sensors,
    space: &'a mut Space,
    leaves: Leaves,
    hours: Hours,
    /// When the router took the last of the messages.
    newest: Time,
    /// Acknowledgments that were put.
    acknowledged: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(sensors: Sensors, space: &'a mut Space) -> Self {
        let (leaves, hours) = (Leaves::default(), Hours::default());
        Self { sensors, space, leaves, hours, newest: Time::default(), acknowledged: 0 }
    }

    /// Takes a message.
    pub(crate) fn take(&mut self, index: usize, message: &Message) -> Result<(), StoreFailure> {
        self.newest = self.newest.max(message.received());
        let topic = message.topic();
        let Some((kind, sensor)) = Kind::of(topic) else { return Ok(()) };
        if topic.len() > MAX_TOPIC {
            let reason = format!("a topic of {} bytes: at most {MAX_TOPIC}", topic.len());
            return Err(StoreFailure::unprocessable(index, reason));
        }
        let Some(newest) = self.revisions(sensor, topic)? else { return Ok(()) };
        let said = read(kind, Flavour::Either, message.payload());
        let said = said.map_err(|error| StoreFailure::unprocessable(index, format!("malformed: {error}")))?;
        match said {
            Said::Measurements(all) => self.measured(message, &all),
            Said::Logs(all) => all.iter().zip(0..).try_for_each(|(log, at)| self.logged(message, log, at)),
            Said::Acknowledgments(all) => all
                .iter()
                .filter(|acknowledgment| newest.is_some_and(|newest| acknowledgment.revision <= newest))
                .try_for_each(|acknowledgment| self.acknowledged(topic, acknowledgment)),
        }
    }

    /// The highest revision of a sensor's configurations. The outer none: nobody knows the sensor.
    fn revisions(&self, sensor: &str, topic: &str) -> Result<Option<Option<u32>>, StoreFailure> {
        if self.sensors == Sensors::Any {
            return Ok(Some(Some(u32::MAX)));
        }
        let account = accounts::lookup(REALM, sensor).map_err(weir_plugin::Error::from)?;
        if account.is_none() {
            weir_plugin::warn!("message of an unknown sensor", topic = topic);
        }
        Ok(account.as_ref().map(newest_revision))
    }

    fn measured(&mut self, message: &Message, all: &[Measurement]) -> Result<(), StoreFailure> {
        let mut left_out = 0;
        for measurement in all {
            // A measurement of hermes without a number leaves nothing.
            if measurement.value.is_empty() {
                continue;
            }
            let order = rows::measurement_order(measurement.time, measurement.revision);
            let row = self.leaves.row(Table::Measurements, message.topic(), order)?;
            let mut values = match &row {
                Entry::Occupied(before) => Values::decode(before.get()).ok_or_else(unreadable)?,
                Entry::Vacant(_) => Values::default(),
            };
            let surplus = values.merge(&measurement.value);
            row.insert_entry(values.encode());
            left_out += surplus.max(self.hours.add(message, measurement, self.space)?);
        }
        if left_out > 0 {
            weir_plugin::warn!(
                "attributes left out: too many",
                topic = message.topic(),
                attributes = left_out
            );
        }
        Ok(())
    }

    fn logged(&mut self, message: &Message, log: &Log, index: u32) -> Result<(), StoreFailure> {
        let place = (message.received(), message.offset().unwrap_or_default(), index);
        let order = rows::log_order(log.time, place);
        self.leaves.row(Table::Logs, message.topic(), order)?.insert_entry(rows::encode_log(log));
        Ok(())
    }

    /// The first one wins.
    fn acknowledged(&mut self, topic: &str, said: &Acknowledgment) -> Result<(), StoreFailure> {
        let key = rows::acknowledgment_key(topic, said.revision);
        if self.space.get(&key)?.is_none() {
            self.space.put(key, rows::encode_acknowledgment(said));
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// Writes what has changed, of so many messages.
    pub(crate) fn finish(self, messages: usize) -> Result<(), StoreFailure> {
        let writes =
            self.acknowledged + self.hours.write(self.space) + self.leaves.write(self.newest, self.space);
        // Of several, the router finds the one by handing them over one at a time.
        if writes > MAX_WRITES && messages == 1 {
            return Err(StoreFailure::unprocessable(0, "too many measurements or log lines in one message"));
        }
        Ok(())
    }
}

fn newest_revision(account: &Account) -> Option<u32> {
    account.attribute("revision")?.parse().ok()
}

pub(crate) fn unreadable() -> StoreFailure {
    StoreFailure::Internal("what is stored cannot be read".to_owned())
}

//! The numbers of tablets, in the order in which their devices were heard last: the one that has been silent for longest
//! is the first to be forgotten, and is found without looking at the others.

use serde::{Deserialize, Serialize};
use weir_plugin::{Key, Result, Time, info, state};

use crate::{Config, kept};

const ROLL: &str = "roll";
/// A device that was heard so lately keeps its place: what it says again and again costs no write.
const GRAIN_US: u64 = 60_000_000;
/// Tablets that one demand forgets at most.
const FORGOTTEN: usize = 8;

/// A device's tablet.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tablet {
    pub(crate) number: u64,
    /// When, in Unix microseconds.
    heard: u64,
    /// The device that was heard before it, and the one behind.
    before: Option<String>,
    after: Option<String>,
}

/// The ends of the row of devices.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Roll {
    first: Option<String>,
    last: Option<String>,
    count: u64,
    /// The number that was given last.
    numbered: u64,
}

/// Which number a device has from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    This(u64),
    /// The one that it has, else the next.
    Next,
    /// The one that it has, if any.
    Own,
}

/// A device has said something.
pub(crate) fn heard(config: &Config, device: &str, number: Number, at: Time) -> Result<()> {
    let mut roll: Roll = state::get_json(ROLL)?.unwrap_or_default();
    let known = find(device)?;
    let number = match (number, &known) {
        (Number::This(number), _) => number,
        (_, Some(tablet)) => tablet.number,
        (Number::Next, None) => {
            roll.numbered += 1;
            roll.numbered
        }
        (Number::Own, None) => return roll.forget(config, at).and_then(|gone| roll.save_if(gone > 0)),
    };
    if let Some(tablet) = known {
        if tablet.number == number && at.micros() < tablet.heard.saturating_add(GRAIN_US) {
            return Ok(());
        }
        roll.take(&tablet)?;
    }
    roll.append(device, number, at)?;
    roll.forget(config, at)?;
    roll.save_if(true)
}

fn find(device: &str) -> Result<Option<Tablet>> {
    state::get_json(key(device))
}

impl Roll {
    fn save_if(&self, changed: bool) -> Result<()> {
        if changed { kept::put(ROLL, self) } else { Ok(()) }
    }

    fn append(&mut self, device: &str, number: u64, at: Time) -> Result<()> {
        let before = self.last.replace(device.to_owned());
        match &before {
            Some(before) => join(before, |tablet| tablet.after = Some(device.to_owned()))?,
            None => self.first = Some(device.to_owned()),
        }
        self.count += 1;
        kept::put(key(device), &Tablet { number, heard: at.micros(), before, after: None })
    }

    /// Takes a device out of the row.
    fn take(&mut self, tablet: &Tablet) -> Result<()> {
        self.count = self.count.saturating_sub(1);
        match &tablet.before {
            Some(before) => join(before, |other| other.after.clone_from(&tablet.after))?,
            None => self.first.clone_from(&tablet.after),
        }
        match &tablet.after {
            Some(after) => join(after, |other| other.before.clone_from(&tablet.before)),
            None => {
                self.last.clone_from(&tablet.before);
                Ok(())
            }
        }
    }

    /// Forgets the first ones, as long as they are too many or have been silent for too long; returns how many.
    fn forget(&mut self, config: &Config, at: Time) -> Result<usize> {
        for gone in 0..FORGOTTEN {
            let Some(tablet) = self.first.as_deref().map(find).transpose()?.flatten() else {
                return Ok(gone);
            };
            let crowded = self.count > u64::from(config.tablets);
            if !crowded
                && at.micros() < tablet.heard.saturating_add(config.tablet_kept_s.saturating_mul(1_000_000))
            {
                return Ok(gone);
            }
            if crowded && kept::hourly("tablets", at)? {
                info!(
                    "tablets are forgotten before their time: `tablets` are kept",
                    tablets = config.tablets
                );
            }
            self.forget_first(&tablet)?;
        }
        Ok(FORGOTTEN)
    }

    fn forget_first(&mut self, tablet: &Tablet) -> Result<()> {
        if let Some(device) = self.first.clone() {
            self.take(tablet)?;
            state::delete(key(&device))?;
        }
        Ok(())
    }

    /// Forgets so many, however lately they were heard. False: there are none.
    pub(crate) fn forget_some(most: usize) -> Result<bool> {
        let mut roll: Self = state::get_json(ROLL)?.unwrap_or_default();
        let had = roll.count;
        for _ in 0..most {
            let Some(tablet) = roll.first.as_deref().map(find).transpose()?.flatten() else { break };
            roll.forget_first(&tablet)?;
        }
        roll.save_if(roll.count < had)?;
        Ok(roll.count < had)
    }
}

/// Changes whom a device stands beside.
fn join(device: &str, change: impl FnOnce(&mut Tablet)) -> Result<()> {
    let Some(mut tablet) = find(device)? else { return Ok(()) };
    change(&mut tablet);
    kept::put(key(device), &tablet)
}

fn key(device: &str) -> Key {
    Key::new("tablet").text(device)
}

#[cfg(test)]
pub(crate) fn stored(device: &str) -> Key {
    key(device)
}

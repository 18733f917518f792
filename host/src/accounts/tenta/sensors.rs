//! Sensors: each belongs to a network, and has configurations.

use std::sync::Arc;

use super::configurations::{Configuration, Configurations, Publishable};
use super::kept::Kept;
use super::networks::NewSensor;
use super::{Id, Tenta, limit, taken};
use tokio::sync::watch;

use crate::accounts::{Account, AccountsError};
use crate::message::now_us;

impl Tenta<'_> {
    /// Makes a sensor. Blocks until it is on disk.
    pub fn create_sensor(&self, network: Id, name: &str) -> Result<Id, AccountsError> {
        let id = Id::random()?;
        self.put_sensor(id, network, name, now_us())?;
        Ok(id)
    }

    /// Keeps a sensor that was made elsewhere; one of this identifier is renamed. Blocks until it is on disk.
    pub fn put_sensor(&self, id: Id, network: Id, name: &str, created_us: u64) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        self.keep_sensor(NewSensor { id, network, name: name.into(), created_us })
    }

    /// Gives a sensor of this network another name. Blocks until it is on disk.
    pub fn rename_sensor(&self, network: Id, id: Id, name: &str) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        let unknown = || AccountsError::unknown("sensor", &id.to_string());
        let account = self.sensor_of(network, id).ok_or_else(unknown)?;
        self.keep_sensor(NewSensor { id, network, name: name.into(), created_us: account.created_us })
    }

    fn keep_sensor(&self, sensor: NewSensor) -> Result<(), AccountsError> {
        {
            let directory = self.0.tenta.directory.read();
            if directory.network(sensor.network).is_none() {
                return Err(AccountsError::unknown("network", &sensor.network.to_string()));
            }
            if directory.sensor_named(sensor.network, &sensor.name).is_some_and(|other| other != sensor.id) {
                return Err(taken("sensor", &sensor.name));
            }
            match directory.sensor(sensor.id) {
                Some((network, _)) if network != sensor.network => {
                    return Err(taken("sensor of another network", &sensor.id.to_string()));
                }
                Some(_) => {}
                None => {
                    let limits = &self.0.limits;
                    limit(directory.sensor_count(), limits.sensors, "sensors", "accounts.sensors")?;
                    let (of_network, most) =
                        (directory.sensors_of(sensor.network).len(), limits.sensors_per_network);
                    limit(of_network, most, "sensors of one network", "accounts.sensors_per_network")?;
                }
            }
        }
        self.keep(vec![Kept::Sensor(sensor)])
    }

    /// The sensor of this identifier, with its network's.
    pub fn sensor(&self, id: Id) -> Option<(Id, Arc<Account>)> {
        self.0.tenta.directory.read().sensor(id)
    }

    /// The sensor, if it belongs to this network.
    pub fn sensor_of(&self, network: Id, id: Id) -> Option<Arc<Account>> {
        self.sensor(id).filter(|(of, _)| *of == network).map(|(_, account)| account)
    }

    /// The sensors of a network, oldest first.
    pub fn sensors_of(&self, network: Id) -> Vec<Arc<Account>> {
        let directory = self.0.tenta.directory.read();
        let all = directory.sensors_of(network);
        all.into_iter().filter_map(|id| directory.sensor(id)).map(|(_, account)| account).collect()
    }

    /// Keeps the next configuration of a sensor of this network, and gives its revision. Blocks until it is on disk.
    pub fn create_configuration(&self, network: Id, sensor: Id, value: &str) -> Result<u32, AccountsError> {
        let _changing = self.0.changing.lock();
        let unknown = || AccountsError::unknown("sensor", &sensor.to_string());
        self.sensor_of(network, sensor).ok_or_else(unknown)?;
        let all = self.configurations()?;
        let revision = all.next(sensor).map_err(AccountsError::Store)?;
        let (value, created_us) = (value.to_owned(), now_us());
        self.add(all, sensor, &Configuration { revision, value, created_us, published_us: None }, false)?;
        Ok(revision)
    }

    /// Keeps a configuration that was made elsewhere, under its own revision; one that is there is replaced. `again`: it
    /// shall be published also if it was. Blocks until it is on disk.
    pub fn put_configuration(
        &self,
        sensor: Id,
        kept: &Configuration,
        again: bool,
    ) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        self.sensor(sensor).ok_or_else(|| AccountsError::unknown("sensor", &sensor.to_string()))?;
        self.add(self.configurations()?, sensor, kept, again)
    }

    fn add(
        &self,
        all: &Configurations,
        sensor: Id,
        kept: &Configuration,
        again: bool,
    ) -> Result<(), AccountsError> {
        let most = self.0.limits.configuration_bytes;
        if kept.value.len() > most {
            return Err(AccountsError::Configuration { bytes: kept.value.len(), most });
        }
        all.put(sensor, kept, again).map_err(AccountsError::Store)?;
        let newest = all.newest(sensor).map_err(AccountsError::Store)?;
        self.0.tenta.directory.write().revised(sensor, newest);
        Ok(())
    }

    /// Configurations of a sensor with revisions above and below these, ascending, or descending if `reverse`. Blocks.
    pub fn read_configurations(
        &self,
        sensor: Id,
        (above, below): (Option<u32>, Option<u32>),
        reverse: bool,
        most: usize,
    ) -> Result<Vec<Configuration>, AccountsError> {
        let all = self.configurations()?;
        all.read(sensor, (above, below), reverse, most).map_err(AccountsError::Store)
    }

    /// Hears when there are configurations to be published.
    pub fn publishable(&self) -> Result<watch::Receiver<u64>, AccountsError> {
        Ok(self.configurations()?.waiting())
    }

    /// Configurations that are to be published, by sensor and revision, behind the one that is given. Blocks.
    pub fn unpublished(
        &self,
        behind: Option<(Id, u32)>,
        most: usize,
    ) -> Result<Vec<Publishable>, AccountsError> {
        self.configurations()?.unpublished(behind, most).map_err(AccountsError::Store)
    }

    /// Says that a configuration was published now. Said before, it stays as it was. Blocks until it is on disk.
    pub fn published(&self, sensor: Id, revision: u32) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        self.configurations()?.published(sensor, revision, now_us()).map_err(AccountsError::Store)
    }

    pub(super) fn forget_configurations(&self, sensor: Id) -> Result<(), AccountsError> {
        match &self.0.tenta.configurations {
            Some(all) => all.forget(sensor).map_err(AccountsError::Store),
            None => Ok(()),
        }
    }

    fn configurations(&self) -> Result<&Configurations, AccountsError> {
        let closed = || AccountsError::Store("the table of configurations is not open".into());
        self.0.tenta.configurations.as_ref().ok_or_else(closed)
    }
}

//! Accounts of tenta's clients: users with a password and access tokens, networks that they are members of, sensors in
//! these, and the sensors' configurations. None of them is a user of rooms: the two know nothing of each other.
//!
//! Names of users and of networks are unique in their tenant, those of sensors in their network. Identifiers are
//! random UUIDs, and unique in all.

mod configurations;
mod directory;
mod id;
mod kept;
mod name;
mod networks;
mod people;
mod sensors;
#[cfg(test)]
mod tests;

pub use configurations::{Configuration, MOST_REVISION, Publishable};
pub use id::{Id, NoId};
pub use name::is_name;
pub use networks::Network;
pub use people::{Hash, Person, Token};

pub(super) use configurations::Configurations;
pub(super) use directory::Directory;
pub(super) use kept::is_record;

use parking_lot::RwLock;

use super::{Accounts, AccountsError};
use crate::store::{Rows, Table};
use kept::Kept;

/// The realm in which plugins look sensors up: by identifier, the name is the sensor's, and the attributes are `network`,
/// its network's identifier, and `revision`, that of its newest configuration if there is one.
pub const SENSORS: &str = "sensors";

/// Name of the store's table that holds configurations.
pub const CONFIGURATIONS: &str = "configurations";

/// All of them, in memory but for the configurations.
#[derive(Default)]
pub(super) struct All {
    pub(super) directory: RwLock<Directory>,
    configurations: Option<Configurations>,
}

impl All {
    /// Puts together what was kept. What cannot be read, or has lost its owner, is told to `unread`.
    pub(super) fn load(rows: Rows, mut unread: impl FnMut(&[u8], &dyn std::fmt::Display)) -> Self {
        let (mut directory, mut kept) = (Directory::default(), Vec::new());
        for (name, value) in rows {
            match Kept::decode(&name, &value) {
                Ok(record) => kept.push((name, record)),
                Err(error) => unread(&name, &error),
            }
        }
        // Whoever owns comes before what is owned.
        kept.sort_by_key(|(_, record)| record.rank());
        for (name, record) in kept {
            if !directory.insert(record) {
                unread(&name, &"what it belongs to is not there, or its name is another's");
            }
        }
        Self { directory: RwLock::new(directory), configurations: None }
    }
}

/// What may be done with them.
#[derive(Clone, Copy)]
pub struct Tenta<'a>(&'a Accounts);

impl Accounts {
    /// Accounts of tenta's clients.
    pub fn tenta(&self) -> Tenta<'_> {
        Tenta(self)
    }

    /// With the table of configurations. Without it sensors have none, and get none.
    pub fn with_configurations(mut self, table: Table) -> Result<Self, AccountsError> {
        let configurations = Configurations::open(table);
        let directory = self.tenta.directory.get_mut();
        for sensor in directory.sensor_ids() {
            let newest = configurations.newest(sensor).map_err(AccountsError::Store)?;
            directory.revised(sensor, newest);
        }
        self.tenta.configurations = Some(configurations);
        Ok(self)
    }
}

impl Tenta<'_> {
    /// Writes all of it in one step, and only then into memory.
    fn keep(&self, records: Vec<Kept>) -> Result<(), AccountsError> {
        let changes = records.iter().map(Kept::set).collect::<Result<Vec<_>, _>>()?;
        self.0.apply(&changes)?;
        let mut directory = self.0.tenta.directory.write();
        for record in records {
            // It was looked at before, under the lock of changes.
            directory.insert(record);
        }
        Ok(())
    }

    fn forget(&self, records: &[Kept]) -> Result<(), AccountsError> {
        self.0.apply(&records.iter().map(Kept::gone).collect::<Vec<_>>())?;
        let mut directory = self.0.tenta.directory.write();
        records.iter().for_each(|record| directory.remove(record));
        Ok(())
    }

    fn tenant(&self, name: &str) -> Result<(), AccountsError> {
        if self.0.has_tenant(name) { Ok(()) } else { Err(AccountsError::unknown("tenant", name)) }
    }
}

fn limit(count: usize, most: usize, what: &'static str, setting: &'static str) -> Result<(), AccountsError> {
    if count < most { Ok(()) } else { Err(AccountsError::Limit { what, most, setting }) }
}

fn taken(what: &'static str, name: &str) -> AccountsError {
    AccountsError::Exists { what, name: name.to_owned() }
}

//! Networks: each has members, who see and change it, and sensors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::{Id, Tenta, limit, taken};
use crate::accounts::{Account, AccountsError};
use crate::message::now_us;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Unique in all.
    pub id: Id,
    /// An existing tenant.
    pub tenant: String,
    /// Unique in the tenant.
    pub name: String,
    /// Unix microseconds.
    pub created_us: u64,
}

impl Network {
    pub(super) fn member(&self, person: Id) -> Kept {
        Kept::Member(Member { network: self.id, person, created_us: self.created_us })
    }
}

/// Who may see a network and change what is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) network: Id,
    pub(super) person: Id,
    pub(super) created_us: u64,
}

/// A sensor, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NewSensor {
    pub(super) id: Id,
    pub(super) network: Id,
    pub(super) name: String,
    pub(super) created_us: u64,
}

impl NewSensor {
    pub(super) fn of(network: Id, account: &Account) -> Option<Self> {
        let (id, name) = (account.id.parse().ok()?, account.name.clone());
        Some(Self { id, network, name, created_us: account.created_us })
    }
}

impl Tenta<'_> {
    /// Makes a network whose only member is this user. Blocks until it is on disk.
    pub fn create_network(&self, creator: Id, name: &str) -> Result<Id, AccountsError> {
        let _changing = self.0.changing.lock();
        let unknown = || AccountsError::unknown("user", &creator.to_string());
        let tenant = self.person(creator).ok_or_else(unknown)?.tenant.clone();
        let network = Network { id: Id::random()?, tenant, name: name.into(), created_us: now_us() };
        self.room_for_network(&network)?;
        let of_creator = self.networks_of(creator).len();
        let most = self.0.limits.networks_per_user;
        limit(of_creator, most, "networks of one user", "accounts.networks_per_user")?;
        let (id, member) = (network.id, network.member(creator));
        self.keep(vec![Kept::Network(network), member])?;
        Ok(id)
    }

    fn room_for_network(&self, network: &Network) -> Result<(), AccountsError> {
        self.tenant(&network.tenant)?;
        let directory = self.0.tenta.directory.read();
        let other = directory.network_named(&network.tenant, &network.name);
        if other.is_some_and(|other| other.id != network.id) {
            return Err(taken("network", &network.name));
        }
        match directory.network(network.id) {
            Some(before) if before.tenant != network.tenant => {
                Err(taken("network of another tenant", &network.name))
            }
            Some(_) => Ok(()),
            None => {
                let most = self.0.limits.networks;
                limit(directory.network_count(), most, "networks", "accounts.networks")
            }
        }
    }

    /// Keeps a network that was made elsewhere; one of this identifier is replaced. Blocks until it is on disk.
    pub fn put_network(&self, network: Network) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        self.room_for_network(&network)?;
        self.keep(vec![Kept::Network(network)])
    }

    /// Makes a user a member of a network of its tenant. Blocks until it is on disk.
    pub fn put_member(&self, network: Id, person: Id, created_us: u64) -> Result<(), AccountsError> {
        let _changing = self.0.changing.lock();
        let of = self.network(network);
        let of = of.ok_or_else(|| AccountsError::unknown("network", &network.to_string()))?;
        let who = self.person(person).filter(|person| person.tenant == of.tenant);
        who.ok_or_else(|| AccountsError::unknown("user", &person.to_string()))?;
        self.keep(vec![Kept::Member(Member { network, person, created_us })])
    }

    /// The network of this identifier.
    pub fn network(&self, id: Id) -> Option<Arc<Network>> {
        self.0.tenta.directory.read().network(id)
    }

    /// All networks of a tenant, by name.
    pub fn networks(&self, tenant: &str) -> Vec<Arc<Network>> {
        self.0.tenta.directory.read().networks_of_tenant(tenant)
    }

    /// The networks that a user is a member of, oldest first.
    pub fn networks_of(&self, person: Id) -> Vec<Arc<Network>> {
        let mut all = self.0.tenta.directory.read().networks_of(person);
        all.sort_by_key(|network| (network.created_us, network.id));
        all
    }

    /// Whether the user is a member of the network.
    pub fn is_member(&self, network: Id, person: Id) -> bool {
        self.0.tenta.directory.read().is_member(network, person)
    }

    /// Deletes a network with its sensors and their configurations. What the sensors have published stays with the plugin
    /// that keeps it. Blocks until it is on disk.
    pub fn delete_network(&self, id: Id) -> Result<Arc<Network>, AccountsError> {
        let _changing = self.0.changing.lock();
        let (network, sensors, gone) = {
            let directory = self.0.tenta.directory.read();
            let network = directory.network(id);
            let network = network.ok_or_else(|| AccountsError::unknown("network", &id.to_string()))?;
            let sensors = directory.sensors_of(id);
            let of = |sensor: &Id| NewSensor::of(id, &directory.sensor(*sensor)?.1).map(Kept::Sensor);
            let mut gone: Vec<_> = sensors.iter().filter_map(of).collect();
            gone.extend(directory.members(id).into_iter().map(|person| network.member(person)));
            gone.push(Kept::Network(Network::clone(&network)));
            (network, sensors, gone)
        };
        // First those: what is left of a network can be deleted again, and a configuration without its sensor cannot.
        for sensor in sensors {
            self.forget_configurations(sensor)?;
        }
        self.forget(&gone)?;
        Ok(network)
    }
}

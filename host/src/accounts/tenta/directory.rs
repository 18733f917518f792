//! Who there is, in memory, with what finds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::kept::Kept;
use super::networks::{Member, Network, NewSensor};
use super::people::{Hash, Person};
use super::{Id, SENSORS};
use crate::accounts::Account;

/// (Tenant, name).
type Named = (String, String);

/// All of them. Whatever is owned has an owner.
#[derive(Default)]
pub(in crate::accounts) struct Directory {
    people: HashMap<Id, PersonEntry>,
    people_named: BTreeMap<Named, Id>,
    tokens: HashMap<Hash, Id>,
    networks: HashMap<Id, NetworkEntry>,
    networks_named: BTreeMap<Named, Id>,
    sensors: HashMap<Id, SensorEntry>,
}

struct PersonEntry {
    person: Arc<Person>,
    /// (Created, hash), oldest first.
    tokens: BTreeSet<(u64, Hash)>,
    networks: BTreeSet<Id>,
}

struct NetworkEntry {
    network: Arc<Network>,
    members: BTreeSet<Id>,
    named: HashMap<String, Id>,
    /// (Created, identifier), oldest first.
    sensors: BTreeSet<(u64, Id)>,
}

struct SensorEntry {
    network: Id,
    account: Arc<Account>,
}

impl Directory {
    /// Adds or replaces; what belongs to it stays. False: what it belongs to is not there, or its name is another's.
    pub(super) fn insert(&mut self, kept: Kept) -> bool {
        match kept {
            Kept::Person(person) => self.insert_person(person),
            Kept::Token(token) => match self.people.get_mut(&token.user) {
                Some(entry) => {
                    entry.tokens.insert((token.created_us, token.hash));
                    self.tokens.insert(token.hash, token.user);
                    true
                }
                None => false,
            },
            Kept::Network(network) => self.insert_network(network),
            Kept::Member(Member { network, person, .. }) => {
                match (self.networks.get_mut(&network), self.people.get_mut(&person)) {
                    (Some(of), Some(who)) => {
                        of.members.insert(person);
                        who.networks.insert(network);
                        true
                    }
                    _ => false,
                }
            }
            Kept::Sensor(sensor) => self.insert_sensor(sensor),
        }
    }

    fn insert_person(&mut self, person: Person) -> bool {
        let named = (person.tenant.clone(), person.name.clone());
        if self.people_named.get(&named).is_some_and(|other| *other != person.id) {
            return false;
        }
        let person = Arc::new(person);
        if let Some(entry) = self.people.get_mut(&person.id) {
            let before = std::mem::replace(&mut entry.person, Arc::clone(&person));
            self.people_named.remove(&(before.tenant.clone(), before.name.clone()));
        }
        self.people_named.insert(named, person.id);
        let new = || PersonEntry {
            person: Arc::clone(&person),
            tokens: BTreeSet::new(),
            networks: BTreeSet::new(),
        };
        self.people.entry(person.id).or_insert_with(new);
        true
    }

    fn insert_network(&mut self, network: Network) -> bool {
        let named = (network.tenant.clone(), network.name.clone());
        if self.networks_named.get(&named).is_some_and(|other| *other != network.id) {
            return false;
        }
        let network = Arc::new(network);
        if let Some(entry) = self.networks.get_mut(&network.id) {
            let before = std::mem::replace(&mut entry.network, Arc::clone(&network));
            self.networks_named.remove(&(before.tenant.clone(), before.name.clone()));
        }
        self.networks_named.insert(named, network.id);
        let new = || NetworkEntry {
            network: Arc::clone(&network),
            members: BTreeSet::new(),
            named: HashMap::new(),
            sensors: BTreeSet::new(),
        };
        self.networks.entry(network.id).or_insert_with(new);
        true
    }

    fn insert_sensor(&mut self, sensor: NewSensor) -> bool {
        let before = self.sensors.get(&sensor.id);
        if before.is_some_and(|before| before.network != sensor.network) {
            return false;
        }
        let Some(entry) = self.networks.get_mut(&sensor.network) else { return false };
        if entry.named.get(&sensor.name).is_some_and(|other| *other != sensor.id) {
            return false;
        }
        if let Some(before) = before {
            entry.named.remove(&before.account.name);
            entry.sensors.remove(&(before.account.created_us, sensor.id));
        }
        entry.named.insert(sensor.name.clone(), sensor.id);
        entry.sensors.insert((sensor.created_us, sensor.id));
        let mut attributes = vec![("network".to_owned(), sensor.network.to_string())];
        attributes.extend(before.and_then(|before| before.account.attributes.get(1).cloned()));
        let account = Account {
            realm: SENSORS,
            id: sensor.id.to_string(),
            tenant: entry.network.tenant.clone(),
            name: sensor.name,
            origin: "sensor".into(),
            publish: Vec::new(),
            subscribe: Vec::new(),
            attributes,
            created_us: sensor.created_us,
            expires_us: None,
        };
        self.sensors.insert(sensor.id, SensorEntry { network: sensor.network, account: Arc::new(account) });
        true
    }

    /// Says which configuration of a sensor is the newest.
    pub(super) fn revised(&mut self, sensor: Id, newest: Option<u32>) {
        let (Some(entry), Some(newest)) = (self.sensors.get_mut(&sensor), newest) else { return };
        let account = Arc::make_mut(&mut entry.account);
        account.attributes.truncate(1);
        account.attributes.push(("revision".into(), newest.to_string()));
    }

    /// Forgets one; what belongs to it must be forgotten before.
    pub(super) fn remove(&mut self, kept: &Kept) {
        match kept {
            Kept::Person(person) => {
                self.people_named.remove(&(person.tenant.clone(), person.name.clone()));
                self.people.remove(&person.id);
            }
            Kept::Token(token) => {
                self.tokens.remove(&token.hash);
                if let Some(entry) = self.people.get_mut(&token.user) {
                    entry.tokens.remove(&(token.created_us, token.hash));
                }
            }
            Kept::Network(network) => {
                self.networks_named.remove(&(network.tenant.clone(), network.name.clone()));
                self.networks.remove(&network.id);
            }
            Kept::Member(Member { network, person, .. }) => {
                if let Some(entry) = self.networks.get_mut(network) {
                    entry.members.remove(person);
                }
                if let Some(entry) = self.people.get_mut(person) {
                    entry.networks.remove(network);
                }
            }
            Kept::Sensor(sensor) => {
                if let Some(entry) = self.networks.get_mut(&sensor.network) {
                    entry.named.remove(&sensor.name);
                    entry.sensors.remove(&(sensor.created_us, sensor.id));
                }
                self.sensors.remove(&sensor.id);
            }
        }
    }

    pub(super) fn person(&self, id: Id) -> Option<Arc<Person>> {
        self.people.get(&id).map(|entry| Arc::clone(&entry.person))
    }

    pub(super) fn person_named(&self, tenant: &str, name: &str) -> Option<Arc<Person>> {
        self.person(*self.people_named.get(&(tenant.to_owned(), name.to_owned()))?)
    }

    pub(super) fn person_count(&self) -> usize {
        self.people.len()
    }

    pub(super) fn person_of_token(&self, hash: &Hash) -> Option<Arc<Person>> {
        self.person(*self.tokens.get(hash)?)
    }

    /// Oldest first.
    pub(super) fn tokens_of(&self, person: Id) -> impl Iterator<Item = (u64, Hash)> {
        self.people.get(&person).into_iter().flat_map(|entry| entry.tokens.iter().copied())
    }

    pub(super) fn network(&self, id: Id) -> Option<Arc<Network>> {
        self.networks.get(&id).map(|entry| Arc::clone(&entry.network))
    }

    pub(super) fn network_named(&self, tenant: &str, name: &str) -> Option<Arc<Network>> {
        self.network(*self.networks_named.get(&(tenant.to_owned(), name.to_owned()))?)
    }

    pub(super) fn network_count(&self) -> usize {
        self.networks.len()
    }

    pub(super) fn networks_of(&self, person: Id) -> Vec<Arc<Network>> {
        let ids = self.people.get(&person).into_iter().flat_map(|entry| &entry.networks);
        ids.filter_map(|id| self.network(*id)).collect()
    }

    pub(super) fn is_member(&self, network: Id, person: Id) -> bool {
        self.networks.get(&network).is_some_and(|entry| entry.members.contains(&person))
    }

    pub(super) fn members(&self, network: Id) -> Vec<Id> {
        self.networks.get(&network).into_iter().flat_map(|entry| &entry.members).copied().collect()
    }

    pub(super) fn sensor(&self, id: Id) -> Option<(Id, Arc<Account>)> {
        self.sensors.get(&id).map(|entry| (entry.network, Arc::clone(&entry.account)))
    }

    pub(super) fn sensor_named(&self, network: Id, name: &str) -> Option<Id> {
        self.networks.get(&network)?.named.get(name).copied()
    }

    pub(super) fn sensor_count(&self) -> usize {
        self.sensors.len()
    }

    pub(super) fn sensor_ids(&self) -> Vec<Id> {
        self.sensors.keys().copied().collect()
    }

    /// Oldest first.
    pub(super) fn sensors_of(&self, network: Id) -> Vec<Id> {
        self.networks.get(&network).into_iter().flat_map(|entry| &entry.sensors).map(|(_, id)| *id).collect()
    }

    /// All networks of a tenant, by name.
    pub(super) fn networks_of_tenant(&self, tenant: &str) -> Vec<Arc<Network>> {
        of_tenant(&self.networks_named, tenant).filter_map(|id| self.network(id)).collect()
    }

    /// All users of a tenant, by name.
    pub(super) fn people_of_tenant(&self, tenant: &str) -> Vec<Arc<Person>> {
        of_tenant(&self.people_named, tenant).filter_map(|id| self.person(id)).collect()
    }

    /// How many users and networks a tenant has.
    pub(in crate::accounts) fn belongings(&self, tenant: &str) -> (usize, usize) {
        (of_tenant(&self.people_named, tenant).count(), of_tenant(&self.networks_named, tenant).count())
    }
}

fn of_tenant<'a>(named: &'a BTreeMap<Named, Id>, tenant: &'a str) -> impl Iterator<Item = Id> + 'a {
    let from = (tenant.to_owned(), String::new());
    named.range(from..).take_while(move |((of, _), _)| of == tenant).map(|(_, id)| *id)
}

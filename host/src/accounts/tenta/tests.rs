//! What holds of these accounts, over a store that is opened again.

use super::*;
use crate::accounts::{MAIN, TABLE};
use crate::config::AccountLimits;
use crate::message::now_us;
use crate::store::{Store, StoreOptions};

fn open(folder: &std::path::Path) -> (Store, Accounts) {
    let store = Store::open(folder, StoreOptions { logs: Vec::new(), ..StoreOptions::default() }).unwrap();
    let accounts = Accounts::open(Box::new(store.table(TABLE).unwrap())).unwrap();
    let accounts = accounts.with_configurations(store.table(CONFIGURATIONS).unwrap()).unwrap();
    (store, accounts)
}

fn attributes(accounts: &Accounts, sensor: Id) -> Vec<(String, String)> {
    accounts.lookup(SENSORS, &sensor.to_string()).unwrap().attributes.clone()
}

fn error<T: std::fmt::Debug>(result: Result<T, AccountsError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn all_of_it_is_there_after_a_restart_and_gone_with_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let (store, accounts) = open(folder.path());
    let (ada, token) = accounts.tenta().create_person(MAIN, "ada", "hash".into()).unwrap();
    assert_eq!(token.len(), 64);
    let more = accounts.tenta().create_token(ada).unwrap();
    let network = accounts.tenta().create_network(ada, "north").unwrap();
    let sensor = accounts.tenta().create_sensor(network, "s1").unwrap();
    assert_eq!(attributes(&accounts, sensor), [("network".into(), network.to_string())]);
    for revision in 0..3 {
        let value = format!("{{\"n\":{revision}}}");
        assert_eq!(accounts.tenta().create_configuration(network, sensor, &value).unwrap(), revision);
    }
    accounts.tenta().published(sensor, 0).unwrap();
    accounts.tenta().rename_sensor(network, sensor, "s2").unwrap();
    drop((store, accounts));

    let (_store, accounts) = open(folder.path());
    let tenta = accounts.tenta();
    for token in [&token, &more] {
        assert_eq!(tenta.person_of_token(token.as_bytes()).unwrap().id, ada);
    }
    assert!(tenta.person_of_token(b"").is_none() && tenta.is_member(network, ada));
    let found = accounts.lookup(SENSORS, &sensor.to_string()).unwrap();
    assert_eq!((found.name.as_str(), found.origin.as_str(), found.realm), ("s2", "sensor", "sensors"));
    assert_eq!(attributes(&accounts, sensor)[1], ("revision".into(), "2".into()));
    let all = tenta.read_configurations(sensor, (None, None), false, 64).unwrap();
    assert_eq!(all.iter().map(|one| one.published_us.is_some()).collect::<Vec<_>>(), [true, false, false]);
    let waiting = tenta.unpublished(None, 64).unwrap();
    assert_eq!(
        waiting.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(),
        [r#"{"n":1}"#, r#"{"n":2}"#]
    );
    assert_eq!(tenta.unpublished(Some((sensor, 1)), 64).unwrap()[..], waiting[1..]);

    tenta.delete_network(network).unwrap();
    assert!(tenta.sensor(sensor).is_none() && tenta.networks_of(ada).is_empty());
    assert!(tenta.unpublished(None, 64).unwrap().is_empty());
    assert!(tenta.read_configurations(sensor, (None, None), false, 64).unwrap().is_empty());
    tenta.delete_person(MAIN, "ada").unwrap();
    assert!(tenta.person_of_token(token.as_bytes()).is_none());
    drop((_store, accounts));
    let (_store, accounts) = open(folder.path());
    assert!(accounts.tenta().people(MAIN).is_empty() && accounts.tenta().networks(MAIN).is_empty());
}

#[test]
fn configurations_are_read_in_pages_and_may_be_long() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, accounts) = open(folder.path());
    let tenta = accounts.tenta();
    let (ada, _) = tenta.create_person(MAIN, "ada", "hash".into()).unwrap();
    let network = tenta.create_network(ada, "north").unwrap();
    let sensor = tenta.create_sensor(network, "s1").unwrap();
    let other = tenta.create_sensor(network, "s2").unwrap();
    let long = format!("{{\"text\":\"{}\"}}", "ä".repeat(100_000));
    for value in ["{}", &long, "{}", "{}"] {
        tenta.create_configuration(network, sensor, value).unwrap();
    }
    tenta.create_configuration(network, other, "{}").unwrap();
    let read = |range, reverse, most| -> Vec<u32> {
        let all = tenta.read_configurations(sensor, range, reverse, most).unwrap();
        all.iter().map(|one| one.revision).collect()
    };
    assert_eq!(read((None, None), false, 64), [0, 1, 2, 3]);
    assert_eq!(read((Some(1), None), false, 64), [2, 3]);
    assert_eq!(read((None, Some(3)), true, 2), [2, 1]);
    assert_eq!(read((Some(u32::MAX), None), false, 64), [0; 0]);
    let page = tenta.read_configurations(sensor, (Some(0), Some(2)), false, 64).unwrap();
    assert_eq!(page[0].value, long);
    // A shorter one in its place leaves nothing of it.
    let kept = Configuration { value: "{}".into(), published_us: Some(7), ..page[0].clone() };
    tenta.put_configuration(sensor, &kept, false).unwrap();
    assert_eq!(tenta.read_configurations(sensor, (Some(0), Some(2)), false, 64).unwrap(), [kept]);
    tenta.published(sensor, 1).unwrap();
    let page = tenta.read_configurations(sensor, (Some(0), Some(2)), false, 64).unwrap();
    assert_eq!(page[0].published_us, Some(7), "the first time counts");
    let last =
        Configuration { revision: MOST_REVISION, value: "{}".into(), created_us: 1, published_us: None };
    tenta.put_configuration(sensor, &last, false).unwrap();
    assert!(error(tenta.create_configuration(network, sensor, "{}")).contains("the last"));
}

#[test]
fn names_are_unique_and_everything_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, accounts) = open(folder.path());
    let accounts = accounts.limited(AccountLimits {
        tenta_users: 2,
        tenta_tokens_per_user: 2,
        networks: 2,
        networks_per_user: 1,
        sensors: 3,
        sensors_per_network: 2,
        configuration_bytes: 5,
        ..AccountLimits::default()
    });
    let tenta = accounts.tenta();
    let (ada, first) = tenta.create_person(MAIN, "ada", "hash".into()).unwrap();
    let (bob, _) = tenta.create_person(MAIN, "bob", "hash".into()).unwrap();
    assert!(error(tenta.create_person(MAIN, "ada", String::new())).contains("exists already"));
    assert!(error(tenta.create_person(MAIN, "eve", String::new())).contains("accounts.tenta_users"));
    let second = tenta.create_token(ada).unwrap();
    tenta.create_token(ada).unwrap();
    assert!(tenta.person_of_token(first.as_bytes()).is_none(), "the oldest goes");
    assert!(tenta.person_of_token(second.as_bytes()).is_some());

    let north = tenta.create_network(ada, "north").unwrap();
    assert!(error(tenta.create_network(bob, "north")).contains("exists already"));
    assert!(error(tenta.create_network(ada, "n2")).contains("accounts.networks_per_user"));
    let south = tenta.create_network(bob, "south").unwrap();
    assert!(error(tenta.create_network(bob, "n3")).contains("accounts.networks"));
    let s1 = tenta.create_sensor(north, "s1").unwrap();
    assert!(error(tenta.create_sensor(north, "s1")).contains("exists already"));
    let s2 = tenta.create_sensor(north, "s2").unwrap();
    assert!(error(tenta.rename_sensor(north, s2, "s1")).contains("exists already"));
    tenta.rename_sensor(north, s2, "s2").unwrap();
    assert!(error(tenta.rename_sensor(south, s2, "x")).contains("there is no sensor"));
    assert!(error(tenta.create_sensor(north, "s3")).contains("accounts.sensors_per_network"));
    tenta.create_sensor(south, "s1").unwrap();
    assert!(error(tenta.create_sensor(south, "s4")).contains("(accounts.sensors)"));
    let long = error(tenta.create_configuration(north, s1, "{    }"));
    assert!(long.contains("6 bytes; at most 5"), "{long}");
    assert!(error(tenta.create_configuration(south, s1, "{}")).contains("there is no sensor"));
    assert_eq!(tenta.create_configuration(north, s1, "{}").unwrap(), 0);
}

#[test]
fn a_tenant_that_has_any_of_them_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, accounts) = open(folder.path());
    accounts.create_tenant("lab").unwrap();
    let tenta = accounts.tenta();
    assert!(error(tenta.create_person("else", "ada", String::new())).contains("there is no tenant"));
    let (ada, _) = tenta.create_person("lab", "ada", String::new()).unwrap();
    let (other, _) = tenta.create_person(MAIN, "ada", String::new()).unwrap();
    let network = tenta.create_network(ada, "north").unwrap();
    tenta.create_network(other, "north").unwrap();
    let sensor = tenta.create_sensor(network, "s1").unwrap();
    assert_eq!(accounts.lookup(SENSORS, &sensor.to_string()).unwrap().tenant, "lab");
    assert!(error(tenta.put_member(network, other, now_us())).contains("there is no user"));
    assert!(error(accounts.delete_tenant("lab")).contains("1 users, 0 rooms and 1 networks"));
    tenta.delete_person("lab", "ada").unwrap();
    assert!(error(accounts.delete_tenant("lab")).contains("1 networks"));
    tenta.delete_network(network).unwrap();
    accounts.delete_tenant("lab").unwrap();
}

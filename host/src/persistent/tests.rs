//! Sessions over a real store.

use std::path::Path;

use super::*;
use crate::store::StoreOptions;

fn open(dir: &Path) -> (Store, Arc<Registry>) {
    let store = Store::open(dir, StoreOptions::default()).unwrap();
    let (received, found) = Received::open(store.clone()).unwrap();
    let registry = Registry::load(store.clone(), received, found).unwrap();
    (store, registry)
}

fn owner(client: &str) -> Owner {
    Owner { tenant: "main".into(), principal: "p".into(), client: client.into() }
}

fn subscription(filter: &str) -> Subscription {
    let (filter, pattern) = (filter.to_owned(), filter.to_owned());
    Subscription { filter, pattern, qos: 2, id: Some(7), ..Subscription::default() }
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_session_comes_back_as_it_was_until_it_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (store, registry) = open(dir.path());
    let session = registry.begin(owner("a"), 2).unwrap();
    session.keep(HOUR);
    session.subscribe(subscription("x/#")).await.unwrap();
    session.subscribe(subscription("y")).await.unwrap();
    assert_eq!(session.unsubscribe("y").await.unwrap(), Some(subscription("y")));
    assert_eq!(session.unsubscribe("y").await.unwrap(), None);
    let outgoing = Outgoing {
        consumer: "c".into(),
        shared: false,
        log: "default".into(),
        epoch: 1,
        offset: 5,
        released: false,
    };
    for packet in [3, 65_535] {
        let (done, durable) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        session.put(packet, outgoing.clone(), done).unwrap();
        durable.await.unwrap().unwrap();
    }
    session.forget(3);
    store.close().unwrap();
    drop((session, registry, store));
    let (store, registry) = open(dir.path());
    assert!(registry.is_subscribed("main", "x/#") && !registry.is_subscribed("other", "x/#"));
    let session = registry.resume(&owner("a")).unwrap();
    assert_eq!(session.subscriptions(), [subscription("x/#")]);
    assert_eq!(session.outgoing(), [(65_535, outgoing)]);
    assert!(registry.resume(&owner("b")).is_none());
    assert_eq!(registry.end(&session), [subscription("x/#")]);
    assert!(session.subscribe(subscription("z")).await.is_err(), "nothing is written behind its end");
    store.close().unwrap();
    drop((session, registry, store));
    let (store, registry) = open(dir.path());
    assert!(registry.resume(&owner("a")).is_none());
    assert!(store.load_space(SPACE).unwrap().is_empty(), "nothing is left");
}

#[test]
fn there_are_not_more_than_there_may_be() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, registry) = open(dir.path());
    let first = registry.begin(owner("a"), 1).unwrap();
    assert!(registry.begin(owner("b"), 1).is_err());
    registry.end(&first);
    assert!(registry.begin(owner("b"), 1).is_ok());
}

#[test]
fn one_in_use_does_not_expire_and_one_that_expires_is_not_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, registry) = open(dir.path());
    let session = registry.begin(owner("a"), 1).unwrap();
    session.keep(Duration::ZERO);
    assert!(registry.expired().is_empty());
    session.park(HOUR);
    assert!(registry.expired().is_empty());
    session.park(Duration::ZERO);
    assert_eq!(registry.expired().len(), 1);
    assert!(registry.resume(&owner("a")).is_none());
}

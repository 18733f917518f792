//! What is left of identifiers after the process was killed at any moment.

use std::path::Path;

use weir_contract::packed::put;

use super::*;
use crate::store::StoreOptions;

fn store(folder: &Path) -> Store {
    Store::open(folder, StoreOptions { free_floor_bytes: 0, ..StoreOptions::default() }).unwrap()
}

fn key(packet: u16) -> Key {
    Key { session: "S".into(), packet }
}

fn message(packet: u16) -> Message {
    let mut meta = Vec::new();
    put(&mut meta, tag::RECEIVED, &key(packet).encode());
    Message { topic: "a".into(), meta: meta.into(), payload: Bytes::from_static(b"x") }
}

fn waited(begin: impl FnOnce(OnDurable)) {
    let (done, wait) = std::sync::mpsc::sync_channel(1);
    begin(Box::new(move |result| drop(done.send(result))));
    wait.recv().unwrap().unwrap();
}

/// Puts a message into the log as the sequencer does. Without `noted`, as a crash leaves it that comes between the
/// flush of the log and that of the state.
fn publish(store: &Store, received: &Received, packet: u16, noted: bool) {
    let (log, message) = (&store.logs()[0], message(packet));
    waited(|done| {
        store
            .writer()
            .submit(|queue| {
                let (epoch, offset) = (queue.epoch(0), queue.next_offset(0));
                queue.record(0, offset, message.clone());
                if noted {
                    let place = Place { log: Arc::clone(log.name()), epoch, offset };
                    received.submit(queue, &message, &place, log);
                }
                queue.on_durable(done);
            })
            .unwrap();
    });
}

fn packets(found: &Found) -> Vec<u16> {
    let mut all: Vec<_> = found.get("S").into_iter().flatten().copied().collect();
    all.sort_unstable();
    all
}

#[test]
fn what_only_the_log_knows_is_found_there_and_what_was_released_is_not() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = store(folder.path());
        let (received, found) = Received::open(store.clone()).unwrap();
        assert!(found.is_empty());
        publish(&store, &received, 1, true);
        publish(&store, &received, 2, true);
        waited(|done| received.release(&key(1), done).unwrap());
        publish(&store, &received, 3, false);
    }
    // Twice: what was found is written, and found again.
    for _ in 0..2 {
        let (_, found) = Received::open(store(folder.path())).unwrap();
        assert_eq!(packets(&found), [2, 3]);
    }
    {
        let store = store(folder.path());
        let (received, _) = Received::open(store.clone()).unwrap();
        waited(|done| received.release(&key(3), done).unwrap());
        publish(&store, &received, 1, false);
        received.erase(&"S".into(), [2]).unwrap();
    }
    let (_, found) = Received::open(store(folder.path())).unwrap();
    assert_eq!(packets(&found), Vec::<u16>::new(), "a mark stands for all that was before it");
}

#[test]
fn an_identifier_goes_without_anything_else() {
    let mut meta = Vec::new();
    put(&mut meta, tag::NAME, b"ada");
    let plain = Bytes::from(meta.clone());
    put(&mut meta, tag::RECEIVED, &key(1).encode());
    put(&mut meta, tag::QOS, &[2]);
    let stripped = strip(Message { meta: meta.into(), ..message(1) });
    let without = [&plain[..], &[tag::QOS, 1, 0, 2]].concat();
    assert_eq!(stripped.meta, without);
    assert_eq!(strip(stripped).meta, without);
}

#[test]
fn what_is_in_no_log_is_kept_and_what_a_log_has_lost_is_not() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = store(folder.path());
        let (received, _) = Received::open(store.clone()).unwrap();
        waited(|done| received.receive(&key(7), done).unwrap());
        let lost = Place { log: "default".into(), epoch: store.logs()[0].epoch(), offset: 5 };
        store.writer().submit(|queue| received.put(queue, key(8).encode(), Some(&lost))).unwrap();
    }
    let (_, found) = Received::open(store(folder.path())).unwrap();
    assert_eq!(packets(&found), [7]);
}

#[test]
fn a_log_of_an_earlier_version_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = store(folder.path());
        waited(|done| {
            store
                .writer()
                .submit(|queue| {
                    queue.record(0, 0, message(1));
                    queue.on_durable(done);
                })
                .unwrap();
        });
    }
    let (_, found) = Received::open(store(folder.path())).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn marks_follow_a_log_in_which_nothing_else_happens() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let (received, _) = Received::open(store.clone()).unwrap();
    let mark = || received.marks.lock()["default"];
    let fill = |count: u64| {
        let plain = Message { meta: Bytes::from_static(&[1]), ..message(1) };
        store
            .writer()
            .submit(|queue| {
                (0..count).for_each(|_| queue.record(0, queue.next_offset(0), plain.clone()));
            })
            .unwrap();
    };
    fill(BEHIND - 1);
    received.follow();
    assert_eq!(mark(), 0);
    fill(1);
    received.follow();
    assert_eq!(mark(), BEHIND);
}

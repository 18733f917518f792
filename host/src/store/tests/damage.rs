//! Damaged databases and packs: what is lost is reported, and the rest goes on.

use super::*;
use crate::store::database::break_for_test;
use crate::store::{chunk, pack};

/// Changes a stored pack.
fn tamper(store: &Store, first: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let database = store.logs()[0].active_for_test();
    database
        .tree(keys::PACKS, |tree| {
            let key = keys::pack(first, 0);
            let mut bytes = tree.get(key)?.unwrap().to_vec();
            change(&mut bytes);
            tree.insert(key, bytes)
        })
        .unwrap();
    database.sync().unwrap();
}

/// First and last bound of what is damaged.
fn bounds(page: &ReadPage) -> Vec<(u64, u64)> {
    page.damaged.iter().map(|range| (range.start, range.end)).collect()
}

#[test]
fn a_flipped_bit_is_reported_and_the_rest_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for _ in 0..3 {
        append(&store, numbered(10));
    }
    tamper(&store, 10, |bytes| bytes[100] ^= 4);
    let log = &store.logs()[0];
    let page = log.read(0, &|_| true, 100, 1 << 20).unwrap();
    assert_eq!(bounds(&page), [(10, 20)]);
    assert!(page.end);
    let offsets: Vec<u64> = page.messages.iter().map(|stored| stored.place.offset).collect();
    assert_eq!(offsets, (0..10).chain(20..30).collect::<Vec<_>>());
    assert!(store.incidents()[0].what.contains("messages 10 to 20 cannot be read"));
    let back = log.read_reverse(u64::MAX, &|_| true, 100, 1 << 20).unwrap();
    assert_eq!((bounds(&back), back.messages.len()), (vec![(10, 20)], 20));
}

#[test]
fn a_lost_part_of_a_large_message_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, [message("a", "1"), message("b", vec![2; 100_000]), message("c", "3")]);
    let database = store.logs()[0].active_for_test();
    let part = keys::pack(1, 3);
    assert!(database.tree(keys::PACKS, |tree| tree.remove(part)).unwrap().is_some());
    let page = store.logs()[0].read(0, &|_| true, 100, 1 << 20).unwrap();
    assert_eq!((bounds(&page), page.messages.len()), (vec![(1, 2)], 2));
}

#[test]
fn a_torn_last_pack_is_removed_and_reported_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(10));
    append(&store, [message("large", vec![1; 3 * pack::PACK_BYTES])]);
    // The crash came between two parts.
    chunk::remove(&store.logs()[0].active_for_test(), 10).unwrap();
    let mut builder = pack::PackBuilder::new();
    builder.push(10, &message("large", vec![1; 3 * pack::PACK_BYTES]));
    let first_part = builder.finish(1, |_, bytes| bytes[..pack::PACK_BYTES].to_vec());
    let database = store.logs()[0].active_for_test();
    database.tree(keys::PACKS, |tree| tree.insert(keys::pack(10, 0), first_part.as_slice())).unwrap();
    database.sync().unwrap();
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let store = open(crashed.path());
    assert_eq!(store.logs()[0].next_offset(), 10);
    assert!(store.incidents()[0].what.contains("offset 10, was cut off"));
    append(&store, numbered(1));
    assert_eq!(read_all(&store.logs()[0], 0, &|_| true).len(), 11);
}

#[test]
fn damaged_databases_are_set_aside_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let logs = || vec![LogOptions::new("a"), LogOptions::new("b")];
    let open = || Store::open(dir.path(), StoreOptions { logs: logs(), ..options() }).unwrap();
    let store = open();
    store
        .writer()
        .submit(|queue| {
            for log in [0, 1] {
                queue.record(log, 0, message("t", "x"));
            }
        })
        .unwrap();
    store.storage_space("p").unwrap().commit(&[], &[("a", Cursor { epoch: 1, next: 1 })]).unwrap();
    let before = store.logs()[0].epoch();
    drop(store);
    break_for_test(&dir.path().join("log/a/00000000000000000000"));
    break_for_test(&dir.path().join("state"));
    let store = open();
    assert_eq!(store.incidents().len(), 2, "{:?}", store.incidents());
    assert!(store.incidents().iter().all(|incident| incident.what.contains(".corrupt-")));
    let [a, b] = store.logs() else { panic!() };
    assert!(a.epoch() > before, "readers learn that something is gone");
    assert_eq!((a.durable(), b.durable()), (1, 1));
    assert_eq!(a.resume(before, 0), Resume::Lost { oldest: 1 });
    assert_eq!(store.storage_space("p").unwrap().cursor("a").unwrap().unwrap().next, 1);
    append(&store, numbered(3));
    assert_eq!(read_all(&store.logs()[0], 0, &|_| true).len(), 3);
}

#[test]
fn a_damaged_sealed_segment_is_reported_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogOptions::new("default");
    log.segment_bytes = 1;
    let open = || Store::open(dir.path(), StoreOptions { logs: vec![log.clone()], ..options() }).unwrap();
    let store = open();
    for _ in 0..10 {
        append(&store, (0..64).map(|k| message("t", vec![k; 16_000])));
    }
    drop(store);
    break_for_test(&dir.path().join("log/default/00000000000000000000"));
    let store = open();
    let log = &store.logs()[0];
    let mut page = log.read(0, &|_| true, 1000, 1 << 30).unwrap();
    assert_eq!(page.damaged.len(), 1);
    let damaged = page.damaged.remove(0);
    assert!(damaged.start == 0 && damaged.end > 0);
    assert_eq!(page.messages.len() as u64, 640 - damaged.end);
    assert_eq!(store.incidents().len(), 1);
}

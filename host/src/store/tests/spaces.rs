//! State of plugins and of storage plugins: what is committed, and with what.

use std::sync::Arc;

use super::*;
use crate::message::now_us;

fn put(key: &str, value: impl Into<Vec<u8>>) -> Write {
    Write::Put { key: key.into(), value: value.into(), expires_us: None }
}

/// Key, value, expiry.
type StateWrite<'a> = (&'a str, Option<&'a [u8]>, Option<u64>);

fn write_state(store: &Store, writes: &[StateWrite<'_>]) {
    let space: Arc<str> = "plugin".into();
    let (done, wait) = std::sync::mpsc::sync_channel(16);
    store
        .writer()
        .submit(|queue| {
            for (key, value, expires_us) in writes {
                let value = value.map(|bytes| StateValue {
                    bytes: Bytes::copy_from_slice(bytes),
                    expires_us: *expires_us,
                });
                queue.state(&space, key.as_bytes().to_vec(), value);
            }
            queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
        })
        .unwrap();
    wait.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn state_comes_back_as_it_was_last_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = vec![7; 256 * 1024];
    write_state(&store, &[("a", Some(b"1"), None), ("b", Some(&long), None), ("c", Some(b"3"), None)]);
    write_state(&store, &[("a", Some(b"2"), None), ("c", None, None), ("d", Some(b"old"), Some(1))]);
    write_state(&store, &[("e", Some(b"new"), Some(now_us() + 3_600_000_000))]);
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let store = open(crashed.path());
    let all = store.load_space("plugin").unwrap();
    let keys: Vec<&[u8]> = all.iter().map(|pair| pair.key.as_slice()).collect();
    assert_eq!(keys, [b"a", b"b", b"e"]);
    assert_eq!((all[0].value.as_slice(), all[1].value == long), (b"2".as_slice(), true));
    assert!(all[2].expires_us.is_some());
    assert_eq!(blobs(crashed.path()), 0);
    store.drop_space("plugin").unwrap();
    assert_eq!(store.load_space("plugin").unwrap(), []);
}

#[test]
fn a_shorter_value_leaves_nothing_of_a_longer_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let space = store.storage_space("p").unwrap();
    space.commit(&[put("k", vec![1; 200_000]), put("k2", "x")], &[]).unwrap();
    assert_eq!(space.get(b"k").unwrap().unwrap().value, vec![1; 200_000]);
    space.commit(&[put("k", "short")], &[]).unwrap();
    assert_eq!(space.get(b"k").unwrap().unwrap().value, b"short");
    space
        .commit(&[Write::Delete { key: b"k".to_vec() }, Write::Delete { key: b"no".to_vec() }], &[])
        .unwrap();
    assert_eq!(space.get(b"k").unwrap(), None);
    let left = store.0.storage.tree("s/p", |tree| Ok(tree.iter().count())).unwrap();
    assert_eq!(left, 1, "only k2");
}

#[test]
fn writes_and_cursor_agree_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let space = store.storage_space("p").unwrap();
    for next in 1..200u64 {
        let cursor = Cursor { epoch: 5, next };
        space.commit(&[put("count", next.to_le_bytes())], &[("default", cursor)]).unwrap();
        if next == 150 {
            space.flush().unwrap();
        }
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let store = open(crashed.path());
    let space = store.storage_space("p").unwrap();
    let cursor = space.cursor("default").unwrap().unwrap();
    assert!(cursor.epoch == 5 && cursor.next >= 150);
    assert_eq!(space.get(b"count").unwrap().unwrap().value, cursor.next.to_le_bytes());
    assert_eq!(space.cursor("other").unwrap(), None);
    store.drop_storage_space("p").unwrap();
    assert_eq!(store.storage_space("p").unwrap().cursor("default").unwrap(), None);
}

#[test]
fn the_last_write_to_a_key_holds() {
    let dir = tempfile::tempdir().unwrap();
    let space = open(dir.path()).storage_space("p").unwrap();
    let delete = || Write::Delete { key: b"k".to_vec() };
    space.commit(&[put("k", vec![1; 90_000]), delete(), put("k", "last")], &[]).unwrap();
    assert_eq!(space.get(b"k").unwrap().unwrap().value, b"last");
    space.commit(&[put("k", "again"), delete()], &[]).unwrap();
    assert_eq!(space.get(b"k").unwrap(), None);
}

#[test]
fn scans_are_ordered_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let space = open(dir.path()).storage_space("p").unwrap();
    let writes: Vec<Write> = (0..1500).map(|i| put(&format!("k{i:04}"), vec![0; 10])).collect();
    space.commit(&writes, &[("default", Cursor { epoch: 1, next: 2 })]).unwrap();
    let all = space.scan(b"", b"", false, usize::MAX).unwrap();
    assert_eq!((all.len(), all[0].key.as_slice()), (1000, b"k0000".as_slice()));
    let some = space.scan(b"k0010", b"k0020", true, 3).unwrap();
    let keys: Vec<&[u8]> = some.iter().map(|pair| pair.key.as_slice()).collect();
    assert_eq!(keys, [b"k0019", b"k0018", b"k0017"]);
    assert_eq!(space.scan(b"z", b"a", false, 10).unwrap(), []);
    space.commit(&[put("big1", vec![0; 700_000]), put("big2", vec![0; 700_000])], &[]).unwrap();
    assert_eq!(space.scan(b"big", b"k", false, 10).unwrap().len(), 1, "1 MiB");
}

#[test]
fn expired_pairs_are_never_given_and_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let space = store.storage_space("p").unwrap();
    let expiring =
        |key: &str, at| Write::Put { key: key.into(), value: vec![1; 50_000], expires_us: Some(at) };
    space.commit(&[expiring("gone", 5), expiring("revived", 6), put("kept", "x")], &[]).unwrap();
    assert_eq!(space.get(b"gone").unwrap(), None);
    assert_eq!(space.scan(b"", b"", false, 10).unwrap().len(), 1);
    space.commit(&[expiring("revived", now_us() + 3_600_000_000)], &[]).unwrap();
    space.commit(&[], &[]).unwrap();
    assert_eq!(space.scan(b"", b"", false, 10).unwrap().len(), 2);
    let rows = store.0.storage.tree("s/p", |tree| Ok(tree.iter().count())).unwrap();
    assert_eq!(rows, 2 + 2 + 1, "two pairs, two further parts, one expiry");
}

fn keys_of(space: &StorageSpace) -> Vec<String> {
    let pairs = space.scan(b"", b"", false, usize::MAX).unwrap();
    pairs.into_iter().map(|pair| String::from_utf8(pair.key).unwrap()).collect()
}

fn rows(store: &Store) -> usize {
    store.0.storage.tree("s/p", |tree| Ok(tree.iter().count())).unwrap()
}

#[test]
fn a_generation_is_seen_when_it_goes_live_and_the_one_before_is_deleted_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = store.storage_space("p").unwrap();
    let hour = Some(now_us() + 3_600_000_000);
    let expiring = Write::Put { key: b"b".to_vec(), value: vec![1; 50_000], expires_us: hour };
    old.commit(&[put("a", "1"), expiring.clone()], &[("default", Cursor { epoch: 1, next: 9 })]).unwrap();
    let mut live = old.clone();
    // Over several generations: the first has no prefix, the second ends one that has.
    for round in 1..=3_u64 {
        let new = live.next_generation().unwrap();
        assert!(new.generation() != live.generation() && keys_of(&new).is_empty());
        assert_eq!(new.cursor("default").unwrap(), None);
        let name = format!("c{round}");
        new.commit(&[put(&name, "2"), expiring.clone()], &[("default", Cursor { epoch: 1, next: round })])
            .unwrap();
        assert!(!store.storage_space("p").unwrap().clear_dead(Some(new.generation()), 100).unwrap());
        assert_eq!(store.storage_space("p").unwrap().generation(), live.generation(), "not yet");
        new.go_live().unwrap();
        let mut deleted = 0;
        while new.clear_dead(None, 2).unwrap() {
            deleted += 1;
        }
        assert!(deleted >= 3, "{deleted} times");
        assert_eq!(rows(&store), 1 + 1 + 3 + 1 + 1, "live, pair, pair in three parts, expiry, cursor");
        live = store.storage_space("p").unwrap();
        assert_eq!((live.generation(), keys_of(&live)), (new.generation(), vec!["b".to_owned(), name]));
        assert_eq!(live.cursor("default").unwrap().unwrap().next, round);
        assert_eq!(live.get(b"b").unwrap().unwrap().value, vec![1; 50_000]);
    }
}

#[test]
fn a_crash_leaves_the_old_generation_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let old = store.storage_space("p").unwrap();
    old.commit(&[put("old", "1")], &[]).unwrap();
    let new = old.next_generation().unwrap();
    new.commit(&[put("new", "1")], &[]).unwrap();
    new.flush().unwrap();
    let crash = || {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let store = open(crashed.path());
        let space = store.storage_space("p").unwrap();
        while space.clear_dead(None, 100).unwrap() {}
        (keys_of(&space), rows(&store))
    };
    assert_eq!(crash(), (vec!["old".to_owned()], 1), "what was being built is dead after a start");
    new.go_live().unwrap();
    assert_eq!(crash(), (vec!["new".to_owned()], 2));
    // Expired pairs of a generation with a prefix are swept as well.
    let expiring = Write::Put { key: b"e".to_vec(), value: vec![1; 50_000], expires_us: Some(5) };
    new.commit(&[expiring], &[]).unwrap();
    assert_eq!(new.get(b"e").unwrap(), None);
    new.commit(&[], &[]).unwrap();
    new.flush().unwrap();
    assert_eq!(crash(), (vec!["new".to_owned()], 2));
}

#[test]
fn more_expires_than_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let space = store.storage_space("p").unwrap();
    // Each commit brings more that expires than the least that a commit sweeps.
    for round in 0..5 {
        let writes: Vec<_> = (0..400)
            .map(|i| Write::Put { key: format!("{round}-{i}").into(), value: vec![1], expires_us: Some(5) })
            .collect();
        space.commit(&writes, &[]).unwrap();
    }
    assert!(rows(&store) <= 2 * 400, "what was written before is gone: {} rows", rows(&store));
}

#[test]
fn posts_wait_in_order_with_their_attempts_and_go_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let space = store.storage_space("p").unwrap();
    let long = vec![7; 100_000];
    let posts =
        [(300, b"b".to_vec()), (4, long.clone())].map(|(number, bytes)| Write::Post { number, bytes });
    space.commit(&posts, &[("default", Cursor { epoch: 1, next: 9 })]).unwrap();
    space.commit(&[put("k", "v")], &[]).unwrap();
    space.set_attempts(300, 2).unwrap();
    drop(space);
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.storage_spaces().unwrap(), ["p"]);
    let space = store.storage_space("p").unwrap();
    let heads = || space.posts(|post| (post.number, post.bytes, post.attempts, post.beginning[0])).unwrap();
    assert_eq!(heads(), [(4, 100_000, 0, 7), (300, 1, 2, b'b')]);
    assert_eq!((space.post(4).unwrap(), space.post(5).unwrap()), (Some(long), None));
    for number in [4, 5, 300] {
        space.remove_post(number).unwrap();
    }
    assert!(heads().is_empty());
    assert_eq!(space.scan(b"", b"", false, 9).unwrap().len(), 1, "posts are no pairs");
    space.commit(&[Write::Post { number: 300, bytes: b"again".to_vec() }], &[]).unwrap();
    assert_eq!(heads(), [(300, 5, 0, b'a')], "the attempts went with the post");
}

#[test]
fn a_cursor_beyond_the_log_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let log = store.log("default").unwrap();
    assert_eq!(log.take_up(None), 0);
    assert_eq!(log.take_up(Some(Cursor { epoch: 1, next: 0 })), 0);
    assert_eq!(log.take_up(Some(Cursor { epoch: 1, next: 7 })), 0);
}

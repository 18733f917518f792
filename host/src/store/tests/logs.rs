//! Logs: what is appended is read back in order, by offset, forwards and backwards.

use super::*;
use proptest::prelude::*;

#[test]
fn what_is_appended_is_read_in_order_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(500));
    append(&store, numbered(3));
    let log = &store.logs()[0];
    assert_eq!((log.durable(), log.oldest(), log.next_offset()), (503, 0, 0));
    let all = read_all(log, 0, &|_| true);
    assert_eq!(all.len(), 503);
    for (i, stored) in all.iter().enumerate() {
        let i = i as u64;
        assert_eq!((stored.place.offset, stored.place.epoch), (i, log.epoch()));
        assert_eq!(&*stored.place.log, "default");
        assert_eq!(stored.message.payload, ((if i < 500 { i } else { i - 500 }).to_le_bytes()).as_slice());
        assert_eq!(stored.message.meta, b"\x01meta".as_slice());
    }
    assert!(log.read(503, &|_| true, 10, 10).unwrap().end);
    assert!(log.read(9000, &|_| true, 10, 10).unwrap().end, "an offset of the future is the end");
}

#[test]
fn filters_skip_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(1000).chain([message("other", "x")]).chain(numbered(1000)));
    let log = &store.logs()[0];
    let wanted = |topic: &str| topic == "t/3";
    let all = read_all(log, 0, &wanted);
    assert_eq!(all.len(), 2 * 143);
    assert!(all.iter().all(|stored| &*stored.message.topic == "t/3"));
    let one = read_all(log, 0, &|topic| topic == "other");
    assert_eq!((one.len(), one[0].place.offset), (1, 1000));
    let back = log.read_reverse(u64::MAX, &wanted, 5, 1 << 20).unwrap();
    let offsets: Vec<u64> = back.messages.iter().map(|stored| stored.place.offset).collect();
    let expected: Vec<u64> = all.iter().rev().take(5).map(|stored| stored.place.offset).collect();
    assert_eq!(offsets, expected);
    assert!(!back.end);
    let none = log.read_reverse(u64::MAX, &|_| false, 5, 1 << 20).unwrap();
    assert!(none.end && none.messages.is_empty() && none.next == 0);
}

#[test]
fn large_messages_make_no_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = |seed: u8| message("large", vec![seed; 1 << 20]);
    append(&store, (0..20).flat_map(|i| [large(i), message("small", vec![i])]));
    append(&store, [message("huge", vec![9; 5 << 20])]);
    let all = read_all(&store.logs()[0], 0, &|_| true);
    assert_eq!(all.len(), 41);
    assert_eq!(all[38].message.payload, large(19).payload);
    assert_eq!(all[40].message.payload.len(), 5 << 20);
    let back = store.logs()[0].read_reverse(40, &|topic| topic == "large", 2, 4 << 20).unwrap();
    assert_eq!(back.messages[1].place.offset, 36);
    assert_eq!(blobs(dir.path()), 0);
}

#[test]
fn a_clean_close_goes_on_in_the_same_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let epoch = store.logs()[0].epoch();
    append(&store, numbered(10));
    store.close().unwrap();
    drop(store);
    for _ in 0..2 {
        let store = open(dir.path());
        let log = &store.logs()[0];
        assert_eq!((log.epoch(), log.next_offset(), log.durable()), (epoch, 10, 10));
        assert_eq!(read_all(log, 0, &|_| true).len(), 10);
        assert_eq!(log.resume(epoch, 9), Resume::Recovered);
    }
}

#[test]
fn an_unclean_end_begins_an_epoch_and_remembers_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = store.logs()[0].epoch();
    append(&store, numbered(10));
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    // Seen by live readers, lost in the crash.
    append(&store, numbered(5));
    assert_eq!(store.logs()[0].resume(first, 14), Resume::Recovered);

    let store = open(crashed.path());
    let log = &store.logs()[0];
    assert!(log.epoch() > first);
    assert_eq!(log.next_offset(), 10);
    append(&store, numbered(10));
    assert_eq!(log.resume(first, 9), Resume::Recovered);
    assert_eq!(log.resume(first, 0), Resume::Recovered);
    assert_eq!(log.resume(first, 12), Resume::Lost { oldest: 10 }, "what it has seen is gone");
    assert_eq!(log.resume(log.epoch(), 12), Resume::Recovered);
    assert_eq!(log.resume(log.epoch(), 9), Resume::Lost { oldest: 0 }, "never given in this life");
    assert_eq!(log.resume(log.epoch(), 20), Resume::Lost { oldest: 0 }, "not given yet");
    assert_eq!(log.resume(1, 3), Resume::Lost { oldest: 0 });
    let all = read_all(log, 0, &|_| true);
    assert_eq!((all[9].place.epoch, all[10].place.epoch), (first, log.epoch()));

    // The lives are still known after the next start.
    let second = log.epoch();
    drop(store);
    let store = open(crashed.path());
    assert_eq!(store.logs()[0].resume(first, 9), Resume::Recovered);
    assert_eq!(store.logs()[0].resume(first, 12), Resume::Lost { oldest: 10 });
    assert_eq!(store.logs()[0].resume(second, 19), Resume::Recovered);
}

#[test]
fn the_mark_can_be_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let log = store.logs()[0].clone();
    let mut watch = log.durable_watch();
    assert_eq!(log.wait_durable_past(0, Duration::ZERO), 0);
    let waiting = std::thread::spawn(move || log.wait_durable_past(2, PATIENCE));
    // Nobody asks for a flush: it comes by itself.
    store
        .writer()
        .submit(|queue| numbered(3).zip(0..).for_each(|(message, at)| queue.record(0, at, message)))
        .unwrap();
    assert_eq!(waiting.join().unwrap(), 3);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(*runtime.block_on(watch.wait_for(|mark| *mark == 3)).unwrap(), 3);
}

#[test]
fn each_log_has_its_own_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let logs = || vec![LogOptions::new("a"), LogOptions::new("b")];
    let store = Store::open(dir.path(), StoreOptions { logs: logs(), ..options() }).unwrap();
    store
        .writer()
        .submit(|queue| {
            for i in 0..100 {
                queue.record(i % 2, queue.next_offset(i % 2), message("x", vec![i as u8]));
            }
        })
        .unwrap();
    drop(store);
    let store = Store::open(dir.path(), StoreOptions { logs: logs(), ..options() }).unwrap();
    for (i, name) in ["a", "b"].iter().enumerate() {
        let all = read_all(store.log(name).unwrap(), 0, &|_| true);
        assert_eq!(all.len(), 50);
        assert_eq!(all[7].message.payload, [14 + i as u8].as_slice());
    }
    assert!(store.log("c").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn pages_of_any_size_give_everything_once(
        sizes in prop::collection::vec(prop_oneof![0usize..600, 15_000usize..60_000], 1..60),
        most in 1usize..20,
        bytes in 1usize..50_000,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        for part in sizes.chunks(7) {
            append(&store, part.iter().map(|size| message(&format!("t/{}", size % 3), vec![1; *size])));
        }
        let log = &store.logs()[0];
        let wanted = |topic: &str| topic != "t/1";
        let expected: Vec<u64> = (0..).zip(&sizes).filter(|(_, size)| *size % 3 != 1).map(|(at, _)| at).collect();
        let (mut up, mut at) = (Vec::new(), 0);
        while at < log.durable() {
            let page = log.read(at, &wanted, most, bytes).unwrap();
            prop_assert!(page.next > at && page.messages.len() <= most);
            up.extend(page.messages.iter().map(|stored| stored.place.offset));
            at = page.next;
        }
        prop_assert_eq!(&up, &expected);
        let (mut down, mut at) = (Vec::new(), u64::MAX);
        while at > 0 {
            let page = log.read_reverse(at, &wanted, most, bytes).unwrap();
            prop_assert!(page.next < at);
            down.extend(page.messages.iter().map(|stored| stored.place.offset));
            at = page.next;
        }
        down.reverse();
        prop_assert_eq!(&down, &expected);
    }
}

//! The one writer: hand-over, back-pressure, durability, errors.

use std::sync::mpsc;

use super::*;

#[test]
fn a_full_queue_takes_nothing_of_a_submit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { queue_bytes: 10_000, ..options() }).unwrap();
    let writer = store.writer();
    let full = writer.submit(|queue| {
        for _ in 0..200 {
            queue.record(0, queue.next_offset(0), message("t", vec![0; 1000]));
        }
        queue.state(&"p".into(), b"k".to_vec(), None);
        queue.on_durable(Box::new(|_| panic!("refused, so never called")));
    });
    assert!(matches!(full, Err(SubmitError::Full { .. })), "{full:?}");
    assert!(!writer.half_full());
    append(&store, numbered(5));
    assert_eq!(store.logs()[0].durable(), 5, "the refused ones took no offsets");
}

#[test]
fn a_record_must_be_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(3));
    let refused = store.writer().submit(|queue| {
        queue.record(0, 3, message("t", "good"));
        queue.record(0, 5, message("t", "gap"));
    });
    assert!(matches!(refused, Err(SubmitError::Offset { log: 0, given: 5, expected: 4 })), "{refused:?}");
    let unknown = store.writer().submit(|queue| queue.record(7, 0, message("t", "no such log")));
    assert!(matches!(unknown, Err(SubmitError::Offset { log: 7, .. })));
    store.writer().submit(|queue| assert_eq!(queue.next_offset(0), 3)).unwrap();
}

#[test]
fn half_full_is_told_and_room_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { queue_records: 100, ..options() }).unwrap();
    let (entered, inside) = mpsc::sync_channel(16);
    let (release, hold) = mpsc::sync_channel::<()>(16);
    // The writer thread waits in this callback, so that the queue fills.
    let block = move |_| {
        entered.send(()).unwrap();
        hold.recv_timeout(PATIENCE).unwrap();
    };
    store.writer().submit(|queue| queue.on_durable(Box::new(block))).unwrap();
    inside.recv_timeout(PATIENCE).unwrap();
    let one = || store.writer().submit(|queue| queue.record(0, queue.next_offset(0), message("t", "x")));
    for _ in 0..50 {
        one().unwrap();
    }
    assert!(!store.writer().half_full());
    one().unwrap();
    assert!(store.writer().half_full());
    for _ in 51..100 {
        one().unwrap();
    }
    assert!(matches!(one(), Err(SubmitError::Full { records: 100, .. })));
    release.send(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, store.writer().room()).await.unwrap() });
    assert!(!store.writer().half_full());
    assert_eq!(store.logs()[0].wait_durable_past(99, PATIENCE), 100);
}

#[test]
fn close_writes_what_waits_and_ends_acceptance() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (done, wait) = mpsc::sync_channel(16);
    store
        .writer()
        .submit(|queue| {
            queue.record(0, 0, message("t", "x"));
            queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
        })
        .unwrap();
    store.close().unwrap();
    store.close().unwrap();
    wait.try_recv().unwrap().unwrap();
    assert!(matches!(store.writer().submit(|_| ()), Err(SubmitError::Closed)));
    assert_eq!(read_all(&store.logs()[0], 0, &|_| true).len(), 1, "what is open can still be read");
}

#[test]
fn after_a_failure_it_comes_back_in_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(10));
    let log = &store.logs()[0];
    let first = log.epoch();
    let mut mark = log.durable_watch();
    mark.mark_unchanged();
    // A panic on the writer's thread is an error like any other.
    store.writer().submit(|queue| queue.on_durable(Box::new(|_| panic!("on purpose")))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(mark.changed()).unwrap();
    assert!(store.writer().unavailable().is_none());
    assert!(log.epoch() > first);
    append(&store, numbered(10));
    assert_eq!(read_all(log, 0, &|_| true).len(), 20);
    assert_eq!(log.resume(first, 9), Resume::Recovered);
    assert!(store.incidents().iter().any(|incident| incident.what.contains("works again")));
}

#[test]
fn without_room_it_refuses_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions { free_floor_bytes: u64::MAX, ..options() }).unwrap();
    let (done, wait) = mpsc::sync_channel(16);
    store
        .writer()
        .submit(|queue| {
            queue.record(0, 0, message("t", "x"));
            queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
        })
        .unwrap();
    let answer = wait.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(answer, Err(StoreError::NoRoom { .. })), "{answer:?}");
    let refused = store.writer().submit(|queue| queue.record(0, 1, message("t", "x")));
    assert!(matches!(refused, Err(SubmitError::Broken(StoreError::NoRoom { .. }))), "{refused:?}");
    assert_eq!(store.logs()[0].durable(), 0);
    assert!(store.close().is_err());
}

#[test]
fn a_waiter_ends_the_flush_interval() {
    let dir = tempfile::tempdir().unwrap();
    let flush_every = Duration::from_secs(3600);
    let store = Store::open(dir.path(), StoreOptions { flush_every, ..options() }).unwrap();
    let log = &store.logs()[0];
    store.writer().submit(|queue| queue.record(0, 0, message("t", "x"))).unwrap();
    assert_eq!(log.durable(), 0, "not before somebody waits");
    append(&store, [message("t", "y")]);
    assert_eq!(log.durable(), 2);
}

//! Consumers without gateways: what they keep from retention, what they miss, what the disk has of them.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::message::{Grant, Message, Principal, Since};
use crate::session::{Item, Notice, OutboundLimits};
use crate::store::{LogOptions, StoreOptions};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A log that wants to keep 8 MiB.
fn store(dir: &std::path::Path, hold_max_bytes: u64) -> Store {
    let mut log = LogOptions::new("default");
    (log.max_age, log.max_bytes) = (None, Some(8 * MIB));
    (log.segment_bytes, log.hold_max_bytes) = (4 * MIB, hold_max_bytes);
    let options = StoreOptions { logs: vec![log], free_floor_bytes: 0, ..StoreOptions::default() };
    Store::open(dir, options).unwrap()
}

fn registry(store: &Store) -> Arc<Registry> {
    let topics = vec![vec![Pattern::parse("#").unwrap()]];
    let most = Most { per_principal: 10, total: 10 };
    Registry::load(store.clone(), topics, most, DurableMetrics::default()).unwrap()
}

/// Appends so many MiB of messages of 16 kB, and waits until they are on the disk.
fn fill(store: &Store, mib: usize) {
    for part in 0..mib {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let append = |queue: &mut crate::store::Queue| {
            for n in 0..64 {
                let payload = Bytes::from(vec![(part + n) as u8; 16_000]);
                let message = Message { topic: "t".into(), meta: Bytes::from_static(&[1]), payload };
                queue.record(0, queue.next_offset(0), message);
            }
            queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
        };
        store.writer().submit(append).unwrap();
        wait.recv_timeout(PATIENCE).unwrap().unwrap();
    }
}

/// As the end of the router does.
fn stop(registry: &Arc<Registry>, store: &Store) {
    registry.stop();
    let (done, wait) = std::sync::mpsc::sync_channel(1);
    let flush = |queue: &mut crate::store::Queue| {
        queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
    };
    store.writer().submit(flush).unwrap();
    wait.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn session(id: &str) -> Arc<Session> {
    let grant =
        Grant { tenant: "main".into(), name: "n".into(), origin: "service".into(), ..Grant::default() };
    let principal = Principal::new(grant, "open".into(), "http", id).unwrap();
    let limits = OutboundLimits { messages: 1_000, bytes: 64 << 20 };
    let notices = |notice: Notice<'_>| Bytes::from(format!("{notice:?}"));
    Arc::new(Session::new(id.into(), principal, "http", String::new(), limits, Some(notices)))
}

fn request() -> Request {
    let options = Asked { max_in_flight: Some(2), ..Asked::default() };
    Request { name: "c".into(), shared: false, pattern: "#".into(), options, since: Since::Start }
}

/// What comes: offsets of messages, and notices.
async fn next(session: &Session, count: usize) -> (Vec<u64>, Vec<String>) {
    let (mut offsets, mut notices, mut items) = (Vec::new(), Vec::new(), VecDeque::new());
    while offsets.len() < count {
        tokio::time::timeout(PATIENCE, session.outbound.take(&mut items)).await.expect("a message");
        for item in items.drain(..) {
            match item {
                Item::Message(routed) => offsets.push(routed.place.as_ref().unwrap().offset),
                Item::Control(notice) => notices.push(String::from_utf8_lossy(&notice).into_owned()),
                other => panic!("{other:?}"),
            }
        }
    }
    (offsets, notices)
}

fn eventually(what: &str, look: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_acknowledged_is_kept_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), u64::MAX);
    let one = registry(&store);
    let reader = session("1");
    assert!(one.subscribe(&reader, &request()).await.unwrap().1.is_some());
    fill(&store, 24);
    assert_eq!(next(&reader, 2).await.0, [0, 1]);
    assert_eq!(store.logs()[0].oldest(), 0, "24 MiB where 8 are wanted");
    stop(&one, &store);
    let two = registry(&store);
    fill(&store, 16);
    assert_eq!(store.logs()[0].oldest(), 0, "held, though nobody reads");
    let shown = &two.list()[0];
    assert_eq!((shown.in_flight, shown.logs[0].cursor, shown.logs[0].lag), (2, 0, 40 * 64));
    assert!(shown.logs[0].held_bytes > 32 * MIB, "{shown:?}");
    two.remove_by_id(&shown.id).await.unwrap();
    eventually("nobody holds it", || {
        fill(&store, 1);
        store.logs()[0].oldest() > 0
    });
    assert!(registry(&store).list().is_empty(), "gone from the disk too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_took_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), 0);
    let log = store.logs()[0].clone();
    let all = registry(&store);
    let (first, second) = (session("1"), session("2"));
    let (attached, _) = all.subscribe(&first, &request()).await.unwrap();
    fill(&store, 1);
    assert_eq!(next(&first, 2).await.0, [0, 1]);
    all.close(&first);
    drop(attached);
    eventually("segments are gone", || {
        fill(&store, 4);
        log.oldest() > 0
    });
    all.sweep();
    let missed = all.list()[0].missed;
    assert!(missed > 0, "also those that were delivered and not acknowledged");
    assert_eq!(all.metrics.missed.get(), missed);
    // Whoever comes next is told, also after a restart.
    stop(&all, &store);
    let all = registry(&store);
    all.subscribe(&second, &request()).await.unwrap();
    let (offsets, notices) = next(&second, 2).await;
    let first = offsets[0];
    assert!(first >= missed && offsets[1] == first + 1, "{offsets:?}");
    assert_eq!(all.list()[0].missed, first);
    let (epoch, to) = (log.epoch(), first - 1);
    let gap = format!(
        r#"ConsumerGap {{ name: "c", shared: false, log: "default", epoch: {epoch}, from: 0, to: {to} }}"#
    );
    assert_eq!(notices, [gap]);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), 0);
    let log = &store.logs()[0];
    let mut window = window::Window::new(3);
    let until = Instant::now();
    for offset in [3, 4, 5, 9, 10] {
        window.deliver(offset, 1, until);
    }
    window.expire(until);
    window.deliver(4, 1, until);
    for ahead in [20, 21, 30] {
        window.ack(ahead);
    }
    let record = record::LogRecord::of(log, &window, Some(&(1..3)));
    assert_eq!(record.open, [(3, 1, 1), (4, 1, 2), (5, 1, 1), (9, 2, 1)]);
    assert_eq!((record.next, &record.ahead[..], record.gap), (11, &[(20, 2), (30, 1)][..], Some((1, 3))));
    let json = serde_json::to_vec(&record).unwrap();
    let back = serde_json::from_slice::<record::LogRecord>(&json).unwrap();
    assert_eq!(record::LogRecord::of(log, &back.window(), Some(&(1..3))), record);
}

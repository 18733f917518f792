//! Old messages go as their log's rule says, and the disk space comes back.

use super::*;
use crate::message::now_us;

const MIB: u64 = 1 << 20;

fn small(change: impl FnOnce(&mut LogOptions)) -> StoreOptions {
    let mut log = LogOptions::new("default");
    log.max_age = None;
    log.max_bytes = None;
    log.segment_bytes = 4 * MIB;
    change(&mut log);
    StoreOptions { logs: vec![log], ..options() }
}

/// Appends so many MiB.
fn fill(store: &Store, mib: usize) {
    for i in 0..mib {
        append(store, (0..64).map(|k| message("t", vec![(i + k) as u8; 16 * 1000])));
    }
}

#[test]
fn bytes_over_the_limit_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|log| log.max_bytes = Some(32 * MIB))).unwrap();
    fill(&store, 60);
    let log = &store.logs()[0];
    log.maintain(now_us(), false).unwrap();
    let usage = log.usage();
    let disk = database::disk_bytes(&dir.path().join("log"));
    assert!(disk <= 34 * MIB, "{disk}");
    assert!(usage.bytes <= 32 * MIB && usage.oldest > 0 && usage.next == 60 * 64, "{usage:?}");
    let page = log.read(0, &|_| true, 1, MIB as usize).unwrap();
    assert_eq!(page.missed, Some(0..usage.oldest));
    assert_eq!(page.messages[0].place.offset, usage.oldest);
    assert_eq!(log.resume(log.epoch(), 0), Resume::Lost { oldest: usage.oldest });
    assert_eq!(log.resume(log.epoch(), usage.oldest - 1), Resume::Recovered);
    // What is left is all there, also after a start.
    assert_eq!(read_all(log, usage.oldest, &|_| true).len() as u64, usage.next - usage.oldest);
    drop(store);
    let store = Store::open(dir.path(), small(|log| log.max_bytes = Some(32 * MIB))).unwrap();
    let again = store.logs()[0].usage();
    assert_eq!((again.segments, again.oldest, again.next), (usage.segments, usage.oldest, usage.next));
    assert_eq!(store.incidents(), []);
}

#[test]
fn a_log_takes_little_more_disk_than_its_messages() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|log| log.segment_bytes = 64 * MIB)).unwrap();
    // More packs than a leaf takes without being written anew, many times over.
    fill(&store, 40);
    let disk = database::disk_bytes(&dir.path().join("log"));
    assert!(disk <= 46 * MIB, "{disk}");
}

#[test]
fn numbers_over_the_limit_go_but_never_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|log| log.max_messages = Some(1000))).unwrap();
    fill(&store, 40);
    let log = &store.logs()[0];
    log.maintain(now_us(), false).unwrap();
    let usage = log.usage();
    // Segments of 256, and what one flush of 64 adds before a segment is closed.
    let kept = usage.next - usage.oldest;
    assert!((1000..=1000 + 256 + 64).contains(&kept), "{usage:?}");
}

#[test]
fn lower_limits_take_hold_after_a_start_without_traffic() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|log| log.segment_bytes = 64 * MIB)).unwrap();
    fill(&store, 20);
    assert_eq!(store.logs()[0].usage().segments, 1);
    drop(store);
    let started = std::time::Instant::now();
    let store = Store::open(dir.path(), small(|log| log.max_bytes = Some(8 * MIB))).unwrap();
    while store.logs()[0].usage().bytes > 8 * MIB {
        assert!(started.elapsed() < PATIENCE, "{:?}", store.logs()[0].usage());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(store.incidents().is_empty());
}

#[test]
fn a_full_disk_takes_held_segments_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|log| log.max_bytes = Some(8 * MIB))).unwrap();
    let log = &store.logs()[0];
    log.set_hold("plugin", Some(0));
    fill(&store, 24);
    let segments = log.usage().segments;
    assert!(segments > 4);
    for gone in 1..3 {
        assert!(log.maintain(now_us(), true).unwrap());
        assert_eq!(log.usage().segments, segments - gone);
    }
    assert_eq!(store.incident_count(), 2);
}

#[test]
fn what_is_too_old_goes() {
    let dir = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let store = Store::open(dir.path(), small(|log| log.max_age = Some(hour))).unwrap();
    fill(&store, 20);
    let log = &store.logs()[0];
    log.maintain(now_us(), false).unwrap();
    assert_eq!(log.oldest(), 0);
    log.maintain(now_us() + 3_700_000_000, false).unwrap();
    assert!(log.oldest() > 0);
    assert_eq!(log.usage().segments, 1);
}

#[test]
fn a_hold_keeps_segments_up_to_its_limit() {
    let dir = tempfile::tempdir().unwrap();
    let limits = |log: &mut LogOptions| {
        log.max_bytes = Some(16 * MIB);
        log.hold_max_bytes = 60 * MIB;
    };
    let store = Store::open(dir.path(), small(limits)).unwrap();
    let log = &store.logs()[0];
    log.set_hold("plugin", Some(0));
    fill(&store, 24);
    log.maintain(now_us(), false).unwrap();
    assert_eq!(log.oldest(), 0);
    assert!(log.usage().bytes > 16 * MIB);
    fill(&store, 40);
    log.maintain(now_us(), false).unwrap();
    assert!(log.oldest() > 0 && log.usage().bytes <= 60 * MIB, "{:?}", log.usage());
    assert!(store.incidents()[0].what.contains("a consumer has not read them"));
    log.set_hold("plugin", None);
    log.maintain(now_us(), false).unwrap();
    assert!(log.usage().bytes <= 16 * MIB);
}

#[test]
fn a_reader_of_a_deleted_segment_learns_what_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), small(|_| ())).unwrap();
    fill(&store, 12);
    let log = &store.logs()[0];
    let oldest = log.oldest();
    // Deleted behind the view, as when retention runs during a read.
    log.delete_oldest_for_test();
    let page = log.read(oldest, &|_| true, 1, 1).unwrap();
    let missed = page.missed.unwrap();
    assert_eq!(missed.start, oldest);
    assert_eq!(page.messages[0].place.offset, missed.end);
    assert_eq!(std::fs::read_dir(dir.path().join("log/default")).unwrap().count(), log.usage().segments - 1);
}

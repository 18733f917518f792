//! Damage to the files themselves, after a clean stop: what is gone is told, to the operator and to every reader.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::*;

/// Messages of the log that is damaged.
const TOTAL: u64 = 640;

fn logs() -> StoreOptions {
    let mut log = LogOptions::new("default");
    log.segment_bytes = 1;
    // More than are written: it only makes the segments small.
    log.max_messages = Some(1024);
    StoreOptions { logs: vec![log], ..options() }
}

/// A store with a log of several segments, of messages of so many bytes, and an API key; closed cleanly.
fn base(bytes: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut options = logs();
    if bytes > 8192 {
        options.logs[0].max_messages = None;
    }
    let store = Store::open(dir.path(), options).unwrap();
    for _ in 0..TOTAL / 64 {
        append(&store, (0..64).map(|k| message("t", vec![k; bytes])));
    }
    store.table("keys").unwrap().put(b"key", b"value").unwrap();
    assert!(store.logs()[0].usage().segments >= 3);
    store.close().unwrap();
    drop(store);
    dir
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("log/default")).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    all.retain(|path| path.file_name().unwrap().len() == 20);
    all.sort();
    all
}

fn flip(file: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0xff], at).unwrap();
}

fn cut(file: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(file).unwrap().set_len(bytes).unwrap();
}

/// Reads everything in both directions. Each message is there or is told to be gone; returns how many are there.
fn account(log: &Log, total: u64, name: &str) -> u64 {
    let (mut at, mut there) = (0, 0);
    let mut seen = vec![false; usize::try_from(total).unwrap()];
    loop {
        let page = log.read(at, &|_| true, 50, 1 << 20).unwrap();
        for stored in &page.messages {
            seen[stored.place.offset as usize] = true;
            there += 1;
        }
        page.damaged
            .iter()
            .chain(&page.missed)
            .flat_map(Clone::clone)
            .for_each(|at| seen[at as usize] = true);
        assert!(page.end || page.next > at, "{name}: no progress at {at}");
        at = page.next;
        if page.end {
            break;
        }
    }
    let untold = seen.iter().position(|seen| !seen);
    assert_eq!((at, untold), (total, None), "{name}: nothing was said of the message there");
    let (mut before, mut told) = (u64::MAX, 0);
    while before > log.oldest() {
        let page = log.read_reverse(before, &|_| true, 50, 1 << 20).unwrap();
        assert!(page.next < before, "{name}: no progress back from {before}");
        told += page.messages.len() as u64;
        told += page.damaged.iter().map(|range| range.end - range.start).sum::<u64>();
        before = page.next;
    }
    assert!(told >= total - log.oldest(), "{name}: back: {told} of {total}");
    there
}

/// Damages a copy of `base` and opens it: whatever is gone was told, once, and the log goes on, now and after a start.
fn suffer(base: &Path, name: &str, damage: impl FnOnce(&Path)) -> (u64, Vec<Incident>, bool) {
    let copied = tempfile::tempdir().unwrap();
    copy(base, copied.path());
    damage(copied.path());
    let store = Store::open(copied.path(), logs()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let log = store.logs()[0].clone();
    let total = log.durable();
    assert_eq!(total, TOTAL, "{name}");
    let there = account(&log, total, name);
    let incidents = store.incidents();
    assert!(there == total || !incidents.is_empty(), "{name}: {there} of {total} and no incident");
    let key = store.table("keys").unwrap().get(b"key").unwrap().is_some();
    // What a broken read tells comes once; a second read may only find what the first has passed over.
    let again = account(&log, total, name);
    assert!(again <= there, "{name}");
    let count = store.incident_count();
    account(&log, total, name);
    assert_eq!(store.incident_count(), count, "{name}: reported anew: {:?}", store.incidents());
    append(&store, [message("t", "new")]);
    assert_eq!(account(&log, total + 1, name), again + 1, "{name}");
    let epoch = log.epoch();
    drop(log);
    drop(store);
    let store = Store::open(copied.path(), logs()).unwrap_or_else(|error| panic!("{name}, again: {error}"));
    assert_eq!(store.logs()[0].epoch(), epoch, "{name}: nothing more was lost");
    account(&store.logs()[0], total + 1, name);
    (there, incidents, key)
}

#[test]
fn a_damaged_conf_file_is_damage_like_any_other() {
    let base = base(500);
    let all = segments(base.path());
    let relative = |path: &PathBuf| path.strip_prefix(base.path()).unwrap().to_owned();
    let places =
        [PathBuf::from("state"), relative(&all[0]), relative(&all[1]), relative(all.last().unwrap())];
    let bytes = std::fs::metadata(all[0].join("conf")).unwrap().len();
    for (n, place) in places.iter().enumerate() {
        for at in (n as u64..bytes).step_by(4) {
            let name = format!("{}/conf, byte {at}", place.display());
            suffer(base.path(), &name, |dir| flip(&dir.join(place).join("conf"), at));
        }
    }
    let (there, incidents, _) =
        suffer(base.path(), "conf", |dir| flip(&dir.join(&places[2]).join("conf"), 3));
    assert!(there < TOTAL && incidents.len() == 1, "{there}: {incidents:?}");
    assert!(incidents[0].what.contains(".corrupt-") && incidents[0].what.contains("cannot be read"));
}

#[test]
fn a_flipped_byte_anywhere_in_a_segment_is_told() {
    // Three segments of sled's own in each: damage in the first it finds only when it is read, and panics.
    let base = base(16_000);
    let mut moved = 0;
    for (n, segment) in segments(base.path()).iter().enumerate() {
        let file = segment.strip_prefix(base.path()).unwrap().join("db");
        let bytes = std::fs::metadata(segment.join("db")).unwrap().len();
        for part in 0..8 {
            let at = part * bytes / 8 + 97 * part;
            let name = format!("segment {n} of {bytes} bytes, byte {at}");
            let (_, incidents, _) = suffer(base.path(), &name, |dir| flip(&dir.join(&file), at));
            moved += incidents.iter().filter(|incident| incident.what.contains(".corrupt-")).count();
        }
    }
    assert!(moved >= 3, "damage at which sled gives up was not among it");
}

#[test]
fn a_segment_that_is_cut_off_emptied_or_deleted_is_told() {
    let base = base(500);
    let all = segments(base.path());
    for (n, segment) in all.iter().enumerate() {
        let folder = segment.strip_prefix(base.path()).unwrap();
        let bytes = std::fs::metadata(segment.join("db")).unwrap().len();
        for left in [0, 100, bytes / 2, bytes - 500] {
            let name = format!("segment {n}, {left} of {bytes} bytes left");
            suffer(base.path(), &name, |dir| cut(&dir.join(folder).join("db"), left));
        }
        let (there, incidents, _) = suffer(base.path(), &format!("segment {n} without its file"), |dir| {
            std::fs::remove_file(dir.join(folder).join("db")).unwrap();
        });
        assert!(there < TOTAL && !incidents.is_empty(), "{incidents:?}");
        let (there, incidents, _) = suffer(base.path(), &format!("segment {n} deleted"), |dir| {
            std::fs::remove_dir_all(dir.join(folder)).unwrap();
        });
        assert!(there < TOTAL && incidents.len() == 1, "{n}: {incidents:?}");
    }
    let (there, incidents, _) = suffer(base.path(), "all segments deleted", |dir| {
        segments(dir).iter().for_each(|segment| std::fs::remove_dir_all(segment).unwrap());
    });
    assert!(there == 0 && !incidents.is_empty(), "{incidents:?}");
}

#[test]
fn the_end_of_the_state_is_missed_after_a_clean_stop() {
    let base = base(500);
    let bytes = std::fs::metadata(base.path().join("state/db")).unwrap().len();
    for part in 0..12 {
        let at = part * bytes / 12;
        for (what, cuts) in [("cut at", true), ("flipped at", false)] {
            let name = format!("state of {bytes} bytes {what} {at}");
            let damage = |dir: &Path| {
                let file = dir.join("state/db");
                if cuts { cut(&file, at) } else { flip(&file, at) }
            };
            let (there, incidents, key) = suffer(base.path(), &name, damage);
            assert_eq!(there, TOTAL);
            assert!(key || incidents.len() == 1, "{name}: {incidents:?}");
        }
    }
    let (_, incidents, key) = suffer(base.path(), "no state", |dir| {
        std::fs::remove_dir_all(dir.join("state")).unwrap();
    });
    assert!(!key && incidents[0].what.contains("API keys"), "{incidents:?}");
}

#[test]
fn a_state_whose_tables_do_not_read_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.table("keys").unwrap().put(b"key", b"value").unwrap();
    // Far more than sled reads when it opens a database.
    let table = store.table("large").unwrap();
    for at in 0..800u32 {
        table.put(&at.to_be_bytes(), &[7; 20_000]).unwrap();
    }
    drop(store);
    for part in 0..8 {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let file = copied.path().join("state/db");
        let bytes = std::fs::metadata(&file).unwrap().len();
        (0..bytes / 8 / 16_000).for_each(|step| flip(&file, part * bytes / 8 + step * 16_000));
        let store = open(copied.path());
        let rows = store.table("large").unwrap().iter().unwrap().len();
        let key = store.table("keys").unwrap().get(b"key").unwrap();
        assert!(store.incident_count() == 1 || (rows == 800 && key.is_some()), "{part}: {rows} of 800");
    }
}

#[test]
fn what_is_no_segment_is_left_alone() {
    let base = base(500);
    let stray = base.path().join("log/default/00000000000000099999");
    std::fs::write(&stray, "x").unwrap();
    std::fs::create_dir(base.path().join("log/old")).unwrap();
    std::fs::write(base.path().join("log/old/file"), "12345").unwrap();
    let store = Store::open(base.path(), logs()).unwrap();
    assert_eq!(account(&store.logs()[0], TOTAL, "a file"), TOTAL);
    assert!(store.incidents().is_empty() && stray.exists());
    assert_eq!(store.other_logs(), [("old".to_owned(), 5)]);
    drop(store);
    std::fs::create_dir(base.path().join("log/default/00000000000000099998")).unwrap();
    let store = Store::open(base.path(), logs()).unwrap();
    assert_eq!(store.logs()[0].durable(), TOTAL, "a folder with nothing in it moves no offset");
    assert!(store.incidents()[0].what.contains(".corrupt-"));
}

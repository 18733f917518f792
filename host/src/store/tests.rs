//! The store as its users see it, on real folders.

mod damage;
mod disk;
mod logs;
mod retention;
mod spaces;
mod writer;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::message::{Message, Stored};

/// Long enough for any disk; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn options() -> StoreOptions {
    StoreOptions { free_floor_bytes: 0, ..StoreOptions::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options()).unwrap()
}

fn message(topic: &str, payload: impl Into<Vec<u8>>) -> Message {
    Message { topic: topic.into(), meta: Bytes::from_static(b"\x01meta"), payload: payload.into().into() }
}

/// Appends to the first log and waits until it is on the disk.
fn append(store: &Store, messages: impl IntoIterator<Item = Message>) {
    let (done, wait) = std::sync::mpsc::sync_channel(16);
    let submit = |queue: &mut Queue| {
        for message in messages {
            queue.record(0, queue.next_offset(0), message);
        }
        queue.on_durable(Box::new(move |result| done.send(result).unwrap()));
    };
    store.writer().submit(submit).unwrap();
    wait.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn numbered(count: u64) -> impl Iterator<Item = Message> {
    (0..count).map(|i| message(&format!("t/{}", i % 7), i.to_le_bytes()))
}

/// Reads everything, page by page.
fn read_all(log: &Log, from: u64, wanted: &dyn Fn(&str) -> bool) -> Vec<Stored> {
    let (mut all, mut at) = (Vec::new(), from);
    loop {
        let page = log.read(at, wanted, 50, 4096).unwrap();
        assert!(page.end || page.next > at, "no progress at {at}");
        assert!(page.damaged.is_empty());
        all.extend(page.messages);
        at = page.next;
        if page.end {
            return all;
        }
    }
}

/// Copies a folder as a crash would leave it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Files in any `blobs` folder below `dir`.
fn blobs(dir: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found += blobs(&entry.path());
        } else if dir.ends_with("blobs") {
            found += 1;
        }
    }
    found
}

#[test]
fn a_folder_belongs_to_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), options()).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)));
    assert!(error.to_string().contains(dir.path().to_str().unwrap()) && error.to_string().contains("weir"));
    drop(store);
    drop(open(dir.path()));
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let state = Database::open(&dir.path().join("state"), 1 << 20).unwrap();
    state.tree("meta", |tree| tree.insert("format", &9u32.to_le_bytes())).unwrap();
    drop(state);
    let error = Store::open(dir.path(), options()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 9, known: keys::FORMAT, .. }), "{error}");
}

#[test]
fn what_format_1_wrote_is_read_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, numbered(10));
    drop(store);
    // Up to the first full chunk the formats are the same.
    let state = Database::open(&dir.path().join("state"), 1 << 20).unwrap();
    state.tree("meta", |tree| tree.insert("format", &1u32.to_le_bytes())).unwrap();
    drop(state);
    let store = open(dir.path());
    append(&store, numbered(10));
    drop(store);
    let state = Database::open(&dir.path().join("state"), 1 << 20).unwrap();
    let format = state.tree("meta", |tree| tree.get("format")).unwrap().unwrap();
    assert_eq!(format.as_ref(), keys::FORMAT.to_le_bytes());
    drop(state);
    assert_eq!(read_all(&open(dir.path()).logs()[0], 0, &|_| true).len(), 20);
}

#[test]
fn names_that_are_paths_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for bad in ["", ".", "..", "a/b", "a\0"] {
        assert!(matches!(store.table(bad), Err(StoreError::Name(_))), "{bad:?}");
    }
    let logs = vec![LogOptions::new("../x")];
    let refused = Store::open(&dir.path().join("other"), StoreOptions { logs, ..options() });
    assert!(matches!(refused.err(), Some(StoreError::Name(_))));
}

#[test]
fn tables_keep_what_was_put() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let table = store.table("accounts").unwrap();
    table.put(b"b", b"2").unwrap();
    table.put(b"a", b"1").unwrap();
    assert!(table.remove(b"b").unwrap() && !table.remove(b"b").unwrap());
    assert!(table.put(b"c", &[0; 40_000]).is_err());
    // As after kill -9: nothing was closed.
    let other = tempfile::tempdir().unwrap();
    copy(dir.path(), other.path());
    let table = open(other.path()).table("accounts").unwrap();
    assert_eq!(table.get(b"a").unwrap().unwrap(), b"1");
    assert_eq!(table.iter().unwrap(), [(b"a".to_vec(), b"1".to_vec())]);
}

//! The log, with a clock that the tests turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// 2026-11-21T23:59:58Z.
const EVENING: u64 = 1_795_305_598_000_000;
const SECOND: u64 = 1_000_000;

/// A log in this folder, and its clock.
fn open(folder: &Path, us: u64) -> (Log, Arc<AtomicU64>) {
    let time = Arc::new(AtomicU64::new(us));
    let clock = Arc::clone(&time);
    (Log::open(folder, move || clock.load(Ordering::Relaxed)).unwrap(), time)
}

fn read(folder: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let process = format!(" device_server [{}]: ", std::process::id());
    text.lines().map(|line| line.replace(&process, " | ")).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_day_has_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made");
    let (log, time) = open(&folder, EVENING);
    log.write("> /iam1/ {\"a\":1}".into());
    time.fetch_add(2 * SECOND, Ordering::Relaxed);
    log.write("< /iam1?x=1/ two\nlines".into());
    time.fetch_add(2 * 24 * 3600 * SECOND, Ordering::Relaxed);
    log.write("> // ".into());
    drop(log);
    let (day, next) = ("device_server.log.2026-11-21", "device_server.log.2026-11-22");
    assert_eq!(names(&folder), ["device_server.log", day, next]);
    let restarted = "Nov 21 23:59:58 | Device Server restarted";
    assert_eq!(read(&folder, day), [restarted, "Nov 21 23:59:58 | > /iam1/ {\"a\":1}"]);
    assert_eq!(read(&folder, next), ["Nov 22 00:00:00 | < /iam1?x=1/ two", "lines"]);
    assert_eq!(read(&folder, "device_server.log"), ["Nov 24 00:00:00 | > // "]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &folder.join("device_server.log").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "it holds what devices are told");
}

#[test]
fn a_restart_goes_on_with_the_file_of_the_day_and_writes_over_none() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (yesterday, today) = ("device_server.log.2026-11-21", "device_server.log");
    std::fs::write(folder.join(today), "old\n").unwrap();
    std::fs::write(folder.join(yesterday), "older\n").unwrap();
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_micros(EVENING);
    std::fs::File::open(folder.join(today)).unwrap().set_modified(written).unwrap();
    drop(open(folder, EVENING));
    assert_eq!(read(folder, today), ["old", "Nov 21 23:59:58 | Device Server restarted"]);
    std::fs::File::open(folder.join(today)).unwrap().set_modified(written).unwrap();
    let (log, time) = open(folder, EVENING + 5 * SECOND);
    // A clock that is set back begins no file.
    time.store(EVENING, Ordering::Relaxed);
    log.write("late".into());
    drop(log);
    assert_eq!(read(folder, today), ["Nov 22 00:00:03 | Device Server restarted", "Nov 21 23:59:58 | late"]);
    assert_eq!(read(folder, yesterday), ["older"]);
    assert_eq!(read(folder, &format!("{yesterday}.1")).len(), 2);
}

#[test]
fn lines_that_find_no_room_are_counted() {
    let line = |text: String| Line { us: 0, text };
    let mut queue = Queue::default();
    assert!(queue.push(line(String::new())));
    assert!(!queue.push(line("x".repeat(WAITING - 2 * AROUND))), "only the first one wakes the writer");
    for _ in 0..3 {
        assert!(!queue.push(line(String::new())));
    }
    let (lines, lost) = queue.take();
    assert_eq!((lines.len(), lost), (2, 3));
    assert!(queue.push(line("again".into())) && queue.take() == (vec![line("again".into())], 0));

    let folder = tempfile::tempdir().unwrap();
    let mut book = Book::open(folder.path(), EVENING).unwrap();
    book.write(&[Line { us: EVENING, text: "before".into() }]);
    book.missed(3);
    book.write(&[Line { us: EVENING, text: "after".into() }]);
    book.missed(1);
    book.close();
    let lines = read(folder.path(), "device_server.log");
    let texts: Vec<_> = lines.iter().map(|line| line.split_once(" | ").unwrap().1).collect();
    assert_eq!(texts, ["before", "3 lines are missing here", "after", "1 lines are missing here"]);
}

#[test]
fn a_folder_that_cannot_be_had_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Log::open(&file, || EVENING).err().unwrap().to_string();
    assert!(error.contains("paikea's log in the folder") && error.contains("/file"), "{error}");
}

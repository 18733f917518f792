//! The log by itself: `cargo xtask bench log`. Messages of 200 bytes go through `Writer::submit` one by one, as
//! the sequencer hands them over, until they are on the disk.
//!
//! A rate is messages by wall time or by the CPU time of everything but the thread that submits, whichever is
//! longer: what one core can write. `recover` is `Store::open` after `kill -9` of a process that had written a
//! million records, until its first and last messages have been read.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir::message::{Message, now_us};
use weir::store::{Log, Store, StoreOptions, SubmitError};
use weir_contract::packed::{put, put_text, put_u64, tag};

/// Topic, metadata and payload together, in bytes.
const MESSAGE: usize = 200;
const MESSAGES: u64 = 3_000_000;
const RECOVERED: u64 = 1_000_000;
/// The best of so many runs counts: whatever else the machine does only makes them slower.
const RUNS: usize = 3;
/// Between two messages whose way to the disk is timed.
const TIMED: u64 = 5_000;
/// A steady load, messages per second, under which the time to the disk is measured.
const STEADY: u64 = 250_000;
/// Tells this program that it is the one to be killed.
const CHILD: &str = "--to-be-killed";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CHILD) {
        return write_and_wait(Path::new(&arguments[at + 1]));
    }
    println!("{MESSAGE}-byte messages, {MESSAGES} of them, best of {RUNS} runs");
    let few = best(|| throughput(1_000));
    println!("      1,000 topics: {few}");
    let many = best(|| throughput(100_000));
    println!("    100,000 topics: {many}");
    let steady = steadily();
    println!(
        "  at {STEADY}/s from submit to disk: median {:?}, 99 % {:?}, worst {:?}",
        steady[0], steady[1], steady[2]
    );
    let recovery = (0..RUNS).map(|_| recover()).min().expect("there are runs");
    println!("  {RECOVERED} records after kill -9: readable after {recovery:?}");
    println!(
        "{{\"msgs_per_s\":{:.0},\"msgs_per_s_100k_topics\":{:.0},\"recover_1m_ms\":{:.0},\"disk_ratio\":{:.2}}}",
        few.per_second(),
        many.per_second(),
        recovery.as_secs_f64() * 1e3,
        few.disk_ratio,
    );
}

/// One run.
struct Figures {
    wall: Duration,
    /// CPU time of all threads but the one that submits.
    writing: Duration,
    disk_ratio: f64,
}

impl Figures {
    fn per_second(&self) -> f64 {
        MESSAGES as f64 / self.wall.max(self.writing).as_secs_f64()
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, writing) = (self.wall.as_secs_f64(), self.writing.as_secs_f64());
        let (rate, ratio) = (self.per_second(), self.disk_ratio);
        write!(
            out,
            "{rate:>9.0}/s (wall {wall:.2} s, CPU of the writer {writing:.2} s), {ratio:.2} bytes on disk per byte"
        )
    }
}

fn best(run: impl Fn() -> Figures) -> Figures {
    let mut runs: Vec<Figures> = (0..RUNS).map(|_| run()).collect();
    runs.sort_by(|one, other| other.per_second().total_cmp(&one.per_second()));
    runs.swap_remove(0)
}

/// Everything as fast as it goes.
fn throughput(topics: u64) -> Figures {
    let home = tempfile::tempdir().expect("a temporary folder");
    let store = open(home.path());
    let source = Source::new(topics);
    let (started, cpu) = (Instant::now(), cpu_of_others());
    for number in 0..MESSAGES {
        submit(&store, source.message(number));
    }
    let log = &store.logs()[0];
    wait_for(log, MESSAGES);
    let wall = started.elapsed();
    let writing = cpu_of_others().saturating_sub(cpu);
    Figures { wall, writing, disk_ratio: disk_ratio(home.path(), MESSAGES) }
}

/// Median, 99th percentile and worst time from submit to disk, when nobody waits for an answer.
fn steadily() -> [Duration; 3] {
    let home = tempfile::tempdir().expect("a temporary folder");
    let store = open(home.path());
    let log = store.logs()[0].clone();
    let marks = std::thread::spawn(move || {
        let mut marks = Vec::new();
        let mut mark = 0;
        while mark < 4 * STEADY {
            mark = log.wait_durable_past(mark, Duration::from_secs(10));
            marks.push((mark, Instant::now()));
        }
        marks
    });
    let source = Source::new(1_000);
    let mut sent = Vec::new();
    let started = Instant::now();
    for number in 0..4 * STEADY {
        if number % 250 == 0 {
            let due = started + Duration::from_secs_f64(number as f64 / STEADY as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        submit(&store, source.message(number));
        if number % TIMED == 0 {
            sent.push((number, Instant::now()));
        }
    }
    let marks = marks.join().expect("the marks");
    let on_disk = |number| marks.iter().find(|(mark, _)| *mark > number).expect("it is on the disk").1;
    let mut times: Vec<Duration> =
        sent.iter().map(|(number, at)| on_disk(*number).saturating_duration_since(*at)).collect();
    times.sort();
    [times[times.len() / 2], times[times.len() * 99 / 100], times[times.len() - 1]]
}

/// Has a process killed that wrote a log, and reads it.
fn recover() -> Duration {
    let home = tempfile::tempdir().expect("a temporary folder");
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg(CHILD)
        .arg(home.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second process");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its word");
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
    let started = Instant::now();
    let store = open(home.path());
    let log = &store.logs()[0];
    let first = log.read(0, &|_| true, 1, 1 << 20).expect("a page");
    let last = log.read_reverse(u64::MAX, &|_| true, 1, 1 << 20).expect("a page");
    let took = started.elapsed();
    assert_eq!(first.messages[0].place.offset, 0);
    assert!(last.messages[0].place.offset + 1 >= RECOVERED, "{:?}", last.messages[0].place);
    took
}

/// The process that is killed: it writes on while the axe falls.
fn write_and_wait(home: &Path) {
    let store = open(home);
    let source = Source::new(1_000);
    for number in 0..RECOVERED {
        submit(&store, source.message(number));
    }
    wait_for(&store.logs()[0], RECOVERED);
    println!("written");
    loop {
        submit(&store, source.message(0));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes messages: metadata as ingress stamps it, payloads that differ.
struct Source {
    topics: Vec<Arc<str>>,
    meta: Bytes,
    noise: Vec<u8>,
}

impl Source {
    fn new(topics: u64) -> Self {
        let mut meta = Vec::new();
        put(&mut meta, tag::ID, &[7; 16]);
        put_u64(&mut meta, tag::RECEIVED_US, now_us());
        put_text(&mut meta, tag::TENANT, "main");
        put_text(&mut meta, tag::NAME, "sensor-1");
        put_text(&mut meta, tag::ORIGIN, "sensor");
        put_text(&mut meta, tag::GATEWAY, "http");
        let topics = (0..topics).map(|number| format!("measurements/{number:06}").into()).collect();
        let mut noise = vec![0; 1 << 16];
        getrandom::fill(&mut noise).expect("random bytes");
        Self { topics, meta: meta.into(), noise }
    }

    fn message(&self, number: u64) -> Message {
        // A prime's steps, so that neighbours differ and all topics come equally often.
        let topic = self.topics[(number.wrapping_mul(7_919) % self.topics.len() as u64) as usize].clone();
        let length = MESSAGE - topic.len() - self.meta.len();
        let at = number.wrapping_mul(7_919) as usize % (self.noise.len() - length);
        let payload = Bytes::copy_from_slice(&self.noise[at..at + length]);
        Message { topic, meta: self.meta.clone(), payload }
    }
}

fn open(home: &Path) -> Store {
    Store::open(home, StoreOptions::default()).expect("a store")
}

/// Waits for room as a shard does: it takes nothing more meanwhile.
fn submit(store: &Store, message: Message) {
    loop {
        let submitted = store.writer().submit(|queue| {
            let offset = queue.next_offset(0);
            queue.record(0, offset, message.clone());
        });
        match submitted {
            Ok(()) => return,
            Err(SubmitError::Full { .. }) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn wait_for(log: &Log, messages: u64) {
    while log.wait_durable_past(messages - 1, Duration::from_secs(60)) < messages {}
}

/// CPU time of this process but for the calling thread, ended threads included.
fn cpu_of_others() -> Duration {
    // Clock ticks, 100 a second on every Linux.
    let ticks = |of: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{of}/stat")).expect("/proc");
        let fields = text.rsplit(')').next().expect("the fields after the name").split_whitespace();
        fields.skip(11).take(2).map(|number| number.parse::<u64>().expect("a number")).sum()
    };
    Duration::from_millis(10 * (ticks("self").saturating_sub(ticks("thread-self"))))
}

fn disk_ratio(home: &Path, messages: u64) -> f64 {
    on_disk(&home.join("log")) as f64 / (messages * MESSAGE as u64) as f64
}

fn on_disk(path: &Path) -> u64 {
    let own = path.symlink_metadata().map_or(0, |metadata| metadata.blocks() * 512);
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| on_disk(&entry.path())).sum::<u64>()
}

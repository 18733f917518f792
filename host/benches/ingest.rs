//! HTTP publishes over 16 connections that stay open, one request after the other on each: `cargo xtask bench
//! ingest`, with `--peers` beside a bare hyper server that answers as much. The figure is requests per second of the
//! server's processor time; server and load have a core each. Every answer is read and checked; with a log no offset
//! may be missing or come twice.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use peers::server::{Kind, Server};
use peers::{Figures, Wanted, ratio, rounded};

const WARM_UP: std::time::Duration = std::time::Duration::from_secs(1);
const LABEL: &str = "requests";
const LOGGED: Kind = Kind::Weir { plugins: 4, logged: true };

fn main() {
    if !peers::served_as_floor() {
        peers::load(run(Wanted::parse(&Kind::OURS, &[Kind::HttpFloor], 5)));
    }
}

async fn run(wanted: Wanted) {
    let mut rates = Figures::new();
    let (mut wrong, mut missing) = (0, 0);
    println!(
        "{:<14} {:>12} {:>12} {:>8} {:>8} {:>8}",
        "server", "per CPU s", "per s", "CPU", "wrong", "missing"
    );
    for connections in wanted.sizes(&[16]) {
        for kind in &wanted.kinds {
            let server = Server::start(*kind).await;
            let counts = Rc::new(Counts::default());
            let figures = LocalSet::new().run_until(measure(&server, connections, &wanted, &counts)).await;
            let Measured { per_cpu_s, per_s, cpu } = figures;
            let gone = if *kind == LOGGED { counts.missing() } else { 0 };
            let failed = counts.wrong.get();
            println!(
                "{:<14} {per_cpu_s:>12.0} {per_s:>12.0} {:>6.0} % {failed:>8} {gone:>8}",
                kind.name(),
                100.0 * cpu
            );
            rates.entry(kind.name()).or_default().insert(LABEL.into(), per_cpu_s);
            wrong += failed;
            missing += gone;
        }
    }
    let mut line = json!({"wrong": wrong, "missing": missing, "per_cpu_s": rounded(&rates, 0)});
    if let Some(ratio) = ratio(&rates, Kind::WEIR, Kind::HttpFloor) {
        line["ratio_http_floor"] = ratio;
    }
    println!("{line}");
}

#[derive(Default)]
struct Counts {
    answers: Cell<u64>,
    wrong: Cell<u64>,
    stop: Cell<bool>,
    /// Of what went to a log.
    offsets: RefCell<Vec<u64>>,
}

struct Measured {
    per_cpu_s: f64,
    per_s: f64,
    /// Of one core.
    cpu: f64,
}

async fn measure(server: &Server, connections: usize, wanted: &Wanted, counts: &Rc<Counts>) -> Measured {
    let mut publishers = Vec::new();
    for number in 0..connections {
        let stream = TcpStream::connect(server.address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (request, expected) = (request(number, wanted.payload), expected(server.kind, number));
        let (logged, counts) = (server.kind == LOGGED, Rc::clone(counts));
        let publisher = Publisher { stream, request, expected, logged, counts };
        publishers.push(tokio::task::spawn_local(publisher.run()));
    }
    tokio::time::sleep(WARM_UP).await;
    let (began, cpu, before) = (Instant::now(), server.cpu(), counts.answers.get());
    tokio::time::sleep(wanted.seconds).await;
    let answers = (counts.answers.get() - before) as f64;
    let (cpu, elapsed) = ((server.cpu() - cpu).as_secs_f64(), began.elapsed().as_secs_f64());
    counts.stop.set(true);
    for publisher in publishers {
        publisher.await.expect("a publisher's end");
    }
    Measured { per_cpu_s: answers / cpu, per_s: answers / elapsed, cpu: cpu / elapsed }
}

impl Counts {
    /// Offsets that were given to no message or to several: a log begins with 0 and has no holes.
    fn missing(&self) -> u64 {
        let mut offsets = self.offsets.borrow_mut();
        offsets.sort_unstable();
        let first = offsets.first().copied().unwrap_or_default();
        offsets.iter().zip(first..).filter(|(offset, wanted)| **offset != *wanted).count() as u64
    }
}

/// One message of a publisher, as a device would send it.
fn request(publisher: usize, payload: usize) -> Vec<u8> {
    let body =
        format!(r#"{{"topic":"bench/{publisher}","data":"{}"}}"#, ".".repeat(payload.saturating_sub(2)));
    format!(
        "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What is answered where there is no log.
fn expected(kind: Kind, publisher: usize) -> Vec<u8> {
    if kind == Kind::HttpFloor {
        return peers::http::ANSWER.to_vec();
    }
    let topic = format!("bench/{publisher}");
    format!(r#"{{"ok":true,"outcome":"accepted","level":"routed","messages":[{{"topic":"{topic}"}}]}}"#)
        .into()
}

struct Publisher {
    stream: TcpStream,
    request: Vec<u8>,
    /// What is answered, unless there is a log.
    expected: Vec<u8>,
    logged: bool,
    counts: Rc<Counts>,
}

impl Publisher {
    async fn run(mut self) {
        let mut buffer = Vec::with_capacity(4_096);
        while !self.counts.stop.get() {
            self.stream.write_all(&self.request).await.expect("room to send");
            let body = answer(&mut self.stream, &mut buffer).await;
            self.counts.answers.set(self.counts.answers.get() + 1);
            let good = body
                .is_some_and(|body| if self.logged { self.is_logged(body) } else { body == self.expected });
            if !good && self.counts.wrong.get() == 0 {
                println!("wrong: {}", buffer.escape_ascii());
            }
            self.counts.wrong.set(self.counts.wrong.get() + u64::from(!good));
            buffer.clear();
        }
    }

    fn is_logged(&self, body: &[u8]) -> bool {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let offset = body["messages"][0]["offset"].as_u64();
        self.counts.offsets.borrow_mut().extend(offset);
        body["outcome"] == "accepted" && offset.is_some()
    }
}

/// The body of the next answer, if its status is 201.
async fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let (start, end) = loop {
        if let Some(whole) = body_of(buffer).filter(|(_, end)| *end <= buffer.len()) {
            break whole;
        }
        let read = stream.read_buf(buffer).await.expect("an answer");
        assert!(read > 0, "the connection ended: {}", buffer.escape_ascii());
    };
    // Nothing was asked for behind it.
    (buffer.starts_with(b"HTTP/1.1 201") && end == buffer.len()).then(|| &buffer[start..end])
}

/// Where the body begins and ends, once the head is there.
fn body_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..start]).expect("a head of ASCII").to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).expect("a length").lines().next()?;
    Some((start, start + length.trim().parse::<usize>().expect("a number")))
}

//! Latency of each delivery to 20 subscribers at 30 % of what weir can carry, or at `--size N` messages per second,
//! with and without one reader of the same topic that never reads: `cargo xtask bench slow`, with `--peers` beside a
//! bare broadcaster (without that reader: it would wait for it). A message's time counts from when it should have
//! been sent, so that a stall counts for all that should have been sent meanwhile. Server and load have a core each;
//! the load never sleeps.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::json;

use peers::server::{Kind, Server};
use peers::{Figures, Wanted, link, ratio, rounded, wire};

const READERS: usize = 20;
const SHARE: f64 = 0.3;
/// The median of so many runs counts.
const ROUNDS: usize = 3;
/// Until the buffers of the reader that never reads are full, and its queue.
const WARM_UP: Duration = Duration::from_secs(5);
/// Nothing has come for so long: the rest is lost.
const SILENCE: Duration = Duration::from_secs(5);
/// The stuck reader loses messages and stays, since one that is cut off would cost nothing any more.
const TABLES: &str =
    "[[delivery]]\ntopics = [\"bench/#\"]\noverflow = \"drop-oldest\"\n[limits]\nwrite = \"10m\"\n";
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

fn main() {
    if !peers::served_as_floor() {
        let ours = [Kind::WEIR, Kind::Weir { plugins: 4, logged: true }];
        peers::load(run(Wanted::parse(&ours, &[Kind::Floor], 5)));
    }
}

async fn run(wanted: Wanted) {
    let rate = match wanted.sizes(&[])[..] {
        [rate] => rate as f64,
        _ => SHARE * saturation(&wanted).await,
    };
    println!("{rate:.0} messages/s to {READERS} subscribers");
    println!(
        "{:<14} {:>6} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "server", "stuck", "p50 us", "p99 us", "p99.9 us", "max us", "lost"
    );
    let mut table = Table { offered: rate, ..Table::default() };
    for _ in 0..ROUNDS {
        for kind in &wanted.kinds {
            for stuck in [false, true] {
                if !stuck || *kind != Kind::Floor {
                    table.run(*kind, stuck, &wanted).await;
                }
            }
        }
    }
    table.print();
}

/// Messages per second that weir can carry.
async fn saturation(wanted: &Wanted) -> f64 {
    let server = Server::start(Kind::WEIR).await;
    let most = wanted.flow(1, READERS).run(&server).await;
    most.deliveries as f64 / most.elapsed.as_secs_f64() / READERS as f64
}

/// Microseconds by server and whether one is stuck, of each round; and what went wrong in all.
#[derive(Default)]
struct Table {
    offered: f64,
    rounds: Vec<(Kind, &'static str, [f64; 3])>,
    lost: u64,
    dup: u64,
    reordered: u64,
}

impl Table {
    async fn run(&mut self, kind: Kind, stuck: bool, wanted: &Wanted) {
        let label = if stuck { "with" } else { "without" };
        let server = Server::start_with(kind, TABLES).await;
        let mut load = Load::connect(&server, self.offered, wanted.payload).await;
        let stuck = match stuck {
            true => Some(link::subscribe(&server, READERS, 0).await),
            false => None,
        };
        load.run(wanted.seconds);
        let lost = load.sent * READERS as u64 - load.good;
        let us = |quantile: f64| load.times.value_at_quantile(quantile) as f64 / 1e3;
        let figures = QUANTILES.map(|(_, quantile)| us(quantile));
        let [p50, p99, p999] = figures;
        println!(
            "{:<14} {label:>6} {p50:>9.0} {p99:>9.0} {p999:>9.0} {:>9.0} {lost:>6}",
            kind.name(),
            load.times.max() as f64 / 1e3
        );
        if let Some(stream) = stuck {
            let heard = heard(stream.into_std().expect("a stream"));
            assert!(heard < load.sent, "the stuck reader was not stuck: all {heard} messages waited for it");
        }
        self.rounds.push((kind, label, figures));
        self.lost += lost;
        self.dup += load.dup;
        self.reordered += load.reordered;
    }

    fn print(&self) {
        let mut line = json!({
            "lost": self.lost, "dup": self.dup, "reordered": self.reordered, "offered": self.offered.round(),
        });
        for (at, (name, _)) in QUANTILES.iter().enumerate() {
            let medians = self.medians(at);
            line[format!("{name}_us")] = rounded(&medians, 0);
            if *name == "p99" {
                line["ratio_stuck"] = medians
                    .iter()
                    .filter_map(|(kind, row)| {
                        let ratio = 100.0 * row.get("with")? / row.get("without")?;
                        Some(((*kind).to_owned(), json!(ratio.round() / 100.0)))
                    })
                    .collect();
                line["ratio_ws_floor"] = json!(ratio(&medians, Kind::WEIR, Kind::Floor));
            }
        }
        println!("{line}");
    }

    fn medians(&self, quantile: usize) -> Figures {
        let mut medians = Figures::new();
        for (kind, label, _) in &self.rounds {
            let same = self.rounds.iter().filter(|round| (round.0, round.1) == (*kind, *label));
            let mut all: Vec<f64> = same.map(|round| round.2[quantile]).collect();
            all.sort_by(f64::total_cmp);
            medians.entry(kind.name()).or_default().insert((*label).to_owned(), all[all.len() / 2]);
        }
        medians
    }
}

/// One publisher and its readers, looked at in turns without ever sleeping.
struct Load {
    kind: Kind,
    publisher: TcpStream,
    template: wire::Template,
    readers: Vec<Reader>,
    /// What one call reads.
    read: Vec<u8>,
    interval: Duration,
    sent: u64,
    good: u64,
    dup: u64,
    reordered: u64,
    /// Nanoseconds.
    times: Histogram<u64>,
}

struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    next: u64,
}

impl Load {
    async fn connect(server: &Server, rate: f64, payload: usize) -> Self {
        let mut readers = Vec::new();
        for number in 0..READERS {
            let stream = link::subscribe(server, number, 0).await.into_std().expect("a stream");
            readers.push(Reader { stream, buffer: Vec::new(), next: 0 });
        }
        Self {
            kind: server.kind,
            publisher: link::publisher(server, 0).await.into_std().expect("a stream"),
            template: wire::publish(server.kind, 0, payload),
            readers,
            read: vec![0; 64 * 1024],
            interval: Duration::from_secs_f64(1.0 / rate),
            sent: 0,
            good: 0,
            dup: 0,
            reordered: 0,
            times: Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds"),
        }
    }

    fn run(&mut self, seconds: Duration) {
        let interval = self.interval.as_nanos() as u64;
        let count = |time: Duration| time.as_nanos() as u64 / interval;
        let (first, total) = (count(WARM_UP), count(WARM_UP + seconds));
        let wanted = total * READERS as u64;
        let (began, mut waiting, mut last) = (Instant::now(), Vec::new(), Instant::now());
        while self.good < wanted && last.elapsed() < SILENCE {
            let due = count(began.elapsed()).min(total);
            (self.sent..due).for_each(|number| self.template.write(number, &mut waiting));
            self.sent = due;
            send(&mut self.publisher, &mut waiting);
            if self.look(began, first) {
                last = Instant::now();
            }
        }
    }

    /// Whether any reader got something.
    fn look(&mut self, began: Instant, first: u64) -> bool {
        let before = self.good;
        for reader in &mut self.readers {
            if !reader.fill(&mut self.read) {
                continue;
            }
            let now = began.elapsed();
            let mut at = 0;
            while let Some((start, end)) = wire::payload_of(self.kind, &reader.buffer[at..]) {
                for number in wire::numbers(&reader.buffer[at + start..at + end]) {
                    if number < reader.next {
                        self.dup += 1;
                        continue;
                    }
                    self.reordered += u64::from(number > reader.next);
                    self.good += 1;
                    reader.next = number + 1;
                    if number >= first {
                        let should = Duration::from_nanos(number * self.interval.as_nanos() as u64);
                        self.times.saturating_record(now.saturating_sub(should).as_nanos() as u64);
                    }
                }
                at += end;
            }
            reader.buffer.drain(..at);
        }
        self.good > before
    }
}

impl Reader {
    /// Takes what has come. False: nothing has.
    fn fill(&mut self, read: &mut [u8]) -> bool {
        match self.stream.read(read) {
            Ok(0) => panic!("a reader was cut off"),
            Ok(count) => self.buffer.extend_from_slice(&read[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("a reader was cut off: {error}"),
        }
        true
    }
}

/// Writes as much as the connection takes now.
fn send(stream: &mut TcpStream, waiting: &mut Vec<u8>) {
    if waiting.is_empty() {
        return;
    }
    match stream.write(waiting) {
        Ok(count) => drop(waiting.drain(..count)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => panic!("the publisher was cut off: {error}"),
    }
}

/// How many messages come when the stuck reader reads at last.
fn heard(mut stream: TcpStream) -> u64 {
    stream.set_nonblocking(false).expect("a blocking stream");
    stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all));
    wire::numbers(&all).count() as u64
}

//! Servers side by side: each a process of its own on one core, the load on the other.

#![allow(dead_code, reason = "every bench is a program of its own, and uses its part of this")]

pub mod floor;
pub mod flow;
pub mod http;
pub mod link;
pub mod mqtt;
pub mod publisher;
pub mod server;
pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use flow::{Flow, Outcome};
use server::{Kind, Server};

/// What a bench was asked for on its command line.
pub struct Wanted {
    /// The servers.
    pub kinds: Vec<Kind>,
    /// How long each run is measured.
    pub seconds: Duration,
    /// Bytes of a payload.
    pub payload: usize,
    /// The only size; none: all.
    size: Option<usize>,
}

impl Wanted {
    /// `--peers`, `--seconds N`, `--only NAME`, `--size N`, `--payload BYTES`; what `cargo bench` adds is passed over.
    pub fn parse(ours: &[Kind], peers: &[Kind], seconds: u64) -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| word == flag)?;
            words.get(at + 1).cloned()
        };
        let all = [ours, peers].concat();
        let kinds = match after("--only") {
            Some(name) => {
                let names: Vec<&str> = all.iter().map(|kind| kind.name()).collect();
                let found = all.iter().find(|kind| kind.name() == name);
                vec![*found.unwrap_or_else(|| panic!("no server {name}: there are {}", names.join(", ")))]
            }
            None if words.iter().any(|word| word == "--peers") => all,
            None => ours.to_vec(),
        };
        let number =
            |flag: &str| after(flag).map(|n| n.parse().unwrap_or_else(|_| panic!("{flag} N, a number")));
        Self {
            kinds,
            seconds: Duration::from_secs(number("--seconds").map_or(seconds, |n| n as u64)),
            payload: number("--payload").unwrap_or(wire::PAYLOAD),
            size: number("--size"),
        }
    }

    /// Of these sizes those that were asked for.
    pub fn sizes(&self, all: &[usize]) -> Vec<usize> {
        self.size.map_or_else(|| all.to_vec(), |size| vec![size])
    }

    /// So many publishers, each with so many subscribers, for the time and with the payload that were asked for.
    pub fn flow(&self, publishers: usize, subscribers: usize) -> Flow {
        Flow { publishers, subscribers, seconds: self.seconds, payload: self.payload }
    }
}

/// Serves as one of the floors, if that is what this program was started for. True: it was.
pub fn served_as_floor() -> bool {
    let words: Vec<String> = std::env::args().collect();
    let [_, flag, address] = words.as_slice() else { return false };
    let serve = match flag.as_str() {
        "--serve-floor" => floor::serve,
        "--serve-http-floor" => http::serve,
        _ => return false,
    };
    serve(address.parse().expect("an address"));
    true
}

/// Runs the load on its core.
pub fn load(bench: impl Future<Output = ()>) {
    server::pin_load();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(bench);
}

/// Figures by server and label, as JSON.
pub type Figures = BTreeMap<&'static str, BTreeMap<String, f64>>;

/// The figures, rounded to so many digits behind the point.
pub fn rounded(figures: &Figures, digits: i32) -> Value {
    let row = |labels: &BTreeMap<String, f64>| -> Value {
        labels.iter().map(|(label, figure)| (label.clone(), round(*figure, digits))).collect()
    };
    figures.iter().map(|(name, labels)| ((*name).to_owned(), row(labels))).collect()
}

/// By label, ours over theirs; none unless both were measured.
pub fn ratio(figures: &Figures, ours: Kind, theirs: Kind) -> Option<Value> {
    let (ours, theirs) = (figures.get(ours.name())?, figures.get(theirs.name())?);
    let one = |(label, figure): (&String, &f64)| Some((label.clone(), round(figure / theirs.get(label)?, 2)));
    Some(Value::Object(ours.iter().filter_map(one).collect::<Map<_, _>>()))
}

fn round(figure: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((figure * scale).round() / scale)
}

/// Deliveries per second of the server's processor, by server and flow; and what went wrong in all.
#[derive(Default)]
pub struct Table {
    rates: Figures,
    lost: u64,
    dup: u64,
    reordered: u64,
}

impl Table {
    /// Prints the heading of the lines.
    pub fn start() -> Self {
        println!(
            "{:<14} {:>8} {:>12} {:>12} {:>8} {:>6} {:>5} {:>9}",
            "server", "flow", "per CPU s", "per s", "CPU", "lost", "dup", "reordered"
        );
        Self::default()
    }

    /// Runs one flow against a server of its own, and prints a line.
    pub async fn run(&mut self, kind: Kind, label: &str, flow: &Flow) {
        let server = Server::start(kind).await;
        let outcome = flow.run(&server).await;
        drop(server);
        let Outcome { deliveries, cpu, elapsed, lost, dup, reordered } = outcome;
        let rate = deliveries as f64 / cpu.as_secs_f64();
        println!(
            "{:<14} {label:>8} {:>12.0} {:>12.0} {:>6.0} % {lost:>6} {dup:>5} {reordered:>9}",
            kind.name(),
            rate,
            deliveries as f64 / elapsed.as_secs_f64(),
            100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64(),
        );
        self.rates.entry(kind.name()).or_default().insert(label.to_owned(), rate);
        self.lost += lost;
        self.dup += dup;
        self.reordered += reordered;
    }

    /// Prints the last line: with the ratio of the first of these pairs to the second.
    pub fn print(&self, compared: &[(Kind, Kind)]) {
        let mut line = json!({"lost": self.lost, "dup": self.dup, "reordered": self.reordered});
        line["per_cpu_s"] = rounded(&self.rates, 0);
        for (ours, theirs) in compared {
            if let Some(ratio) = ratio(&self.rates, *ours, *theirs) {
                line[format!("ratio_{}", theirs.name())] = ratio;
            }
        }
        println!("{line}");
    }
}

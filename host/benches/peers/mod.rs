//! Servers side by side: each a process of its own on one core, the load on the other.

pub mod flow;
pub mod floor;
pub mod server;
pub mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use flow::{Flow, Outcome};
use server::{Kind, Server};

/// What a bench was asked for on its command line.
pub struct Wanted {
    /// The servers.
    pub kinds: Vec<Kind>,
    /// How long each run is measured.
    pub seconds: Duration,
    /// The only size; none: all.
    size: Option<usize>,
}

impl Wanted {
    /// `--peers`, `--seconds N`, `--only NAME`, `--size N`; what `cargo bench` adds is passed over.
    pub fn parse() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let after = |flag: &str| {
            let at = words.iter().position(|word| word == flag)?;
            words.get(at + 1).cloned()
        };
        let peers = words.iter().any(|word| word == "--peers");
        let kinds = match after("--only") {
            Some(name) => vec![Kind::named(&name)],
            None if peers => Kind::ALL.to_vec(),
            None => Kind::OURS.to_vec(),
        };
        let seconds = after("--seconds").map_or(3, |seconds| seconds.parse().expect("--seconds N"));
        let size = after("--size").map(|size| size.parse().expect("--size N"));
        Self { kinds, seconds: Duration::from_secs(seconds), size }
    }

    /// Of these sizes those that were asked for.
    pub fn sizes(&self, all: &[usize]) -> Vec<usize> {
        self.size.map_or_else(|| all.to_vec(), |size| vec![size])
    }
}

/// Deliveries per second of the server's processor, by server and size; and what went wrong in all.
#[derive(Default)]
pub struct Table {
    rates: BTreeMap<&'static str, BTreeMap<String, f64>>,
    lost: u64,
    dup: u64,
    reordered: u64,
}

impl Table {
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

    /// The heading of the lines.
    pub fn heading() {
        println!(
            "{:<14} {:>8} {:>12} {:>12} {:>8} {:>6} {:>5} {:>9}",
            "server", "flow", "per CPU s", "per s", "CPU", "lost", "dup", "reordered"
        );
    }

    /// The last line.
    pub fn print(&self) {
        let mut line = json!({"lost": self.lost, "dup": self.dup, "reordered": self.reordered});
        let rounded = |rates: &BTreeMap<String, f64>| -> Value {
            rates.iter().map(|(label, rate)| (label.clone(), json!(rate.round()))).collect()
        };
        line["per_cpu_s"] =
            self.rates.iter().map(|(name, rates)| ((*name).to_owned(), rounded(rates))).collect();
        let Some(ours) = self.rates.get(Kind::Weir { plugins: 4, logged: false }.name()) else {
            return println!("{line}");
        };
        for peer in [Kind::NatsWs, Kind::Floor, Kind::MosquittoWs] {
            let Some(theirs) = self.rates.get(peer.name()) else { continue };
            let ratio = |label: &String| {
                let hundredths = (100.0 * ours.get(label)? / theirs.get(label)?).round();
                Some((label.clone(), json!(hundredths / 100.0)))
            };
            line[format!("ratio_{}", peer.name())] = ours.keys().filter_map(ratio).collect();
        }
        println!("{line}");
    }
}

//! Swaps of a plugin under load: `cargo xtask bench reload`. Publishers send at a steady pace, and then as fast as they are
//! answered, through four plugins, one of which is replaced again and again, by components that were never compiled before and by such as
//! were.
//!
//! A swap is over when the first message comes that has been through the new version: from the rename, which settles at
//! once, to that message on the subscriber's socket, compiling included.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]
// The harness is that of the tests: not all of it is needed here.
#![allow(dead_code, unused_imports)]

#[path = "../tests/all"]
mod all {
    pub mod harness;
}
mod load;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use all::harness;
use harness::{Folders, Router, Setup, wasm};
use load::{Load, Report, percentile};
use serde_json::json;

const PUBLISHERS: u64 = 4;
/// Messages a second of each of them where the machine is not full: pauses are then the swaps' own.
const PACE: u64 = 2_500;
/// Swaps of each sort.
const SWAPS: u8 = 10;
/// Around a swap in which pauses are its own.
const AROUND: Duration = Duration::from_millis(300);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let healthy = "topics = [\"healthy/#\"]\n";
    let mut setup = Setup::open().guest_as("stamp-a", "stamp").binding("stamp", healthy);
    for filter in ["one", "two", "three"] {
        setup = setup.guest_as("keep", filter).binding(filter, healthy);
    }
    let setup = setup.config(|config| config.plugin = weir::config::PluginLimits::default());
    let router = setup.start().await;
    let paced = swaps(&router, PACE).await;
    paced.print(&format!("at {} messages/s", PUBLISHERS * PACE));
    let full = swaps(&router, 0).await;
    full.print("at full load");
    router.stop().await;
    println!(
        "{}",
        json!({"live_ms": median(&full.uncached), "live_ms_cached": median(&full.cached),
            "max_pause_ms": (worst(&full.around) * 10.0).round() / 10.0, "lost": full.report.lost,
            "dup": full.report.dup, "reordered": full.report.reordered})
    );
}

/// What a row of swaps has shown, sorted.
struct Figures {
    uncached: Vec<Duration>,
    cached: Vec<Duration>,
    /// Pauses between two deliveries around swaps, and elsewhere.
    around: Vec<Duration>,
    elsewhere: Vec<Duration>,
    rate: f64,
    report: Report,
}

impl Figures {
    fn print(&self, load: &str) {
        let list = |times: &[Duration]| times.iter().map(|time| ms(*time).round()).collect::<Vec<_>>();
        let Self { uncached, cached, around, elsewhere, rate, report } = self;
        println!("{load}: {rate:.0} messages/s through four plugins, {} swaps", 2 * SWAPS);
        println!("  live after, uncached: {:?} ms", list(uncached));
        println!("  live after, cached:   {:?} ms", list(cached));
        println!(
            "  longest pause between two deliveries: {:.1} ms around swaps, {:.1} ms elsewhere",
            worst(around),
            worst(elsewhere)
        );
        println!("  lost, doubled, reordered: {}, {}, {}", report.lost, report.dup, report.reordered);
    }
}

/// Swaps back and forth under load; `per_second` of each publisher, 0 = as fast as they are answered.
async fn swaps(router: &Router, per_second: u64) -> Figures {
    let load = Load::begin(router.http, PUBLISHERS, per_second).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut uncached, mut cached, mut swaps) = (Vec::new(), Vec::new(), Vec::new());
    for swap in 0..SWAPS {
        for (guest, times) in [("stamp-b", &mut uncached), ("stamp-a", &mut cached)] {
            tokio::time::sleep(2 * AROUND).await;
            let at = load.began.elapsed();
            // Another number at its end makes it another component.
            let bytes = if guest == "stamp-b" { numbered(wasm(guest), swap) } else { wasm(guest) };
            times.push(replace(&load, &router.folders, guest, &bytes).await);
            swaps.push((at, load.began.elapsed()));
        }
    }
    tokio::time::sleep(AROUND).await;
    let seconds = load.began.elapsed().as_secs_f64();
    let report = load.end().await;
    let rate = report.arrivals.len() as f64 / seconds;
    let (mut around, mut elsewhere) = (Vec::new(), Vec::new());
    for pair in report.arrivals.windows(2) {
        let (from, to) = (pair[0].came, pair[1].came);
        let of_swap = swaps.iter().any(|(began, ended)| to >= *began && from <= *ended + AROUND / 10);
        if of_swap { around.push(to - from) } else { elsewhere.push(to - from) }
    }
    for times in [&mut uncached, &mut cached, &mut around, &mut elsewhere] {
        times.sort();
    }
    Figures { uncached, cached, around, elsewhere, rate, report }
}

/// Replaces the component and waits for the first message that has been through it.
async fn replace(load: &Load, folders: &Folders, guest: &str, bytes: &[u8]) -> Duration {
    let draft = folders.plugins().join(".stamp.draft");
    std::fs::write(&draft, bytes).expect("a file");
    let wanted = u64::from(guest == "stamp-b");
    let began = Instant::now();
    std::fs::rename(draft, folders.plugins().join("stamp.wasm")).expect("a rename");
    while load.newest.load(Ordering::Relaxed) != wanted {
        assert!(began.elapsed() < Duration::from_secs(60), "the swap never came");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    began.elapsed()
}

/// The same component with a custom section of its own.
fn numbered(mut bytes: Vec<u8>, number: u8) -> Vec<u8> {
    let unique = weir::message::now_us().to_le_bytes();
    bytes.extend([0, 11, 1, b'n', number]);
    bytes.extend(unique);
    bytes
}

fn worst(sorted: &[Duration]) -> f64 {
    ms(sorted.last().copied().unwrap_or_default())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(sorted: &[Duration]) -> f64 {
    ms(percentile(sorted, 50.0)).round()
}

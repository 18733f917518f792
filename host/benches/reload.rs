//! Swaps of a plugin under full load: `cargo xtask bench reload`. Publishers send as fast as they are answered through
//! four plugins, one of which is replaced again and again, by components that were never compiled before and by such as
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
use harness::{Folders, Setup, wasm};
use load::{Load, percentile};
use serde_json::json;

const PUBLISHERS: u64 = 4;
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
    let load = Load::begin(router.http, PUBLISHERS, 0).await;
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
    let (report, rate) = {
        let seconds = load.began.elapsed().as_secs_f64();
        let report = load.end().await;
        let rate = report.arrivals.len() as f64 / seconds;
        (report, rate)
    };
    router.stop().await;

    let (mut pauses, mut calm) = (Vec::new(), Vec::new());
    for pair in report.arrivals.windows(2) {
        let (from, to) = (pair[0].came, pair[1].came);
        let of_swap = swaps.iter().any(|(began, ended)| to >= *began && from <= *ended + AROUND / 10);
        if of_swap { pauses.push(to - from) } else { calm.push(to - from) }
    }
    pauses.sort();
    calm.sort();
    uncached.sort();
    cached.sort();
    let worst = |sorted: &[Duration]| ms(sorted.last().copied().unwrap_or_default());
    println!("{rate:.0} messages/s through four plugins, {} swaps", swaps.len());
    println!("uncached: {:?}", uncached.iter().map(|t| ms(*t).round()).collect::<Vec<_>>());
    println!("cached:   {:?}", cached.iter().map(|t| ms(*t).round()).collect::<Vec<_>>());
    println!(
        "longest pause between two deliveries: {:.1} ms around swaps, {:.1} ms elsewhere",
        worst(&pauses),
        worst(&calm)
    );
    println!(
        "{}",
        json!({"live_ms": median(&uncached), "live_ms_cached": median(&cached),
            "max_pause_ms": (worst(&pauses) * 10.0).round() / 10.0, "lost": report.lost, "dup": report.dup,
            "reordered": report.reordered})
    );
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

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(sorted: &[Duration]) -> f64 {
    ms(percentile(sorted, 50.0)).round()
}

//! What others notice of hostile plugins: `cargo xtask bench hostile`. Healthy publishers send at a steady pace through
//! healthy plugins, while each fixture of `tests/all/harness/hostile.rs` does what it does.
//!
//! A message is due when its time has come, whenever it could be sent, so that a stall counts for all that it holds up.
//! Stalls are stretches in which messages took longer than [`STALLED`]; the 99th percentile outside of them is compared
//! with the one before anything hostile happened.

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

use std::time::Duration;

use all::harness;
use harness::Setup;
use harness::hostile::FIXTURES;
use load::{Arrival, Load, percentile};
use serde_json::{Map, Value, json};

/// The default deadline of a call.
const DEADLINE: Duration = Duration::from_millis(50);
/// Whoever takes longer was held up by somebody's deadline.
const STALLED: Duration = Duration::from_millis(10);
const PUBLISHERS: u64 = 4;
const PER_SECOND: u64 = 500;
/// Before anything hostile happens.
const QUIET: Duration = Duration::from_secs(5);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run());
}

async fn run() {
    let healthy = "topics = [\"healthy/#\"]\n";
    let setup =
        Setup::open().guest("stamp-a").binding("stamp-a", healthy).guest("keep").binding("keep", healthy);
    let setup = setup.config(|config| config.plugin = weir::config::PluginLimits::default());
    let router = setup.start().await;
    let load = Load::begin(router.http, PUBLISHERS, PER_SECOND).await;
    tokio::time::sleep(QUIET).await;
    let mut spans = vec![("quiet", "", String::new(), Duration::from_secs(1), load.began.elapsed())];
    for fixture in FIXTURES {
        let from = load.began.elapsed();
        let outcome = fixture.commit(&router, &router.folders).await;
        fixture.undo(&router, &router.folders).await;
        spans.push((fixture.name, fixture.outcome, outcome, from, load.began.elapsed()));
    }
    let report = load.end().await;
    router.stop().await;

    let (mut stall_max, mut outside, mut outcomes) = (Duration::ZERO, Vec::new(), Map::new());
    let mut quiet = Duration::ZERO;
    println!("{:<22} {:>9} {:>10} {:>10}  outcome", "fixture", "stall ms", "p99 ms", "messages");
    for (name, expected, outcome, from, to) in spans {
        let within: Vec<_> =
            report.arrivals.iter().filter(|a| a.sent >= from && a.sent < to).copied().collect();
        let stalls = stalls(&within);
        let stalled: Duration = stalls.iter().map(|(from, to)| *to - *from).sum();
        let mut rest = latencies(&within, &stalls);
        rest.sort();
        let p99 = percentile(&rest, 99.0);
        println!("{name:<22} {:>9.0} {:>10.2} {:>10}  {outcome}", ms(stalled), ms(p99), within.len());
        if name == "quiet" {
            quiet = p99;
            continue;
        }
        assert_eq!(outcome, expected, "{name}");
        stall_max = stall_max.max(stalled);
        outside.extend(rest);
        outcomes.insert(name.into(), Value::String(outcome));
    }
    outside.sort();
    let ratio = percentile(&outside, 99.0).as_secs_f64() / quiet.as_secs_f64();
    println!(
        "deadline {} ms; p99 before: {:.2} ms; lost, doubled, reordered: {}, {}, {}",
        ms(DEADLINE),
        ms(quiet),
        report.lost,
        report.dup,
        report.reordered
    );
    println!(
        "{}",
        json!({"lost": report.lost + report.dup + report.reordered, "stall_ms_max": ms(stall_max).round(),
            "p99_ratio_outside": (ratio * 100.0).round() / 100.0, "fixtures": outcomes})
    );
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Stretches of time in which messages were held up, from the first that was due to the last that came.
fn stalls(arrivals: &[Arrival]) -> Vec<(Duration, Duration)> {
    let mut held: Vec<_> =
        arrivals.iter().filter(|a| a.came - a.sent >= STALLED).map(|a| (a.sent, a.came)).collect();
    held.sort();
    let mut stalls: Vec<(Duration, Duration)> = Vec::new();
    for (from, to) in held {
        match stalls.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => stalls.push((from, to)),
        }
    }
    stalls
}

fn latencies(arrivals: &[Arrival], stalls: &[(Duration, Duration)]) -> Vec<Duration> {
    let outside = |a: &&Arrival| !stalls.iter().any(|(from, to)| a.came >= *from && a.sent <= *to);
    arrivals.iter().filter(outside).map(|a| a.came.saturating_sub(a.sent)).collect()
}

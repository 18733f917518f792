//! Many turnovers of a whole log: what it takes of the disk and of memory stays within its bounds.

#[path = "../all/retention.rs"]
mod short;

use std::time::Instant;

use short::{Turnover, turn};

use crate::rounds;

/// How often the log is written anew.
const TURNOVERS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_and_memory_stay_within_their_bounds() {
    let Some(turnovers) = rounds(TURNOVERS) else { return };
    let started = Instant::now();
    let mut figures: Vec<Turnover> = Vec::new();
    turn(turnovers.max(8), |turnover| {
        let Turnover { disk, resident } = turnover;
        println!(
            "{:>4} s: {:>4} MiB on disk, {:>4} MiB resident",
            started.elapsed().as_secs(),
            disk >> 20,
            resident >> 20
        );
        figures.push(turnover);
    })
    .await;
    // The first quarter fills caches; afterwards memory does not grow with what passes.
    let (first, second) = figures.split_at(figures.len() / 2);
    let most = |part: &[Turnover]| part.iter().map(|turnover| turnover.resident).max().unwrap();
    let (early, late) = (most(first), most(second));
    assert!(late <= early + early / 4 + (32 << 20), "resident memory grows: {early} then {late} bytes");
}

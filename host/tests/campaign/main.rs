//! What takes minutes: `cargo xtask test --all`, or by itself
//! `WEIR_CAMPAIGN=1 cargo test --package weir --release --test campaign`.
//!
//! `WEIR_CAMPAIGN` is a factor: at 1 there are 200 rounds of `kill -9`, at 0.05 there are 10. `WEIR_SEED` repeats a
//! run that failed with the seed that it printed.

// Helpers of tests may fail loudly, as tests do; clippy knows only of the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
// The harness is that of the other tests: not all of it is needed here.
#![allow(dead_code, unused_imports)]

#[path = "../all"]
mod all {
    pub mod harness;
}

use all::harness;

mod disk_full;
mod garble;
mod kill;
mod mqtt;
mod retention;

/// So many rounds, at least one; none unless the campaign was asked for.
fn rounds(full: u32) -> Option<u32> {
    let factor: f64 = std::env::var("WEIR_CAMPAIGN").ok()?.parse().expect("WEIR_CAMPAIGN is a number");
    Some(((f64::from(full) * factor) as u32).max(1))
}

/// What decides everything that is random.
fn seed() -> u64 {
    let given = std::env::var("WEIR_SEED").ok().map(|seed| seed.parse().expect("WEIR_SEED is a number"));
    let seed = given.unwrap_or_else(weir::message::now_us);
    println!("WEIR_SEED={seed}");
    seed
}

/// Numbers that look random and repeat (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Others, for somebody else.
    fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX) | 1)
    }
}

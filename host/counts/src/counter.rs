//! Marks what is counted, so that start-up, preparation and other threads are not.

use std::sync::atomic::{AtomicBool, Ordering};

static WARM: AtomicBool = AtomicBool::new(false);

/// From now on [`counted`] counts: memory is as large and tables are as full as they will be.
pub fn warm() {
    WARM.store(true, Ordering::Relaxed);
}

/// Runs a part of a stage and has its instructions counted, once the stage is warm.
pub fn counted(part: impl FnOnce()) {
    let mut part = Some(part);
    let mut call = || {
        if let Some(part) = part.take() {
            part();
        }
    };
    if WARM.load(Ordering::Relaxed) { collected(&mut call) } else { call() }
}

/// Callgrind collects while this function runs: `cargo xtask counts` names it.
#[inline(never)]
fn collected(part: &mut dyn FnMut()) {
    part();
    // Else the call above may become a jump, and this function has no end that could be seen.
    std::hint::black_box(());
}

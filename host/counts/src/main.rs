//! What one message costs at each stage. `cargo xtask counts` starts this program, under valgrind for the stages that
//! are native, and compares what it finds with `baseline.json`.
//!
//! ```text
//! weir-counts list          the names of the native stages, one a line
//! weir-counts stage NAME    messages through this stage; prints how many were counted
//! weir-counts guests        calls into guests as multiples of a native loop, one line of JSON
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod counter;
mod guests;
mod material;
mod native;
mod stages;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => stages::ALL.iter().for_each(|stage| println!("{}", stage.name)),
        ["stage", name] => match stages::ALL.iter().find(|stage| stage.name == *name) {
            Some(stage) => println!("{}", stage.run()),
            None => return usage(&format!("there is no stage {name:?}")),
        },
        ["guests"] => println!("{}", guests::ratios()),
        _ => return usage("expected list, stage NAME or guests"),
    }
    ExitCode::SUCCESS
}

fn usage(why: &str) -> ExitCode {
    eprintln!("weir-counts: {why}");
    ExitCode::from(2)
}

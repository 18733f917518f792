//! `cargo xtask demo --seconds 20`
//!
//! Starts a router on a temporary folder with the stock plugins, lets a device, a sensor and a page talk
//! through it, and swaps a plugin meanwhile. Ends after so many seconds, or with Ctrl-C. The last line of its
//! output is one JSON object; the exit status is 0 only if nothing was lost and all was as it should be.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use weir_live::demo::{self, Options};
use weir_live::page::{Look, Screen};
use weir_live::signals;

/// Run real traffic through a router, swap a plugin meanwhile, and count every message.
#[derive(Parser)]
struct Args {
    /// The router's program
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// How long; without it, until Ctrl-C. Less than 5 leaves no time for swaps
    #[arg(long, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    seconds: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Arc::new(Screen::start(Look::of_stdout(), std::io::stdout()));
    let result = run(args, &screen).await;
    screen.finish();
    signals::exit_code(result)
}

async fn run(args: Args, screen: &Arc<Screen>) -> Result<()> {
    let options = Options { weir: args.weir, length: args.seconds.map(Duration::from_secs) };
    let stop = signals::stop()?;
    let demo = demo::run(&options, screen, &stop);
    let outcome = tokio::select! {
        played = demo => played?,
        // Dropping the demo kills its router.
        () = signals::second(&stop) => bail!("stopped by a second signal: nothing was checked"),
    };
    screen.finish();
    let mut out = std::io::stdout().lock();
    for line in outcome.summary {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", serde_json::to_string(&outcome.report)?)?;
    out.flush()?;
    outcome.fault.map_or(Ok(()), Err)
}

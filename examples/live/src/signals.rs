//! What the programs of this package share: how they are stopped, and how they end.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::witness::Witness;

/// Cancelled by the first of SIGINT (Ctrl-C), SIGTERM and SIGHUP.
pub fn stop() -> Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}

/// Returns when, after the first, another SIGINT comes: somebody is impatient.
pub async fn second(stop: &CancellationToken) {
    stop.cancelled().await;
    match signal(SignalKind::interrupt()) {
        Ok(mut interrupt) => drop(interrupt.recv().await),
        Err(_) => std::future::pending().await,
    }
}

/// Says on standard error what went wrong, if anything did.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be left to read it.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A witness that tells people what is worth telling.
pub struct Aloud;

impl Witness for Aloud {
    fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

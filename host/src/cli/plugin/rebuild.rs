//! `weir plugin rebuild`: asks for it, says what it covers, and waits.

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::super::settings::Place;
use super::super::table::time;
use super::super::{desk, print, say};
use crate::consumer::{Beginning, RebuildReport, RebuildState};
use crate::telemetry::escape;

/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(in crate::cli) struct Rebuild {
    /// The storage plugin, as `weir plugin list` shows it
    name: String,
    /// Also when retention has taken messages from the logs: what came of them will be gone from the data
    #[arg(long)]
    partial: bool,
    /// Return at once; `weir plugin list` shows how far it is
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: &Rebuild) -> anyhow::Result<()> {
    let server = desk::server(&args.place)?;
    let mut report = server.rebuild_plugin(&args.name, args.partial).await?;
    let name = escape(&args.name);
    print(&format!("rebuilding {name} with version {}", escape(&report.version)))?;
    for begin in &report.begins {
        print(&beginning(begin))?;
    }
    if args.no_wait {
        return Ok(());
    }
    let mut said = String::new();
    while report.state == RebuildState::Running {
        let now = progress(&report);
        if now != said {
            say(&now);
            said = now;
        }
        tokio::time::sleep(LOOK).await;
        report = server.rebuild_report(&args.name).await?;
    }
    match report.state {
        RebuildState::Stopped => {
            let why = report.error.map(|why| format!(": {}", escape(&why))).unwrap_or_default();
            bail!("the rebuild of {name} was stopped, its data is as it was before{why}")
        }
        _ => print(&format!("{name} is rebuilt: {} messages passed", report.done)),
    }
}

/// Where the rebuilt data begins in a log.
fn beginning(Beginning { log, offset, time_us }: &Beginning) -> String {
    let log = escape(log);
    match (offset, time_us) {
        (_, None) => format!("log {log}: empty"),
        (0, Some(_)) => format!("log {log}: from its first message on"),
        (offset, Some(us)) => format!(
            "log {log}: from offset {offset} of {} on; what came before is gone from the log and will be gone from the data",
            time(*us)
        ),
    }
}

/// How far it is.
pub(super) fn progress(report: &RebuildReport) -> String {
    let percent = (report.done.saturating_mul(100)).checked_div(report.of).unwrap_or(100);
    let mut text = format!("rebuilding: {} of {} messages ({percent} %)", report.done, report.of);
    if let Some(error) = &report.error {
        text.push_str(&format!("; it tries again after: {}", escape(error)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_said() {
        let begin = |offset, time_us| beginning(&Beginning { log: "default".into(), offset, time_us });
        assert_eq!(begin(0, None), "log default: empty");
        assert_eq!(begin(0, Some(1)), "log default: from its first message on");
        let said = begin(12, Some(1_795_248_000_000_000));
        assert!(
            said.starts_with(
                "log default: from offset 12 of 2026-11-21 08:00:00Z on; what came before is gone"
            )
        );
    }
}

//! `weir plugin try`: what a component that is not live yet would have made of recorded messages.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use super::super::settings::Place;
use super::super::table::time;
use super::super::{desk, print, say};
use crate::admin::TryRequest;
use crate::config::parse_duration;
use crate::telemetry::escape;
use crate::trial::{Difference, Line, SideResult, Summary};

#[derive(Debug, Args)]
pub(in crate::cli) struct Try {
    /// The component; FILE.minisig beside it goes along
    file: PathBuf,
    /// Replay what came in since so long ago
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Duration,
    /// The binding whose place it takes, or that it would be [default: the file's name]
    #[arg(long, value_name = "NAME")]
    binding: Option<String>,
    /// Its binding file, if it is to be bound otherwise than the live version
    #[arg(long, value_name = "FILE.toml")]
    binding_file: Option<PathBuf>,
    /// Show so many differences; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print the server's JSON, one object a line, with every step of what differs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.ok_or("expected a duration such as 45s, 10m, 12h or 30d".into())
}

pub(super) async fn run(args: &Try) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&request(args)?)?;
    let mut screen = Screen { json: args.json, rest: Vec::new(), shown: 0, ended: None };
    let server = desk::server(&args.place)?;
    let done = server.converse("/v1/plugins/try", body, &mut |bytes| screen.take(bytes)).await;
    match screen.ended {
        Some(ended) => ended,
        None => {
            done?;
            bail!("the router is stopping")
        }
    }
}

fn request(args: &Try) -> anyhow::Result<TryRequest> {
    let file = &args.file;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut beside = file.clone().into_os_string();
    beside.push(".minisig");
    let beside = PathBuf::from(beside);
    let found = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    if !found.is_file() || found.len() > COMPONENT_BYTES {
        bail!("{}: accepted is a regular file of at most {COMPONENT_BYTES} bytes", file.display());
    }
    let component = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(TryRequest {
        binding: args.binding.clone().unwrap_or_else(|| stem.to_owned()),
        component: STANDARD.encode(component),
        signature: beside.exists().then(|| text(&beside)).transpose()?,
        config: args.binding_file.as_deref().map(text).transpose()?,
        since_ms: u64::try_from(args.since.as_millis()).unwrap_or(u64::MAX),
        limit: Some(args.limit),
        steps: args.json,
    })
}

fn text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Larger files are not even sent; what the router takes, it says itself.
const COMPONENT_BYTES: u64 = 256 << 20;

/// Where the lines go.
struct Screen {
    json: bool,
    /// The beginning of a line.
    rest: Vec<u8>,
    shown: u64,
    ended: Option<anyhow::Result<()>>,
}

impl Screen {
    fn take(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            match self.line(line.trim_ascii_end()) {
                Ok(None) => {}
                Ok(Some(())) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
        Ok(())
    }

    /// Some: that was the end.
    fn line(&mut self, line: &[u8]) -> anyhow::Result<Option<()>> {
        if line.is_empty() {
            return Ok(None);
        }
        let read: Line = serde_json::from_slice(line).context("the server's words are not understood")?;
        if self.json {
            print(&String::from_utf8_lossy(line))?;
        }
        match read {
            Line::Failed { step, reason } => bail!("{}: {}", escape(&step), escape(&reason)),
            Line::Done(_) if self.json => Ok(Some(())),
            Line::Done(sum) => print(&summary(&sum, self.shown)).map(Some),
            _ if self.json => Ok(None),
            Line::Loaded { plugin, version, replaces } => {
                let (plugin, version) = (escape(&plugin), escape(&version));
                let place = match replaces {
                    Some(live) => format!("in place of version {}", escape(&live)),
                    None => "as a binding that is not there yet".to_owned(),
                };
                say(&format!("trying {plugin}, version {version}, {place}"));
                Ok(None)
            }
            Line::Difference(difference) => {
                self.shown += 1;
                print(&block(&difference)).map(|()| None)
            }
        }
    }
}

fn block(of: &Difference) -> String {
    let mut lines = vec![format!("{}  {}", time(of.time_us), escape(&of.topic))];
    lines.push(format!("  {} → {}", result(&of.live), result(&of.candidate)));
    lines.extend(of.changes.iter().map(|change| format!("    {}", escape(change))));
    lines.join("\n")
}

/// `accepted t/a (12 B)` or `filtered (too old)`
fn result(side: &SideResult) -> String {
    let mut text = escape(&side.outcome);
    if !side.reason.is_empty() {
        text.push_str(&format!(" ({})", escape(&side.reason)));
    }
    let messages =
        side.messages.iter().map(|message| format!(" {} {} B", escape(&message.topic), message.bytes));
    text.push_str(&messages.collect::<Vec<_>>().join(","));
    if side.more > 0 {
        text.push_str(&format!(" and {} more", side.more));
    }
    text
}

fn summary(sum: &Summary, shown: u64) -> String {
    let mut text = format!(
        "{} replayed: {} same, {} different; failed: {} as it is live, {} with the candidate",
        sum.replayed, sum.same, sum.different, sum.live_failed, sum.candidate_failed
    );
    if shown < sum.different {
        text.push_str(&format!("\n{shown} of {} differences are shown (--limit)", sum.different));
    }
    if sum.lost > 0 {
        text.push_str(&format!("\n{} recorded messages are gone from the log or cannot be read", sum.lost));
    }
    if sum.out_of_time {
        text.push_str("\nit took too long: later messages were not replayed");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Became;

    #[test]
    fn a_difference_is_a_block_that_nothing_in_it_can_leave() {
        let accepted = |topic: &str| SideResult {
            outcome: "accepted".into(),
            reason: String::new(),
            messages: vec![Became { topic: topic.into(), bytes: 7 }],
            more: 1,
        };
        let candidate =
            SideResult { outcome: "filtered".into(), reason: "no\n".into(), messages: Vec::new(), more: 0 };
        let difference = Difference {
            topic: "t\n".into(),
            time_us: 1_795_248_000_000_000,
            live: accepted("t/\u{1b}"),
            candidate,
            changes: vec!["outcome: accepted → filtered".into()],
            steps: None,
        };
        let wanted = "2026-11-21 08:00:00Z  t\\n\n  accepted t/\\u{1b} 7 B and 1 more → filtered (no\\n)\n    \
            outcome: accepted → filtered";
        assert_eq!(block(&difference), wanted);
        let sum = Summary { replayed: 3, same: 1, different: 2, lost: 1, ..Summary::default() };
        assert!(summary(&sum, 1).ends_with("1 of 2 differences are shown (--limit)\n1 recorded messages are gone from the log or cannot be read"));
    }
}

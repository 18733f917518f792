//! `weir plugin shadow`: how often a candidate agreed with the live version, and where it did not.

use clap::Args;
use serde::Deserialize;

use super::super::settings::Place;
use super::super::table::time;
use super::super::{desk, print};
use crate::plugin::shadow::{Divergence, Made, ShadowReport};
use crate::telemetry::escape;

#[derive(Debug, Args)]
pub(in crate::cli) struct Shadow {
    /// A binding with `mode = "shadow"`, as `weir plugin list` shows it
    name: String,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(args: &Shadow) -> anyhow::Result<()> {
    let answer = desk::server(&args.place)?.plugin_shadow(&args.name).await?;
    if args.json {
        return print(&answer.to_string());
    }
    let report = ShadowReport::deserialize(answer)?;
    print(&text(&args.name, &report))
}

fn text(name: &str, report: &ShadowReport) -> String {
    let (name, version, of) = (escape(name), escape(&report.version), escape(&report.of));
    let counts = &report.counts;
    let mut lines = vec![format!(
        "{name} (version {version}) beside {of}: {} same, {} different, {} failed, {} skipped",
        counts.same, counts.different, counts.failed, counts.skipped
    )];
    for divergence in &report.divergences {
        lines.extend(block(divergence));
    }
    let shown = report.divergences.len() as u64;
    let all = counts.different + counts.failed;
    if shown > 0 && all > shown {
        lines.push(format!("these are the first {shown} of {all}"));
    }
    lines.join("\n")
}

fn block(of: &Divergence) -> Vec<String> {
    let mut lines = vec![format!("{}  {}  {} B", time(of.time_us), escape(&of.topic), of.bytes)];
    lines.extend(made("live", &of.live));
    lines.extend(made("shadow", &of.shadow));
    lines
}

/// What one of the two made of it.
pub(super) fn made(who: &str, made: &Made) -> Vec<String> {
    let reason = if made.reason.is_empty() { String::new() } else { format!(" ({})", escape(&made.reason)) };
    let mut lines = vec![format!("  {who}: {}{reason}", escape(&made.verdict))];
    for message in &made.messages {
        let fields: Vec<_> = message.fields.iter().map(|field| format!(" [{}]", escape(field))).collect();
        let text = message.text.as_deref().map(|text| format!(" {}", escape(text))).unwrap_or_default();
        let cut =
            if message.text.as_ref().is_some_and(|text| text.len() < message.bytes) { " …" } else { "" };
        let (topic, bytes, fields) = (escape(&message.topic), message.bytes, fields.concat());
        lines.push(format!("    {topic} {bytes} B{fields}{text}{cut}"));
    }
    if made.more > 0 {
        lines.push(format!("    and {} messages more", made.more));
    }
    lines
}

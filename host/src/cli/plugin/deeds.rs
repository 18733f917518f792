//! `weir plugin rollback | disable | enable | forget | history`.

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::super::settings::Place;
use super::super::table::{table, time};
use super::super::{desk, print};
use crate::plugin::HistoryLine;
use crate::telemetry::escape;

#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The binding, as `weir plugin list` shows it
    name: String,
    /// A kept version: its number or the first digits of its component, as `weir plugin history` shows them
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The binding, as `weir plugin list` shows it
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Events {
    /// The binding, as `weir plugin list` shows it
    name: String,
    /// Print the server's JSON, with the binding files of the versions that are kept
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Deserialize)]
struct Answer {
    history: Vec<HistoryLine>,
}

pub(super) async fn rollback(args: &Rollback) -> anyhow::Result<()> {
    let body = args.to.as_ref().map(|to| json!({ "to": to }));
    let done = desk::server(&args.place)?.act_on_plugin(&args.name, "rollback", body.as_ref()).await?;
    print(&escape(&done.done))
}

pub(super) async fn act(args: &Named, deed: &str) -> anyhow::Result<()> {
    print(&escape(&desk::server(&args.place)?.act_on_plugin(&args.name, deed, None).await?.done))
}

pub(super) async fn forget(args: &Named) -> anyhow::Result<()> {
    print(&escape(&desk::server(&args.place)?.forget_plugin(&args.name).await?.done))
}

pub(super) async fn history(args: &Events) -> anyhow::Result<()> {
    let answer = desk::server(&args.place)?.plugin_history(&args.name).await?;
    if args.json {
        return print(&answer.to_string());
    }
    let lines = Answer::deserialize(answer)?.history;
    print(&table(["TIME", "EVENT", "NUMBER", "VERSION", "WHY"], lines.into_iter().map(row)))
}

fn row(line: HistoryLine) -> [String; 5] {
    let HistoryLine { time_us, event, version, number, by, stage, reason, .. } = line;
    let by = by.map(|by| format!("by {by}"));
    let why: Vec<_> = [by, stage, reason].into_iter().flatten().collect();
    let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let version = if version.is_empty() { "-".to_owned() } else { version };
    [time(time_us), event.as_str().to_owned(), number, version, why.join(": ")]
}

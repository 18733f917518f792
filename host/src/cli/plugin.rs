//! `weir plugin`: what the bindings of a running server do.

mod deeds;
mod rebuild;
mod shadow;
mod try_out;

use clap::Subcommand;
use serde::Deserialize;

use super::settings::Listing;
use super::table::{list, table};
use super::{desk, print};
use crate::consumer::{RebuildReport, RebuildState};
use crate::plugin::shadow::ShadowCounts;
use crate::telemetry::escape;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the bindings, in the order in which messages meet them
    List(Listing),
    /// Go back to the version before, component and binding; what lies in the folder is quarantined until it changes
    Rollback(deeds::Rollback),
    /// Take a binding out until it is enabled again; an auth plugin's place stays closed
    Disable(deeds::Named),
    /// Take a disabled binding in again
    Enable(deeds::Named),
    /// Show what happened to a binding
    History(deeds::Events),
    /// Lift the quarantine of a live binding; or forget one that is not live: until then an auth plugin whose file is
    /// gone denies everybody
    Forget(deeds::Named),
    /// Make the data of a storage plugin anew from the log, while the old data serves; both need room on the disk
    Rebuild(rebuild::Rebuild),
    /// Show how often a shadow agreed with the live version, and the first messages of which it made something else
    Shadow(shadow::Shadow),
    /// Replay recorded messages through a component that is not live yet, and show what it would have made otherwise
    Try(try_out::Try),
}

#[derive(Deserialize)]
struct Plugins {
    plugins: Vec<Plugin>,
}

/// What is shown of a binding; a server of another version may say more.
#[derive(Deserialize)]
struct Plugin {
    name: String,
    file: String,
    kind: String,
    version: String,
    order: i64,
    topics: Vec<String>,
    state: String,
    reason: Option<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    calls: u64,
    #[serde(default)]
    failures: u64,
    lag: Option<u64>,
    missed: Option<u64>,
    rebuild: Option<RebuildReport>,
    shadow: Option<Compared>,
}

/// Of a shadow.
#[derive(Deserialize)]
struct Compared {
    of: String,
    #[serde(flatten)]
    counts: ShadowCounts,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => show(args).await,
        Verb::Rollback(args) => deeds::rollback(args).await,
        Verb::Disable(args) => deeds::act(args, "disable").await,
        Verb::Enable(args) => deeds::act(args, "enable").await,
        Verb::History(args) => deeds::history(args).await,
        Verb::Forget(args) => deeds::forget(args).await,
        Verb::Rebuild(args) => rebuild::run(args).await,
        Verb::Shadow(args) => shadow::run(args).await,
        Verb::Try(args) => try_out::run(args).await,
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let answer: serde_json::Value = desk::server(&args.place)?.get("/v1/plugins").await?;
    if args.json {
        return print(&answer.to_string());
    }
    let plugins = Plugins::deserialize(answer)?.plugins;
    let reasons: Vec<String> = plugins
        .iter()
        .flat_map(|plugin| {
            let notes = plugin.notes.iter().map(|note| said(plugin, note));
            let own = [reason(plugin), missed(plugin), rebuilt(plugin), compared(plugin)];
            own.into_iter().flatten().chain(notes)
        })
        .collect();
    let heading = ["KIND", "ORDER", "NAME", "STATE", "FILE", "VERSION", "CALLS", "FAILURES", "LAG", "TOPICS"];
    let mut text = table(heading, plugins.into_iter().map(row));
    for reason in reasons {
        text.push('\n');
        text.push_str(&reason);
    }
    print(&text)
}

fn reason(plugin: &Plugin) -> Option<String> {
    let reason = plugin.reason.as_deref().filter(|reason| !reason.is_empty())?;
    Some(said(plugin, reason))
}

fn said(plugin: &Plugin, text: &str) -> String {
    format!("{}: {}", escape(&plugin.name), escape(text))
}

fn missed(plugin: &Plugin) -> Option<String> {
    let missed = plugin.missed.filter(|missed| *missed > 0)?;
    Some(format!("{}: retention took {missed} messages before they were stored", escape(&plugin.name)))
}

fn rebuilt(plugin: &Plugin) -> Option<String> {
    let report = plugin.rebuild.as_ref().filter(|report| report.state == RebuildState::Running)?;
    Some(format!("{}: {}", escape(&plugin.name), rebuild::progress(report)))
}

fn compared(plugin: &Plugin) -> Option<String> {
    let Compared { of, counts: ShadowCounts { same, different, failed, skipped } } =
        plugin.shadow.as_ref()?;
    let name = escape(&plugin.name);
    Some(format!(
        "{name}: shadow of {}: {same} same, {different} different, {failed} failed, {skipped} skipped; `weir plugin shadow {name}` shows more",
        escape(of)
    ))
}

fn row(plugin: Plugin) -> [String; 10] {
    let Plugin { name, file, kind, version, order, topics, state, calls, failures, lag, .. } = plugin;
    let numbers = [order.to_string(), calls.to_string(), failures.to_string()];
    let [order, calls, failures] = numbers;
    let lag = lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
    [kind, order, name, state, file, version, calls, failures, lag, list(&topics)]
}

//! `weir dead`: the dead letters of a running server.

use clap::{Args, Subcommand};

use super::client::encoded;
use super::settings::Place;
use super::table::{table, time};
use super::{desk, print};
use crate::admin::{DeadInfo, DeadLetter, DeadList};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what was set aside, newest first
    List(List),
    /// Show one letter with its payload, as JSON
    Show(Show),
    /// Delete letters
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// As `weir dead list` shows it
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    /// As `weir dead list` shows them
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => list(args).await,
        Verb::Show(args) => show(args).await,
        Verb::Purge(args) => purge(args).await,
    }
}

async fn list(args: &List) -> anyhow::Result<()> {
    let server = desk::server(&args.place)?;
    let mut all: DeadList = server.get("/v1/dead").await?;
    while let Some(before) = all.next.take() {
        let page: DeadList = server.get(&format!("/v1/dead?before={before}")).await?;
        all.dead.extend(page.dead);
        all.next = page.next;
    }
    if args.json {
        return print(&serde_json::to_string(&all)?);
    }
    let heading = ["ID", "TIME", "STAGE", "BY", "TOPIC", "BYTES", "REASON"];
    print(&table(heading, all.dead.into_iter().map(row)))
}

fn row(of: DeadInfo) -> [String; 7] {
    let stage = if of.why.stage.is_empty() { "plugin".to_owned() } else { of.why.stage };
    [of.id, time(of.time_us), stage, of.why.plugin, of.topic, of.payload_bytes.to_string(), of.why.reason]
}

fn path(id: &str) -> String {
    format!("/v1/dead/{}", encoded(id))
}

async fn show(args: &Show) -> anyhow::Result<()> {
    let letter: DeadLetter = desk::server(&args.place)?.get(&path(&args.id)).await?;
    print(&serde_json::to_string_pretty(&letter)?)
}

async fn purge(args: &Purge) -> anyhow::Result<()> {
    let server = desk::server(&args.place)?;
    if args.all {
        let answer = server.delete("/v1/dead").await?;
        let deleted = answer.get("deleted").and_then(serde_json::Value::as_u64).unwrap_or_default();
        return print(&format!("{deleted} dead letters are deleted"));
    }
    for id in &args.ids {
        server.delete(&path(id)).await?;
        print(&format!("the dead letter {id} is deleted"))?;
    }
    Ok(())
}

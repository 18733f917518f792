//! `weir dead`: the dead letters of a running server.

use clap::{Args, Subcommand};

use super::client::encoded;
use super::settings::{Listing, Place};
use super::table::{table, time};
use super::{desk, print};
use crate::admin::{DeadInfo, DeadLetter, DeadList, RequeueRequest, RequeuedInfo};
use crate::telemetry::escape;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show what was set aside, newest first
    List(Listing),
    /// Show one letter with its payload, as JSON
    Show(Show),
    /// Do again what letters stand for; those that succeed are deleted
    ///
    /// A message that a plugin's failure stopped runs through all plugins again, as its publisher; one that a storage
    /// plugin could not store is given to that plugin alone; a post goes into its outbox again. Fails when a letter stays
    /// that was not queued.
    Requeue(Requeue),
    /// Delete letters
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// As `weir dead list` shows it
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["ids", "plugin", "all"])]
pub(super) struct Requeue {
    /// As `weir dead list` shows them
    ids: Vec<String>,
    /// All of this plugin, or of a webhook (`webhook:NAME`)
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Print a line of JSON for each letter
    #[arg(long)]
    json: bool,
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
        Verb::Requeue(args) => requeue(args).await,
        Verb::Purge(args) => purge(args).await,
    }
}

async fn list(args: &Listing) -> anyhow::Result<()> {
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

/// Ids of one request: as many as the server takes.
const IDS: usize = 100;

async fn requeue(args: &Requeue) -> anyhow::Result<()> {
    let server = desk::server(&args.place)?;
    let (plugin, all) = (args.plugin.clone(), args.all);
    let mut requests = if args.ids.is_empty() {
        vec![RequeueRequest { plugin, all, ..RequeueRequest::default() }]
    } else {
        let ids = args.ids.chunks(IDS).map(|ids| Some(ids.to_vec()));
        ids.map(|ids| RequeueRequest { ids, ..RequeueRequest::default() }).collect()
    };
    let (mut done, mut stay) = (0, 0);
    for request in &mut requests {
        loop {
            let answer = server.requeue(request).await?;
            for letter in &answer.requeued {
                print(&if args.json { serde_json::to_string(letter)? } else { told(letter) })?;
                let well = letter.outcome != "not-found" && (letter.gone || letter.outcome == "queued");
                *if well { &mut done } else { &mut stay } += 1;
            }
            request.after = answer.next;
            if request.after.is_none() {
                break;
            }
        }
    }
    if !args.json {
        print(&format!("{done} dead letters are requeued"))?;
    }
    if stay > 0 { Err(anyhow::anyhow!("{stay} dead letters could not be requeued")) } else { Ok(()) }
}

fn told(letter: &RequeuedInfo) -> String {
    let RequeuedInfo { id, outcome, reason, gone } = letter;
    let stays = if *gone { "" } else { " (the letter stays)" };
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("{id} {outcome}{colon}{}{stays}", escape(reason))
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

//! `weir consumer`: who reads the logs of a running server, and how far.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::settings::{Listing, Place};
use super::table::{list, table, time};
use super::{desk, print};
use crate::admin::{PlaceIn, ResetRequest, To};
use crate::message::Places;
use crate::telemetry::escape;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show consumers, groups, storage plugins and webhooks, and where they stand in the logs
    List(Listing),
    /// Move a consumer or group to another place of its logs
    Reset(Reset),
    /// Delete a consumer or group
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// Its id, as `weir consumer list` shows it
    id: String,
    /// `start`, `now`, or behind messages of its logs: LOG:EPOCH:OFFSET[,LOG:EPOCH:OFFSET...]; logs that are not named
    /// stay where they are
    #[arg(long)]
    to: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Its id, as `weir consumer list` shows it
    id: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Deserialize)]
struct Consumers {
    consumers: Vec<Consumer>,
}

/// What is shown of a consumer; a server of another version may say more.
#[derive(Deserialize)]
struct Consumer {
    id: String,
    kind: String,
    owner: Option<String>,
    name: String,
    topics: Vec<String>,
    members: Vec<String>,
    logs: Vec<Log>,
    in_flight: u64,
    redelivered: u64,
    missed: u64,
    idle_since_us: Option<u64>,
}

#[derive(Deserialize)]
struct Log {
    log: String,
    cursor: u64,
    lag: u64,
    held_bytes: u64,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => show(args).await,
        Verb::Reset(args) => reset(args).await,
        Verb::Delete(args) => delete(args).await,
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let answer: serde_json::Value = desk::server(&args.place)?.get("/v1/consumers").await?;
    if args.json {
        return print(&answer.to_string());
    }
    let heading = [
        "ID",
        "KIND",
        "OWNER",
        "NAME",
        "TOPICS",
        "READERS",
        "AT",
        "LAG",
        "IN FLIGHT",
        "REDELIVERED",
        "MISSED",
        "HELD",
        "IDLE SINCE",
    ];
    print(&table(heading, Consumers::deserialize(answer)?.consumers.into_iter().map(row)))
}

fn row(of: Consumer) -> [String; 13] {
    let at: Vec<String> = of.logs.iter().map(|log| format!("{}:{}", log.log, log.cursor)).collect();
    let lag: u64 = of.logs.iter().map(|log| log.lag).sum();
    let held: u64 = of.logs.iter().map(|log| log.held_bytes).sum();
    [
        of.id,
        of.kind,
        of.owner.unwrap_or_else(|| "-".into()),
        of.name,
        list(&of.topics),
        of.members.len().to_string(),
        list(&at),
        lag.to_string(),
        of.in_flight.to_string(),
        of.redelivered.to_string(),
        of.missed.to_string(),
        format!("{held} B"),
        of.idle_since_us.map_or_else(|| "-".into(), time),
    ]
}

async fn reset(args: &Reset) -> anyhow::Result<()> {
    let to = match args.to.as_str() {
        word @ ("start" | "now") => To::Word(word.to_owned()),
        text => match Places::parse(text).filter(|places| !places.0.is_empty()) {
            Some(places) => To::Places(places.0.into_iter().map(place).collect::<BTreeMap<_, _>>()),
            None => bail!(
                "--to {text:?} cannot be read: accepted are start, now and LOG:EPOCH:OFFSET[,LOG:EPOCH:OFFSET...], each log once"
            ),
        },
    };
    desk::server(&args.place)?.reset_consumer(&args.id, &ResetRequest { to }).await?;
    print(&format!("consumer {} goes on from {}", escape(&args.id), escape(&args.to)))
}

fn place((log, (epoch, offset)): (std::sync::Arc<str>, (u64, u64))) -> (String, PlaceIn) {
    (log.to_string(), PlaceIn { epoch, offset })
}

async fn delete(args: &Delete) -> anyhow::Result<()> {
    desk::server(&args.place)?.delete_consumer(&args.id).await?;
    print(&format!("consumer {} is deleted", escape(&args.id)))
}

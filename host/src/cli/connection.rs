//! `weir connection`: who is connected to a running server.

use clap::Subcommand;
use serde::Deserialize;

use super::settings::Listing;
use super::table::{list, table, time};
use super::{desk, print};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the open connections, oldest first
    List(Listing),
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    id: String,
    name: String,
    origin: String,
    gateway: String,
    address: String,
    account: Option<String>,
    opened_us: u64,
    subscriptions: Vec<String>,
    queued: usize,
    queued_bytes: usize,
    delivered: u64,
    lost: u64,
}

pub(super) async fn run(Verb::List(args): &Verb) -> anyhow::Result<()> {
    show(args).await
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let answer: serde_json::Value = desk::server(&args.place)?.get("/v1/connections").await?;
    if args.json {
        return print(&answer.to_string());
    }
    let heading = [
        "ID",
        "NAME",
        "ORIGIN",
        "GATEWAY",
        "ADDRESS",
        "KEY",
        "SINCE",
        "QUEUED",
        "SENT",
        "LOST",
        "SUBSCRIPTIONS",
    ];
    print(&table(heading, Connections::deserialize(answer)?.connections.into_iter().map(row)))
}

fn row(of: Connection) -> [String; 11] {
    let key = of.account.unwrap_or_else(|| "-".into());
    let queued = format!("{} ({} B)", of.queued, of.queued_bytes);
    [
        of.id,
        of.name,
        of.origin,
        of.gateway,
        of.address,
        key,
        time(of.opened_us),
        queued,
        of.delivered.to_string(),
        of.lost.to_string(),
        list(&of.subscriptions),
    ]
}

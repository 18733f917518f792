//! `weir subscription`: what is subscribed to at a running server, and by whom.

use clap::Subcommand;
use serde::Deserialize;

use super::settings::Listing;
use super::table::table;
use super::{desk, print};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the standing subscriptions, by pattern
    List(Listing),
}

#[derive(Deserialize)]
struct Subscriptions {
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct Subscription {
    pattern: String,
    connection: String,
    name: String,
    origin: String,
    gateway: String,
}

pub(super) async fn run(Verb::List(args): &Verb) -> anyhow::Result<()> {
    show(args).await
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let answer: serde_json::Value = desk::server(&args.place)?.get("/v1/subscriptions").await?;
    if args.json {
        return print(&answer.to_string());
    }
    let row = |of: Subscription| [of.pattern, of.name, of.origin, of.gateway, of.connection];
    let all = Subscriptions::deserialize(answer)?.subscriptions;
    print(&table(["PATTERN", "NAME", "ORIGIN", "GATEWAY", "CONNECTION"], all.into_iter().map(row)))
}

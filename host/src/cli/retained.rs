//! `weir retained`: the retained messages of a running server.

use clap::{Args, Subcommand};

use super::client::{AdminClient, encoded};
use super::settings::Place;
use super::table::{table, time};
use super::{desk, print};
use crate::admin::{RetainedInfo, RetainedList};
use crate::telemetry::escape;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show which topics have a retained message
    List(List),
    /// Delete a topic's retained message; nobody is told
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only these topics
    #[arg(default_value = "#")]
    pattern: String,
    /// Print the server's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The topic
    topic: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::List(args) => show(args).await,
        Verb::Delete(args) => delete(args).await,
    }
}

async fn show(args: &List) -> anyhow::Result<()> {
    let list = all(&desk::server(&args.place)?, &args.pattern).await?;
    if args.json {
        return print(&serde_json::to_string(&list)?);
    }
    let heading = ["TOPIC", "BYTES", "FROM", "TIME", "EXPIRES", "LOG", "OFFSET"];
    print(&table(heading, list.retained.into_iter().map(row)))
}

/// Page after page.
async fn all(server: &AdminClient, pattern: &str) -> anyhow::Result<RetainedList> {
    let path = format!("/v1/retained?topic={}", encoded(pattern));
    let mut list: RetainedList = server.get(&path).await?;
    while let Some(after) = list.next.take() {
        let page: RetainedList = server.get(&format!("{path}&after={}", encoded(&after))).await?;
        list.retained.extend(page.retained);
        list.next = page.next;
    }
    Ok(list)
}

fn row(of: RetainedInfo) -> [String; 7] {
    let none = || "-".to_owned();
    [
        of.topic,
        of.bytes.to_string(),
        of.from,
        time(of.time_us),
        of.expires_us.map_or_else(none, time),
        of.log.unwrap_or_else(none),
        of.offset.map_or_else(none, |offset| offset.to_string()),
    ]
}

async fn delete(args: &Delete) -> anyhow::Result<()> {
    desk::server(&args.place)?.delete_retained(&args.topic).await?;
    print(&format!("the retained message of {} is deleted", escape(&args.topic)))
}

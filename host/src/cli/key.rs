//! `weir key`: make, list and revoke API keys, also before the first start.

use clap::{Args, Subcommand};

use super::desk::Keeper;
use super::settings::{Listing, Place};
use super::table::{list, table, time};
use super::{print, say};
use crate::accounts::{KeyInfo, KeyState};
use crate::admin::KeyRequest;
use crate::config::parse_duration;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a key and print it, once
    Create(Create),
    /// Show all keys, without their secrets
    List(Listing),
    /// Take a key back and close its connections
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Who: the name that messages of this key carry
    #[arg(long)]
    name: String,
    /// Whose it is: all of its topics begin with this level [default: main, which bounds nothing]
    #[arg(long)]
    tenant: Option<String>,
    /// What it is
    #[arg(long, value_parser = ["device", "page", "sensor", "service"])]
    origin: String,
    /// Topics that it may publish to; {principal} stands for the name
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    publish: Vec<String>,
    /// Topics that it may subscribe to; {principal} stands for the name
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    subscribe: Vec<String>,
    /// When it ends, from now: 12h, 30d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<String>,
    /// Note that is stamped on its messages
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// As `weir key list` shows it: the part of the key between the two `_`
    id: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn duration(text: &str) -> Result<String, String> {
    let parsed = parse_duration(text).filter(|duration| !duration.is_zero());
    parsed.map(|_| text.to_owned()).ok_or("expected a duration such as 45s, 10m, 12h or 30d".into())
}

pub(super) fn attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or("expected NAME=VALUE".into())
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => show(args).await,
        Verb::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: &Create) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let made = keeper.create(KeyRequest {
        name: args.name.clone(),
        tenant: args.tenant.clone(),
        origin: args.origin.clone(),
        publish: args.publish.clone(),
        subscribe: args.subscribe.clone(),
        attributes: args.attributes.iter().cloned().collect(),
        expires: args.expires.clone(),
    });
    let made = made.await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&made)?);
    }
    // The key alone goes to standard output: KEY=$(weir key create …) works.
    print(&made.key)?;
    say(&format!("This is shown only now. To take it back: weir key revoke {}", made.info.id));
    if args.publish.is_empty() && args.subscribe.is_empty() {
        say("It may neither publish nor subscribe: give --publish and --subscribe.");
    }
    Ok(())
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let keys = keeper.list().await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&keys)?);
    }
    let heading = ["ID", "NAME", "TENANT", "ORIGIN", "STATE", "CREATED", "EXPIRES", "PUBLISH", "SUBSCRIBE"];
    print(&table(heading, keys.into_iter().map(row)))
}

fn row(key: KeyInfo) -> [String; 9] {
    let state = match key.state {
        KeyState::Active => "active",
        KeyState::Expired => "expired",
        KeyState::Revoked => "revoked",
    };
    let expires = key.expires_us.map_or("never".into(), time);
    let (publish, subscribe) = (list(&key.publish), list(&key.subscribe));
    [
        key.id,
        key.name,
        key.tenant,
        key.origin,
        state.into(),
        time(key.created_us),
        expires,
        publish,
        subscribe,
    ]
}

async fn revoke(args: &Revoke) -> anyhow::Result<()> {
    // Whoever pastes the whole key means its id.
    let id = args.id.strip_prefix("weir_").and_then(|rest| rest.split('_').next()).unwrap_or(&args.id);
    let keeper = Keeper::find(&args.place).await?;
    let revoked = keeper.revoke(id).await?;
    keeper.close()?;
    let closed = revoked.connections_closed;
    print(&format!(
        "key {} ({}) is revoked; {closed} connections were closed",
        revoked.info.id, revoked.info.name
    ))
}

//! `weir tenta`: what tenta's clients have on a running server.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::client::encoded;
use super::settings::{Listing, Place};
use super::table::{table, time};
use super::{desk, print};
use crate::admin::{NetworkInfo, NetworkList, PersonInfo, PersonList, TentaImported};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Take over users, networks, sensors and their data
    ///
    /// The file is one JSON object of the original's tables, each a list of its rows: user, network, sensor, permission,
    /// session, configuration, measurement, log. A user has password_hash (Argon2) or password, a session
    /// access_token_hash (SHA-512) or access_token; times are Unix seconds. Accounts and configurations may be imported
    /// twice, and are then as the file says; measurements and logs are published, and are then there twice. The error
    /// says in which line or which row the file is wrong; what stands before it is imported.
    Import(Import),
    /// Show the users
    Users(Listing),
    /// Show the networks
    Networks(Listing),
    /// Delete a user, with its access tokens; its networks stay
    DeleteUser(One),
    /// Delete a network with its sensors and their configurations; their data stay with the storage plugin
    DeleteNetwork(One),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// At most 64 MiB
    file: PathBuf,
    /// Times count from the last full hour, as in the original's test data
    #[arg(long, conflicts_with = "offset")]
    relative: bool,
    /// Seconds to add to every time
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, allow_negative_numbers = true)]
    offset: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// Name of the user, identifier of the network
    name: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Import(args) => import(args).await,
        Verb::Users(args) => users(args).await,
        Verb::Networks(args) => networks(args).await,
        Verb::DeleteUser(args) => {
            let path = format!("/v1/tenta/users/{}", encoded(&args.name));
            desk::server(&args.place)?.delete(&path).await?;
            print(&format!("user {} is deleted", args.name))
        }
        Verb::DeleteNetwork(args) => {
            let path = format!("/v1/tenta/networks/{}", encoded(&args.name));
            desk::server(&args.place)?.delete(&path).await?;
            print(&format!("network {} is deleted", args.name))
        }
    }
}

async fn import(args: &Import) -> anyhow::Result<()> {
    let file = args.file.display();
    let text = std::fs::read(&args.file).with_context(|| format!("cannot read {file}"))?;
    let offset = if args.relative { full_hour()? } else { args.offset };
    let path = format!("/v1/tenta/import?offset={offset}");
    let done: TentaImported = desk::server(&args.place)?
        .upload(&path, axum::body::Body::from(text))
        .await
        .with_context(|| file.to_string())?;
    if args.json {
        return print(&serde_json::to_string(&done)?);
    }
    let TentaImported { users, tokens, networks, permissions, sensors, .. } = done;
    let TentaImported { configurations, acknowledgments, measurements, logs, note, .. } = done;
    print(&format!(
        "{users} users, {tokens} tokens, {networks} networks, {permissions} permissions, {sensors} sensors, \
         {configurations} configurations, {acknowledgments} acknowledgments, {measurements} measurements and \
         {logs} logs are imported"
    ))?;
    note.map_or(Ok(()), |note| print(&format!("not all data are stored: {note}")))
}

/// The last full hour, in Unix seconds.
fn full_hour() -> anyhow::Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    Ok((now / 3_600 * 3_600) as f64)
}

async fn users(args: &Listing) -> anyhow::Result<()> {
    let list: PersonList = desk::server(&args.place)?.get("/v1/tenta/users").await?;
    if args.json {
        return print(&serde_json::to_string(&list.users)?);
    }
    let row = |user: PersonInfo| [user.name, user.identifier.to_string(), time(user.created_us)];
    print(&table(["NAME", "IDENTIFIER", "CREATED"], list.users.into_iter().map(row)))
}

async fn networks(args: &Listing) -> anyhow::Result<()> {
    let list: NetworkList = desk::server(&args.place)?.get("/v1/tenta/networks").await?;
    if args.json {
        return print(&serde_json::to_string(&list.networks)?);
    }
    let row = |one: NetworkInfo| {
        [one.name, one.identifier.to_string(), one.sensors.to_string(), time(one.created_us)]
    };
    print(&table(["NAME", "IDENTIFIER", "SENSORS", "CREATED"], list.networks.into_iter().map(row)))
}

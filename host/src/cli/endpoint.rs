//! `weir endpoint`: make, list and delete endpoints of rooms, also before the first start.

use clap::{Args, Subcommand};

use super::client::{AdminError, encoded};
use super::desk::Keeper;
use super::settings::Place;
use super::table::{table, time};
use super::{print, say};
use crate::accounts::{Accounts, EndpointInfo, RoomName};
use crate::admin::{Deed, EndpointList, EndpointRequest, remove_endpoint};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an endpoint of a room and print its code
    Create(Create),
    /// Show all endpoints, with their codes
    List(List),
    /// Delete an endpoint and close its connections
    Delete(Delete),
}

#[derive(Args)]
pub(super) struct Create {
    /// The user that owns the room
    owner: String,
    /// The room's name
    room: String,
    /// What whoever has the code may do
    #[arg(value_parser = ["read", "write", "readwrite", "read_and_write"])]
    permissions: String,
    /// Stands on every message
    #[arg(long, default_value = "Anonymous")]
    identity: String,
    /// A code that clients have already [default: 100 random letters and digits]
    #[arg(long)]
    code: Option<String>,
    /// The owner's tenant
    #[arg(long, default_value = "main")]
    tenant: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this user's rooms
    #[arg(long)]
    owner: Option<String>,
    /// Only those of rooms of this name
    #[arg(long)]
    room: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct Delete {
    /// Its id, as `weir endpoint list` shows it
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl std::fmt::Debug for Create {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Create").field("room", &self.room).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Delete {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Delete").finish_non_exhaustive()
    }
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => show(args).await,
        Verb::Delete(args) => delete(args).await,
    }
}

async fn create(args: &Create) -> anyhow::Result<()> {
    let request = EndpointRequest {
        tenant: args.tenant.clone(),
        owner: args.owner.clone(),
        room: args.room.clone(),
        permissions: args.permissions.clone(),
        identity: args.identity.clone(),
        code: args.code.clone(),
    };
    let keeper = Keeper::find(&args.place).await?;
    let to = ("POST", "/v1/endpoints");
    let made = keeper.account(to, &request, |accounts| request.clone().apply(accounts)).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&made)?);
    }
    // The code alone goes to standard output: CODE=$(weir endpoint create …) works.
    print(&made.code)?;
    say(&format!("Whoever has this code may connect. To take it back: weir endpoint delete {}", made.id));
    Ok(())
}

async fn show(args: &List) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let all = |accounts: &Accounts| {
        Ok(EndpointList { endpoints: accounts.endpoints().iter().map(|one| (**one).clone()).collect() })
    };
    let list = keeper.account(("GET", "/v1/endpoints"), &(), all).await?;
    keeper.close()?;
    let wanted = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let endpoints = list.endpoints.into_iter();
    let endpoints =
        endpoints.filter(|one| wanted(&args.owner, &one.room.owner) && wanted(&args.room, &one.room.room));
    if args.json {
        return print(&serde_json::to_string(&endpoints.collect::<Vec<_>>())?);
    }
    let heading = ["ID", "TENANT", "OWNER", "ROOM", "PERMISSIONS", "IDENTITY", "CREATED", "CODE"];
    print(&table(heading, endpoints.map(row)))
}

fn row(endpoint: EndpointInfo) -> [String; 8] {
    let EndpointInfo { id, code, room, permissions, identity, created_us } = endpoint;
    let RoomName { tenant, owner, room } = room;
    [id, tenant, owner, room, permissions, identity, time(created_us), code]
}

async fn delete(args: &Delete) -> anyhow::Result<()> {
    // What is no id must not become a part of the path, least of all a code.
    if args.id.is_empty() || args.id.len() > 64 || !args.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let reason = "this is no endpoint's id; `weir endpoint list` shows the ids";
        return Err(AdminError::Refused(reason.to_owned()).into());
    }
    let keeper = Keeper::find(&args.place).await?;
    let path = format!("/v1/endpoints/{}", encoded(&args.id));
    let gone = |accounts: &Accounts| Ok(remove_endpoint(accounts, &args.id)?);
    let endpoint = keeper.account(("DELETE", &path), &(), gone).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&endpoint)?);
    }
    print(&format!("endpoint {} of room {} is deleted", endpoint.id, endpoint.room.room))
}

//! `weir room`: make, list and delete rooms, also before the first start.

use clap::{Args, Subcommand};

use super::client::encoded;
use super::desk::Keeper;
use super::print;
use super::settings::{Listing, Place};
use super::table::{table, time};
use crate::accounts::{Accounts, RoomInfo, RoomName};
use crate::admin::{Deed, RoomList, RoomRequest, WebhookRequest};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a room of a user
    Create(Create),
    /// Show all rooms
    List(Listing),
    /// Delete a room with all its endpoints
    Delete(Delete),
    /// Set where a room's messages are posted
    Webhook(Webhook),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The user that owns it
    owner: String,
    /// The room's name
    room: String,
    /// The owner's tenant
    #[arg(long, default_value = "main")]
    tenant: String,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    which: Which,
    /// URL that its messages are posted to [default: none]
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    webhook: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Webhook {
    #[command(flatten)]
    which: Which,
    /// URL that its messages are posted to; none: nowhere any more
    url: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Which {
    fn name(&self) -> RoomName {
        RoomName { tenant: self.tenant.clone(), owner: self.owner.clone(), room: self.room.clone() }
    }

    fn path(&self) -> String {
        let [tenant, owner, room] = [&self.tenant, &self.owner, &self.room].map(|level| encoded(level));
        format!("/v1/rooms/{tenant}/{owner}/{room}")
    }
}

fn answer(json: bool, what: &impl serde::Serialize, text: &str) -> anyhow::Result<()> {
    if json { print(&serde_json::to_string(what)?) } else { print(text) }
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => {
            let RoomName { tenant, owner, room } = args.which.name();
            let text = format!("room {room} of {owner} is there");
            let request = RoomRequest { tenant, owner, room, webhook: args.webhook.clone() };
            let keeper = Keeper::find(&args.place).await?;
            let to = ("POST", "/v1/rooms");
            let made = keeper.account(to, &request, |accounts| request.clone().apply(accounts)).await?;
            keeper.close()?;
            answer(args.json, &made, &text)
        }
        Verb::List(args) => show(args).await,
        Verb::Delete(args) => {
            let keeper = Keeper::find(&args.place).await?;
            let gone = |accounts: &Accounts| Ok((*accounts.delete_room(&args.which.name())?).clone());
            let room = keeper.account(("DELETE", &args.which.path()), &(), gone).await?;
            keeper.close()?;
            answer(args.json, &room, &format!("room {} of {} is deleted", args.which.room, args.which.owner))
        }
        Verb::Webhook(args) => {
            let request = WebhookRequest { webhook: args.url.clone().unwrap_or_default() };
            let path = format!("{}/webhook", args.which.path());
            let keeper = Keeper::find(&args.place).await?;
            let set = |accounts: &Accounts| request.apply(accounts, &args.which.name());
            let room = keeper.account(("PUT", &path), &request, set).await?;
            keeper.close()?;
            let text = match &args.url {
                Some(url) => format!("messages of room {} are posted to {url}", args.which.room),
                None => format!("messages of room {} are posted nowhere", args.which.room),
            };
            answer(args.json, &room, &text)
        }
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let all = |accounts: &Accounts| Ok(RoomList { rooms: accounts.rooms() });
    let list = keeper.account(("GET", "/v1/rooms"), &(), all).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&list.rooms)?);
    }
    let heading = ["TENANT", "OWNER", "ROOM", "ENDPOINTS", "CREATED", "WEBHOOK"];
    print(&table(heading, list.rooms.into_iter().map(row)))
}

fn row(RoomInfo { room, endpoints }: RoomInfo) -> [String; 6] {
    let webhook = if room.webhook.is_empty() { "-".into() } else { room.webhook };
    let RoomName { tenant, owner, room: name } = room.name;
    [tenant, owner, name, endpoints.to_string(), time(room.created_us), webhook]
}

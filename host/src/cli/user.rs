//! `weir user`: make, list and delete users of rooms, also before the first start.

use clap::{Args, Subcommand};

use super::client::encoded;
use super::desk::Keeper;
use super::settings::{Listing, Place};
use super::table::{table, time};
use super::{print, say};
use crate::accounts::{Accounts, KeyKind, UserInfo, UserName};
use crate::admin::{CreatedUser, Deed, KeyChoice, UserList, UserRequest};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a user and print its API key, once
    Create(Keyed),
    /// Show all users, without their keys
    List(Listing),
    /// Delete a user with all its rooms and endpoints
    Delete(Delete),
    /// Give a user another API key and print it, once
    Key(Keyed),
}

#[derive(Debug, Args)]
pub(super) struct Who {
    /// The user's name
    name: String,
    /// Whose it is
    #[arg(long, default_value = "main")]
    tenant: String,
}

#[derive(Args)]
pub(super) struct Keyed {
    #[command(flatten)]
    who: Who,
    /// The key that its clients have already, of 16 letters or more [default: a random one]
    #[arg(long, value_name = "KEY", env = "WEIR_USER_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The key may be shorter: whoever guesses it is this user
    #[arg(long, requires = "key")]
    allow_weak: bool,
    /// Whoever presents no API key is this user
    #[arg(long, conflicts_with = "key")]
    no_key: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    who: Who,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Who {
    fn name(&self) -> UserName {
        UserName { tenant: self.tenant.clone(), name: self.name.clone() }
    }

    fn path(&self) -> String {
        format!("/v1/users/{}/{}", encoded(&self.tenant), encoded(&self.name))
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Keyed").field("who", &self.who).finish_non_exhaustive()
    }
}

impl Keyed {
    fn choice(&self) -> KeyChoice {
        KeyChoice { key: self.key.clone(), weak: self.allow_weak, absent: self.no_key }
    }

    fn say(&self, made: &CreatedUser) -> anyhow::Result<()> {
        if self.json {
            return print(&serde_json::to_string(made)?);
        }
        match made.info.key_kind {
            // The key alone goes to standard output: KEY=$(weir user create …) works.
            KeyKind::Generated => {
                print(&made.key)?;
                say("This is shown only now. Clients send it in the header API-KEY.");
            }
            KeyKind::Chosen => say(&format!("user {} has the key that was given", self.who.name)),
            KeyKind::Absent => {
                say(&format!(
                    "Whoever reaches the listener of rooms and presents no API key is the user {} now: keep it where \
                     only those come whom you trust. Pages of other hosts need their origin under [rooms] origins.",
                    self.who.name
                ));
            }
        }
        Ok(())
    }
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => {
            let Who { name, tenant } = &args.who;
            let KeyChoice { key, weak, absent } = args.choice();
            let (name, tenant) = (name.clone(), tenant.clone());
            let request = UserRequest { name, tenant, key, weak, absent };
            let keeper = Keeper::find(&args.place).await?;
            let to = ("POST", "/v1/users");
            let made = keeper.account(to, &request, |accounts| request.clone().apply(accounts)).await?;
            keeper.close()?;
            args.say(&made)
        }
        Verb::Key(args) => {
            let (choice, path) = (args.choice(), format!("{}/key", args.who.path()));
            let keeper = Keeper::find(&args.place).await?;
            let replace = |accounts: &Accounts| {
                let key = choice.clone().into_key()?;
                let (key, info) = accounts.replace_user_key(&args.who.name(), &key)?;
                Ok(CreatedUser { key, info })
            };
            let made = keeper.account(("POST", &path), &choice, replace).await?;
            keeper.close()?;
            args.say(&made)
        }
        Verb::List(args) => show(args).await,
        Verb::Delete(args) => {
            let keeper = Keeper::find(&args.place).await?;
            let gone = |accounts: &Accounts| Ok(accounts.delete_user(&args.who.name())?);
            let info = keeper.account(("DELETE", &args.who.path()), &(), gone).await?;
            keeper.close()?;
            if args.json {
                return print(&serde_json::to_string(&info)?);
            }
            print(&format!("user {} is deleted, and {} rooms with it", args.who.name, info.rooms))
        }
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let all = |accounts: &Accounts| Ok(UserList { users: accounts.users() });
    let list = keeper.account(("GET", "/v1/users"), &(), all).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&list.users)?);
    }
    print(&table(["TENANT", "NAME", "KEY", "ROOMS", "CREATED"], list.users.into_iter().map(row)))
}

fn row(user: UserInfo) -> [String; 5] {
    let key = match user.key_kind {
        KeyKind::Generated => "generated",
        KeyKind::Chosen => "chosen",
        KeyKind::Absent => "none needed",
    };
    let UserName { tenant, name } = user.name;
    [tenant, name, key.into(), user.rooms.to_string(), time(user.created_us)]
}

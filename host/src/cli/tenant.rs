//! `weir tenant`: make, list and delete tenants, also before the first start.

use clap::{Args, Subcommand};

use super::client::encoded;
use super::desk::Keeper;
use super::print;
use super::settings::{Listing, Place};
use super::table::{table, time};
use crate::accounts::Tenant;
use crate::admin::{Deed, TenantList, TenantRequest};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a tenant
    Create(New),
    /// Show all tenants
    List(Listing),
    /// Delete a tenant that has neither keys that work nor users
    Delete(One),
}

#[derive(Debug, Args)]
pub(super) struct New {
    #[command(flatten)]
    one: One,
    /// Also if a deleted tenant had this name: the new one finds its messages
    #[arg(long)]
    again: bool,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// First level of all its topics: a-z 0-9 -
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(New { one: args, again }) => {
            let request = TenantRequest { name: args.name.clone(), again: *again };
            let keeper = Keeper::find(&args.place).await?;
            let to = ("POST", "/v1/tenants");
            let tenant = keeper.account(to, &request, |accounts| request.clone().apply(accounts)).await?;
            keeper.close()?;
            args.say(&tenant, &format!("tenant {0} is there; its topics begin with {0}/", args.name))
        }
        Verb::List(args) => show(args).await,
        Verb::Delete(args) => {
            let keeper = Keeper::find(&args.place).await?;
            let path = format!("/v1/tenants/{}", encoded(&args.name));
            let gone =
                keeper.account(("DELETE", &path), &(), |accounts| Ok(accounts.delete_tenant(&args.name)?));
            let tenant = gone.await?;
            keeper.close()?;
            args.say(&tenant, &format!("tenant {} is deleted", args.name))
        }
    }
}

impl One {
    fn say(&self, tenant: &Tenant, text: &str) -> anyhow::Result<()> {
        if self.json { print(&serde_json::to_string(tenant)?) } else { print(text) }
    }
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let all = |accounts: &crate::accounts::Accounts| Ok(TenantList { tenants: accounts.tenants() });
    let list = keeper.account(("GET", "/v1/tenants"), &(), all).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&list.tenants)?);
    }
    let created = |us: u64| if us == 0 { "-".into() } else { time(us) };
    print(&table(["NAME", "CREATED"], list.tenants.into_iter().map(|t| [t.name, created(t.created_us)])))
}

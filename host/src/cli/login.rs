//! `weir login`: make, list, change and delete names with passwords, also before the first start.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::client::encoded;
use super::desk::Keeper;
use super::key::{attribute, duration};
use super::settings::{Listing, Place};
use super::table::{list, table, time};
use super::{print, say};
use crate::accounts::{Accounts, LoginInfo};
use crate::admin::{CreatedLogin, Deed, DeletedLogin, LoginList, LoginRequest, PasswordChoice};

/// Far more than a password has.
const MOST_BYTES: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a login; its password is printed once, unless it is given
    Create(Box<Create>),
    /// Show all logins, without their passwords
    List(Listing),
    /// Give a login another password, and close its connections
    Passwd(Passwd),
    /// Delete a login and close its connections
    Delete(Delete),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What clients give as their user name, and what messages carry
    name: String,
    /// Whose it is: all of its topics begin with this level [default: main, which bounds nothing]
    #[arg(long)]
    tenant: Option<String>,
    /// What it is
    #[arg(long, value_parser = ["device", "page", "sensor", "service"], default_value = "sensor")]
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
    #[command(flatten)]
    password: Password,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Passwd {
    /// The login
    name: String,
    #[command(flatten)]
    password: Password,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The login
    name: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Where the password is. Never an argument: those are seen by everybody on the machine.
#[derive(Debug, Args)]
pub(super) struct Password {
    /// The file whose only line is the password [default: a random one]
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// It may be shorter than 8 bytes: whoever guesses it is in
    #[arg(long)]
    allow_weak: bool,
}

impl Password {
    fn choice(&self) -> anyhow::Result<PasswordChoice> {
        let read: Box<dyn Read> = match &self.password_file {
            Some(file) => Box::new(std::fs::File::open(file).with_context(|| file.display().to_string())?),
            None if self.password_stdin => Box::new(std::io::stdin().lock()),
            None => return Ok(PasswordChoice { password: None, weak: self.allow_weak }),
        };
        let mut text = String::new();
        read.take(MOST_BYTES).read_to_string(&mut text).context("the password is read")?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let password = line.strip_suffix('\r').unwrap_or(line).to_owned();
        Ok(PasswordChoice { password: Some(password), weak: self.allow_weak })
    }
}

pub(super) async fn run(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Create(args) => create(args).await,
        Verb::List(args) => show(args).await,
        Verb::Passwd(args) => {
            let choice = args.password.choice()?;
            let path = format!("/v1/logins/{}/password", encoded(&args.name));
            let keeper = Keeper::find(&args.place).await?;
            let change = |accounts: &Accounts| choice.clone().apply(accounts, &args.name);
            let made = keeper.account(("POST", &path), &choice, change).await?;
            keeper.close()?;
            tell(&made, args.json, "has another password")
        }
        Verb::Delete(args) => {
            let path = format!("/v1/logins/{}", encoded(&args.name));
            let keeper = Keeper::find(&args.place).await?;
            let gone = |accounts: &Accounts| {
                Ok(DeletedLogin { connections_closed: 0, info: accounts.delete_login(&args.name)? })
            };
            let deleted = keeper.account(("DELETE", &path), &(), gone).await?;
            keeper.close()?;
            if args.json {
                return print(&serde_json::to_string(&deleted)?);
            }
            let closed = deleted.connections_closed;
            print(&format!("login {} is deleted; {closed} connections were closed", args.name))
        }
    }
}

async fn create(args: &Create) -> anyhow::Result<()> {
    let PasswordChoice { password, weak } = args.password.choice()?;
    let request = LoginRequest {
        name: args.name.clone(),
        tenant: args.tenant.clone(),
        origin: args.origin.clone(),
        publish: args.publish.clone(),
        subscribe: args.subscribe.clone(),
        attributes: args.attributes.iter().cloned().collect(),
        expires: args.expires.clone(),
        password,
        weak,
    };
    let keeper = Keeper::find(&args.place).await?;
    let to = ("POST", "/v1/logins");
    let made = keeper.account(to, &request, |accounts| request.clone().apply(accounts)).await?;
    keeper.close()?;
    tell(&made, args.json, "is made")?;
    if args.publish.is_empty() && args.subscribe.is_empty() {
        say("It may neither publish nor subscribe: give --publish and --subscribe.");
    }
    Ok(())
}

fn tell(made: &CreatedLogin, json: bool, what: &str) -> anyhow::Result<()> {
    if json {
        return print(&serde_json::to_string(made)?);
    }
    // The password alone goes to standard output: PASSWORD=$(weir login create …) works.
    if let Some(password) = &made.password {
        print(password)?;
        say("This is shown only now.");
    }
    say(&format!("login {} {what}", made.info.name));
    Ok(())
}

async fn show(args: &Listing) -> anyhow::Result<()> {
    let keeper = Keeper::find(&args.place).await?;
    let all = |accounts: &Accounts| Ok(LoginList { logins: accounts.logins() });
    let LoginList { logins } = keeper.account(("GET", "/v1/logins"), &(), all).await?;
    keeper.close()?;
    if args.json {
        return print(&serde_json::to_string(&logins)?);
    }
    let heading = ["NAME", "TENANT", "ORIGIN", "CREATED", "PASSWORD OF", "EXPIRES", "PUBLISH", "SUBSCRIBE"];
    print(&table(heading, logins.into_iter().map(row)))
}

fn row(login: LoginInfo) -> [String; 8] {
    let expires = login.expires_us.map_or("never".into(), time);
    let (publish, subscribe) = (list(&login.publish), list(&login.subscribe));
    let (created, changed) = (time(login.created_us), time(login.changed_us));
    [login.name, login.tenant, login.origin, created, changed, expires, publish, subscribe]
}

//! The command line: one file per verb.
//!
//! `serve` and `dev` run the router; `init` and `check` prepare it; `pub`, `request` and `sub` are clients of its public
//! listener; the others ask the admin listener of a running server. Results go to standard output, everything
//! else to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by a second signal.

mod check;
mod client;
mod compile_plugin;
mod connection;
mod consumer;
mod dead;
mod desk;
mod dev;
mod endpoint;
mod gateways;
mod init;
mod key;
mod link;
mod log;
mod login;
mod plugin;
mod publish;
mod request;
mod retained;
mod room;
mod run;
mod serve;
mod settings;
mod socket;
mod subscribe;
mod subscription;
mod table;
mod tenant;
mod tenta;
mod trace;
mod user;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A programmable event router: messages pass through hot-reloadable WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the router
    Serve(serve::Args),
    /// Run the router in a temporary folder, open to everybody on this machine
    Dev(dev::Args),
    /// Write a commented configuration and its folders
    Init(init::Args),
    /// Say whether the configuration and the plugins are sound
    Check(check::Args),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::Verb),
    /// Make, list, change and delete logins: names with passwords
    #[command(subcommand)]
    Login(login::Verb),
    /// Make, list and delete tenants: each keeps to the topics that begin with its name
    #[command(subcommand)]
    Tenant(tenant::Verb),
    /// Make, list and delete users of rooms, and give them new API keys
    #[command(subcommand)]
    User(user::Verb),
    /// Make, list and delete rooms, and set their webhooks
    #[command(subcommand)]
    Room(room::Verb),
    /// Make, list and delete endpoints of rooms
    #[command(subcommand)]
    Endpoint(endpoint::Verb),
    /// Publish one message
    Pub(publish::Args),
    /// Publish one message and wait for the reply
    Request(request::Args),
    /// Watch messages as they come
    Sub(subscribe::Args),
    /// Show and forget the plugins of a running server
    #[command(subcommand)]
    Plugin(plugin::Verb),
    /// Show, move and delete the durable readers of a running server's logs
    #[command(subcommand)]
    Consumer(consumer::Verb),
    /// Show the logs, and move messages out of them and into them
    #[command(subcommand)]
    Log(log::Verb),
    /// Show and delete the retained messages of a running server
    #[command(subcommand)]
    Retained(retained::Verb),
    /// Show and delete the dead letters of a running server: what plugins, posts and readers could not handle
    #[command(subcommand)]
    Dead(dead::Verb),
    /// Watch messages of a running server on their way: every plugin that they meet, and what becomes of them
    Trace(trace::Args),
    /// Take over accounts and data of a tenta server, and see who there is on a running one
    #[command(subcommand)]
    Tenta(tenta::Verb),
    /// Show the open connections of a running server
    #[command(subcommand)]
    Connection(connection::Verb),
    /// Show the standing subscriptions of a running server
    #[command(subcommand)]
    Subscription(subscription::Verb),
    /// Compile a plugin for the router that started this process
    #[command(hide = true)]
    CompilePlugin(compile_plugin::Args),
}

/// The program: reads the arguments, does what they say, and answers with the exit code.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(code) => code,
        // Whoever read our output has seen enough (`weir sub … | head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("weir: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Serve(args) => serve::run(&args),
        Verb::Dev(args) => dev::run(&args),
        Verb::Init(args) => init::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Key(verb) => operate(key::run(&verb)),
        Verb::Login(verb) => operate(login::run(&verb)),
        Verb::Tenant(verb) => operate(tenant::run(&verb)),
        Verb::User(verb) => operate(user::run(&verb)),
        Verb::Room(verb) => operate(room::run(&verb)),
        Verb::Endpoint(verb) => operate(endpoint::run(&verb)),
        Verb::Pub(args) => publish::run(&args),
        Verb::Request(args) => request::run(&args),
        Verb::Sub(args) => subscribe::run(&args),
        Verb::Plugin(verb) => operate(plugin::run(&verb)),
        Verb::Consumer(verb) => operate(consumer::run(&verb)),
        Verb::Log(verb) => operate(log::run(&verb)),
        Verb::Retained(verb) => operate(retained::run(&verb)),
        Verb::Dead(verb) => operate(dead::run(&verb)),
        Verb::Tenta(verb) => operate(tenta::run(&verb)),
        Verb::Trace(args) => operate(trace::run(&args)),
        Verb::Connection(verb) => operate(connection::run(&verb)),
        Verb::Subscription(verb) => operate(subscription::run(&verb)),
        Verb::CompilePlugin(args) => Ok(compile_plugin::run(&args)),
    }
}

/// One line or more to standard output, at once.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// One line or more to standard error, where nobody may be left to read it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// What operators ask of a server or of its folder.
fn operate(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    client_runtime()?.block_on(work)?;
    Ok(ExitCode::SUCCESS)
}

/// For verbs that talk to a server: one thread is enough.
fn client_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests;

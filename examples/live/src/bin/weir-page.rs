//! `cargo run -p weir-live --bin weir-page -- --url ws://127.0.0.1:8080 --key KEY --device device-1`
//!
//! Shows what devices and sensors say as a live table. With `--device` and `--command` it commands a device:
//! each command in turn, again and again.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::sync::mpsc;
use weir_live::client::{Endpoint, Login};
use weir_live::device::Command;
use weir_live::page::{Look, Page, Screen, TOPICS};
use weir_live::signals;
use weir_live::witness::Witness;

/// Show what devices and sensors say, and command a device.
#[derive(Parser)]
struct Args {
    /// The router: ws://HOST:PORT
    #[arg(long)]
    url: Endpoint,
    /// The key. It must be allowed to subscribe to the topic, and to publish to devices/DEVICE/commands
    #[arg(long, env = "WEIR_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// Who we are: the key's name
    #[arg(long, default_value = "page-1")]
    name: String,
    /// What to show. Where no plugin maps the readings: devices/+/readings
    #[arg(long, default_value = TOPICS)]
    topic: String,
    /// Whom to command
    #[arg(long, requires = "command")]
    device: Option<String>,
    /// What to command, as JSON: '{"interval_ms":50}', '{"blink":true}'
    #[arg(long, requires = "device", value_parser = command)]
    command: Vec<Command>,
    /// Seconds between two commands
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

fn command(text: &str) -> Result<Command> {
    serde_json::from_str(text).context("expected an object with interval_ms, blink or both")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Arc::new(Screen::start(Look::of_stdout(), std::io::stdout()));
    let result = show(args, Arc::clone(&screen)).await;
    screen.finish();
    signals::exit_code(result)
}

/// Tells people above the table.
struct OnScreen(Arc<Screen>);

impl Witness for OnScreen {
    fn note(&self, text: &str) {
        self.0.say(text);
    }
}

async fn show(args: Args, screen: Arc<Screen>) -> Result<()> {
    let stop = signals::stop()?;
    let login = Login { endpoint: args.url, key: args.key, name: args.name, origin: "page" };
    let witness = Arc::new(OnScreen(Arc::clone(&screen)));
    let page = Page::connect(&login, &args.topic, witness).await?;
    let (send, commands) = mpsc::channel(1);
    tokio::spawn(async move {
        let Some(device) = args.device else { return };
        let mut pause = tokio::time::interval(Duration::from_secs(args.every));
        for command in args.command.iter().cycle() {
            pause.tick().await;
            if send.send((device.clone(), *command)).await.is_err() {
                return;
            }
        }
    });
    page.run(commands, screen, stop).await
}

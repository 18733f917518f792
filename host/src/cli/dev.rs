//! `weir dev`: the router in a temporary folder, open to everybody on this machine, to try things out.

use std::fs::DirBuilder;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use super::client::AdminClient;
use super::run::{self, Running};
use super::settings::LogFlags;
use super::{print, say};
use crate::admin::{AdminToken, KeyRequest};
use crate::config::{Admin, Config, LogFormat, Logging, Mqtt};
use crate::telemetry;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Watch this folder instead of a temporary one; if it binds no auth plugin, `open.toml` is added while
    /// `weir dev` runs
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Public listener, on loopback [default: 127.0.0.1:8080, or a free port]
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Admin listener, on loopback [default: 127.0.0.1:8081, or a free port]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Serve MQTT, too, on loopback [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "127.0.0.1:1883")]
    mqtt: Option<SocketAddr>,
    #[command(flatten)]
    log: LogFlags,
}

/// Lets keys be known by their name, and everybody else in too.
const BINDINGS: [(&str, &str); 2] = [
    (
        "api-key.toml",
        "# Made by `weir dev`: whoever shows a key has that key's name and rights.\n\
         plugin = \"stock:api-key\"\norder = 10\n",
    ),
    (
        "open.toml",
        "# Made by `weir dev`: whoever shows no key is let in all the same.\n\
         plugin = \"stock:open\"\norder = 20\n",
    ),
];

/// How long plugins may take to be compiled.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const READY_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    for address in [args.http, args.admin, args.mqtt].into_iter().flatten() {
        if !address.ip().is_loopback() {
            bail!(
                "`weir dev` lets everybody in, so it listens on loopback only: {address} is not; use `weir serve`"
            );
        }
    }
    let scratch = Scratch::new()?;
    let plugins = args.plugins.clone().unwrap_or_else(|| scratch.folder.join("plugins"));
    let mut bindings = Bindings::default();
    if args.plugins.is_none() {
        make_folder(&plugins)?;
        bindings.write(&plugins)?;
    } else if !plugins.is_dir() {
        bail!("there is no folder {}: make it, or mend the path", plugins.display());
    }
    let logging = Logging {
        level: args.log.level.clone().unwrap_or_else(|| "info".into()),
        format: args.log.format.unwrap_or(LogFormat::Text),
    };
    telemetry::init(&logging)?;
    run::block_on(async {
        let mut config = Config { data: scratch.folder.join("data"), plugins, logging, ..Config::default() };
        config.http.listen = choose(args.http, 8080).await;
        config.admin.listen = choose(args.admin, 8081).await;
        config.mqtt = args.mqtt.map(|listen| Mqtt { listen, ..Mqtt::default() });
        let (data, plugins) = (config.data.clone(), config.plugins.clone());
        let running = run::start(config).await?;
        if let Some(client) = ready(&running, &data).await? {
            let open = bindings.complete(&plugins, &client).await?;
            let key = client.create_key(&everything()).await?.key;
            print(&welcome(&running, &key, [&data, &plugins], open))?;
        }
        running.finish().await
    })
}

/// The usual port, or any free one if it is taken and nobody asked for it.
async fn choose(asked: Option<SocketAddr>, usual: u16) -> SocketAddr {
    let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    match asked {
        Some(address) => address,
        None if TcpListener::bind(loopback(usual)).await.is_ok() => loopback(usual),
        None => loopback(0),
    }
}

/// Waits until the server takes traffic. None: it has ended before.
async fn ready(running: &Running, data: &Path) -> anyhow::Result<Option<AdminClient>> {
    let deadline = tokio::time::Instant::now() + READY_DEADLINE;
    loop {
        if running.has_ended() {
            return Ok(None);
        }
        if let Ok(token) = AdminToken::load(data) {
            let admin = Admin { listen: running.admin, ..Admin::default() };
            let client = AdminClient::new(admin.site(), token);
            if client.is_ready().await {
                return Ok(Some(client));
            }
        }
        if tokio::time::Instant::now() > deadline {
            running.stop();
            bail!("the server was not ready after {READY_DEADLINE:?}: see its log");
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
}

/// A key that may do all.
fn everything() -> KeyRequest {
    KeyRequest {
        name: "dev".into(),
        origin: "service".into(),
        publish: vec!["#".into()],
        subscribe: vec!["#".into()],
        ..KeyRequest::default()
    }
}

fn welcome(running: &Running, key: &str, [data, plugins]: [&Path; 2], open: bool) -> String {
    let (http, admin) = (running.http, running.admin);
    let url = if http.port() == 8080 { String::new() } else { format!(" --url ws://{http}") };
    let (data, plugins) = (data.display(), plugins.display());
    let who = if open { "Everybody on this machine" } else { "Whoever the auth plugins of the folder allow" };
    format!(
        "\
{who} is let in; what is published is forgotten when `weir dev` ends.

  http     http://{http}    (WebSocket: ws://{http}/v1/ws)
  admin    http://{admin}
  data     {data}
  plugins  {plugins}    (drop NAME.wasm and NAME.toml here)
  key      {key}

Try, in other terminals:

  weir sub{url} --key {key} 'hello/#'
  curl -H 'X-API-Key: {key}' -d '{{\"topic\":\"hello/world\",\"data\":{{\"n\":1}}}}' http://{http}/v1/publish
  weir plugin list --data {data}

Ctrl-C ends it."
    )
}

/// A folder of this process alone, removed at the end.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("weir-dev-{}", ulid::Ulid::generate()));
        // Not `recursive`: a folder that is there already may be somebody else's.
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make the temporary folder {}", folder.display()))?;
        Ok(Self { folder })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            say(&format!("weir: cannot remove {}: {error}", self.folder.display()));
        }
    }
}

fn make_folder(plugins: &Path) -> anyhow::Result<()> {
    let made = std::fs::create_dir_all(plugins);
    made.with_context(|| format!("cannot make the plugins folder {}", plugins.display()))
}

/// The binding files that were added; removed at the end.
#[derive(Default)]
struct Bindings(Vec<PathBuf>);

#[derive(serde::Deserialize)]
struct Plugins {
    plugins: Vec<Kind>,
}

#[derive(serde::Deserialize)]
struct Kind {
    kind: String,
}

impl Bindings {
    fn write(&mut self, plugins: &Path) -> anyhow::Result<()> {
        for (name, text) in BINDINGS {
            let path = plugins.join(name);
            let failed = || format!("cannot write {}", path.display());
            let mut file = std::fs::File::create_new(&path).with_context(failed)?;
            self.0.push(path.clone());
            file.write_all(text.as_bytes()).with_context(failed)?;
        }
        Ok(())
    }

    /// Adds them to a folder that has no auth plugin, where nobody could connect. A folder that has one is
    /// left alone: it may be in use elsewhere, and must not be opened, not even if this process is killed.
    /// True: everybody is let in.
    async fn complete(&mut self, plugins: &Path, client: &AdminClient) -> anyhow::Result<bool> {
        if !self.0.is_empty() {
            return Ok(true);
        }
        if has_auth(client).await? {
            return Ok(false);
        }
        self.write(plugins)?;
        let deadline = tokio::time::Instant::now() + READY_DEADLINE;
        while !has_auth(client).await? {
            if tokio::time::Instant::now() > deadline {
                bail!("the server did not take {} up: see its log", plugins.join("open.toml").display());
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
        Ok(true)
    }
}

async fn has_auth(client: &AdminClient) -> anyhow::Result<bool> {
    let list: Plugins = client.get("/v1/plugins").await?;
    // One without a kind could not be read: it may be meant to keep people out.
    Ok(list.plugins.iter().any(|plugin| plugin.kind == "auth" || plugin.kind.is_empty()))
}

impl Drop for Bindings {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

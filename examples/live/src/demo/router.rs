//! The router, as a child process.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::folder::Folder;
use crate::client::{Endpoint, Http};

/// How long a router may take to be ready: it compiles its plugins first, perhaps on a busy small machine.
const START: Duration = Duration::from_secs(120);
/// How often it is asked whether it is.
const POLL: Duration = Duration::from_millis(50);
/// How long it may take to stop; its own limit for what is under way is 10 s.
const STOP: Duration = Duration::from_secs(30);
/// How long its end may take to be seen after its connections broke.
const GONE: Duration = Duration::from_secs(1);
/// How long one of its other commands may take.
const VERB: Duration = Duration::from_secs(30);
/// Lines of its log that are kept, and the longest that one may be.
const LOG_LINES: usize = 40;
const LOG_LINE_BYTES: u64 = 2_000;

/// What a key lets its holder do.
pub(super) struct Scopes<'a> {
    /// Who.
    pub(super) name: &'a str,
    /// `device`, `page` or `sensor`.
    pub(super) origin: &'static str,
    /// Topics that it may publish to.
    pub(super) publish: &'a [&'a str],
    /// Topics that it may subscribe to.
    pub(super) subscribe: &'a [&'a str],
}

/// A running router.
pub(super) struct Router {
    child: Child,
    log: Log,
    /// Where clients connect.
    pub(super) http: Endpoint,
    /// Where the operator asks.
    pub(super) admin: Endpoint,
}

/// The end of the router's log.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<VecDeque<String>>>);

/// What the router writes when it listens.
#[derive(Deserialize)]
struct Addresses {
    http: String,
    admin: String,
}

/// Makes a key, before the router runs.
pub(super) async fn make_key(weir: &Path, folder: &Folder, scopes: &Scopes<'_>) -> Result<String> {
    #[derive(Deserialize)]
    struct Made {
        key: String,
    }
    let mut command = command(weir);
    command.args(["key", "create", "--json", "--name", scopes.name, "--origin", scopes.origin]);
    for (flag, patterns) in [("--publish", scopes.publish), ("--subscribe", scopes.subscribe)] {
        for pattern in patterns {
            command.args([flag, pattern]);
        }
    }
    command.arg("--config").arg(folder.config());
    let what = || format!("making a key for {} with `weir key create`", scopes.name);
    let output = timeout(VERB, command.stdin(Stdio::null()).output())
        .await
        .map_err(|_| anyhow!("no answer within {} s", VERB.as_secs()))
        .and_then(|output| Ok(output?))
        .with_context(what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}; it said: {}", what(), output.status, said.trim());
    }
    let made: Made = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{}: it printed no JSON object with a key", what()))?;
    Ok(made.key)
}

impl Router {
    /// Starts it and waits until it takes traffic.
    pub(super) async fn start(weir: &Path, folder: &Folder) -> Result<Self> {
        let mut command = command(weir);
        command.arg("serve").arg("--config").arg(folder.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", weir.display()))?;
        let log = Log::default();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log.clone().read(stderr));
        }
        let end = Instant::now() + START;
        let waiting = async {
            let (http, admin) = addresses(folder, end).await?;
            ready(&admin, end).await?;
            Ok((http, admin))
        };
        let found = tokio::select! {
            found = waiting => found,
            status = child.wait() => Err(anyhow!("the router ended at once: {}", status?)),
        };
        match found {
            Ok((http, admin)) => Ok(Self { child, log, http, admin }),
            Err(error) => Err(log.tail_behind(error).await),
        }
    }

    /// Returns when the router has ended by itself, which it should not.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(_) => anyhow!("nobody asked it to"),
            Err(error) => anyhow!(error).context("watching the router"),
        }
    }

    /// What went wrong, and whether it is because the router is gone: a client may notice that before we do.
    pub(super) async fn perhaps_ended(&mut self, error: anyhow::Error) -> anyhow::Error {
        match timeout(GONE, self.child.wait()).await {
            Ok(Ok(status)) => anyhow!("the router ended by itself ({status}): {error:#}"),
            _ => error,
        }
    }

    /// Asks it to stop, and waits until it has. Anything but status 0 is an error.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let Some(pid) = pid else { return Err(self.ended().await) };
        kill_process(pid, Signal::TERM).context("sending SIGTERM to the router")?;
        let status: ExitStatus = timeout(STOP, self.child.wait())
            .await
            .map_err(|_| anyhow!("the router did not stop within {} s of SIGTERM", STOP.as_secs()))??;
        if !status.success() {
            bail!("the router was asked to stop and ended with {status}");
        }
        Ok(())
    }

    /// The end of its log.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }
}

impl Log {
    async fn read(self, stderr: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stderr);
        loop {
            let mut line = Vec::new();
            // Over-long lines come in pieces. An error means the same as the end: there is no more.
            match (&mut lines).take(LOG_LINE_BYTES).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let mut kept = self.0.lock();
            if kept.len() == LOG_LINES {
                kept.pop_front();
            }
            kept.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }

    /// An error with the end of the log below it.
    pub(super) async fn tail_behind(&self, error: anyhow::Error) -> anyhow::Error {
        // What the router wrote last may still be in the pipe.
        sleep(POLL).await;
        let lines: Vec<String> = self.0.lock().iter().map(|line| format!("    {line}")).collect();
        if lines.is_empty() {
            return anyhow!("{error:#}\nThe router logged nothing.");
        }
        anyhow!("{error:#}\nThe router's log ended with:\n{}", lines.join("\n"))
    }
}

/// The router's program. It gets none of our environment's settings, so that only the demo's own file counts;
/// and a process group of its own, so that Ctrl-C reaches us alone and the end stays in order.
fn command(weir: &Path) -> Command {
    let mut command = Command::new(weir);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("WEIR_")) {
            command.env_remove(name);
        }
    }
    command.process_group(0).kill_on_drop(true);
    command
}

async fn addresses(folder: &Folder, end: Instant) -> Result<(Endpoint, Endpoint)> {
    let path = folder.data().join("addresses.json");
    loop {
        match std::fs::read(&path) {
            Ok(text) => {
                let found: Addresses = serde_json::from_slice(&text)
                    .with_context(|| format!("{} does not name http and admin", path.display()))?;
                let endpoint = |authority: &str| format!("http://{authority}").parse();
                return Ok((endpoint(&found.http)?, endpoint(&found.admin)?));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        }
        if Instant::now() >= end {
            bail!("the router has not written {} within {} s", path.display(), START.as_secs());
        }
        sleep(POLL).await;
    }
}

async fn ready(admin: &Endpoint, end: Instant) -> Result<()> {
    let mut http = Http::anonymous(admin.clone());
    loop {
        let said = match http.get("/readyz").await {
            Ok(reply) if reply.status.is_success() => return Ok(()),
            Ok(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!("the router was not ready within {} s: {said}", START.as_secs());
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::folder::Unit;

    /// A program that stands for the router. A shell writes it: while a test of another thread starts a
    /// program, a file that is open for writing here is open there too, and cannot be run.
    fn script(folder: &Folder, text: &str) -> std::path::PathBuf {
        let path = folder.data().join("weir");
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#, "sh", text])
            .arg(&path);
        assert!(shell.status().unwrap().success());
        path
    }

    #[tokio::test]
    async fn a_router_that_ends_at_once_is_reported_with_its_log() {
        let folder = Folder::make(Unit::Mebi).unwrap();
        let weir = script(&folder, "echo 'port taken' >&2; exit 3");
        let error = Router::start(&weir, &folder).await.err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.contains("port taken"), "{error}");
    }

    #[tokio::test]
    async fn keys_are_asked_for_with_their_scopes() {
        let folder = Folder::make(Unit::Mebi).unwrap();
        let weir = script(
            &folder,
            r#"[ "$1 $2 $3" = "key create --json" ] && echo "{\"id\":\"1\",\"key\":\"$*\"}""#,
        );
        let scopes = Scopes { name: "d", origin: "device", publish: &["a", "b/+"], subscribe: &["c"] };
        let said = make_key(&weir, &folder, &scopes).await.unwrap();
        let wanted =
            "key create --json --name d --origin device --publish a --publish b/+ --subscribe c --config";
        assert!(said.starts_with(wanted), "{said}");
        let weir = script(&folder, "echo 'no store' >&2; exit 1");
        let error = format!("{:#}", make_key(&weir, &folder, &scopes).await.unwrap_err());
        assert!(error.contains("no store") && error.contains("exit status: 1"), "{error}");
    }

    #[tokio::test]
    async fn the_log_is_bounded() {
        let log = Log::default();
        let text: String = (0..1_000).map(|number| format!("line {number}\n")).collect();
        log.clone().read(text.as_bytes()).await;
        let error = log.tail_behind(anyhow!("it broke")).await.to_string();
        assert!(error.starts_with("it broke\n") && error.ends_with("line 999"), "{error}");
        assert_eq!(error.lines().count(), LOG_LINES + 2);
        let long = Log::default();
        long.clone().read(vec![b'x'; 100_000].as_slice()).await;
        assert!(long.0.lock().iter().all(|line| line.len() <= 2_000));
    }
}

//! Tells systemd how far the router is, as `sd_notify(3)` describes it: a service of `Type=notify` is started once it
//! takes connections, and one with `WatchdogSec=` is restarted when it no longer says that it lives.

use std::env;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Readiness;

/// How often is looked at what the router waits for.
const LOOK: Duration = Duration::from_secs(1);

/// The service manager, if there is one.
struct Manager {
    socket: UnixDatagram,
    /// How often it wants to hear that we live.
    watchdog: Option<Duration>,
}

/// Begins to tell; ends when the answer is dropped. The listeners are bound: who connects now is served.
pub(super) fn start(ready: &Arc<Readiness>, shutdown: &CancellationToken) -> Option<AbortOnDropHandle<()>> {
    let path = env::var_os("NOTIFY_SOCKET")?;
    let manager = match open(&path.to_string_lossy()) {
        Ok(socket) => Manager { socket, watchdog: watchdog() },
        Err(error) => {
            tracing::warn!(%error, "the service manager's NOTIFY_SOCKET cannot be used");
            return None;
        }
    };
    let (ready, shutdown) = (Arc::clone(ready), shutdown.clone());
    Some(AbortOnDropHandle::new(tokio::spawn(async move { manager.tell(&ready, &shutdown).await })))
}

/// A path, or `@NAME` in the abstract name space.
fn open(path: &str) -> io::Result<UnixDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    match path.strip_prefix('@') {
        None => socket.connect(path)?,
        Some(name) => socket.connect_addr(&abstract_address(name)?)?,
    }
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    std::os::unix::net::SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &str) -> io::Result<std::os::unix::net::SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Half of the time after which we would be taken for dead, if that is meant for this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let after = number("WATCHDOG_USEC").filter(|after| *after > 0)?;
    Some((Duration::from_micros(after) / 2).max(Duration::from_millis(1)))
}

impl Manager {
    async fn tell(&self, ready: &Readiness, shutdown: &CancellationToken) {
        self.say("READY=1").await;
        let (mut status, mut stopping) = (String::new(), false);
        let mut look = tokio::time::interval(LOOK);
        let mut alive = tokio::time::interval(self.watchdog.unwrap_or(LOOK));
        loop {
            tokio::select! {
                _ = alive.tick(), if self.watchdog.is_some() => self.say("WATCHDOG=1").await,
                _ = look.tick(), if !stopping => {
                    let now = said(ready);
                    if now != status {
                        self.say(&format!("STATUS={now}")).await;
                        status = now;
                    }
                }
                () = shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    self.say("STOPPING=1\nSTATUS=finishing what is under way").await;
                }
            }
        }
    }

    async fn say(&self, text: &str) {
        if let Err(error) = self.socket.send(text.as_bytes()).await {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// What is in the way of traffic, in one line.
fn said(ready: &Readiness) -> String {
    let reasons = ready.reasons();
    if reasons.is_empty() {
        return "taking traffic".into();
    }
    let reasons: Vec<_> = reasons.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    reasons.join("; ").replace(char::is_control, " ")
}

//! What `serve` and `dev` share: folders, listeners, signals.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Site};
use crate::server::{self, Listeners};

/// What a shell says of a program that SIGINT ended.
const STOPPED: u8 = 130;

/// A server under way.
pub(super) struct Running {
    server: JoinHandle<Result<(), server::ServerError>>,
    shutdown: CancellationToken,
    signals: (Signal, Signal),
    /// Where it listens in truth, also when port 0 was asked for.
    pub(super) http: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Opens the listeners and starts the server.
pub(super) async fn start(mut config: Config) -> anyhow::Result<Running> {
    folders(&config)?;
    for webhook in &config.webhooks {
        webhook.headers().map_err(|error| anyhow!(error))?;
    }
    // Before anything else starts, so that no signal falls between.
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut listeners = Listeners {
        http: listen(config.http.listen, "http", "--http ADDR or [http] listen").await?,
        admin: listen(config.admin.listen, "admin", "--admin ADDR or [admin] listen").await?,
        gateways: BTreeMap::new(),
    };
    let (http, admin) = (listeners.http.local_addr()?, listeners.admin.local_addr()?);
    (config.http.listen, config.admin.listen) = (http, admin);
    for Site { name, key: [table, key], listen: address, .. } in config.gateways() {
        let listener = listen(address, name, &format!("[{table}] {key}")).await?;
        let address = listener.local_addr()?;
        tracing::info!(gateway = name, %address, "listening");
        config.gateway_moved(name, address);
        listeners.gateways.insert(name, listener);
    }
    tracing::info!(%http, %admin, data = %config.data.display(), plugins = %config.plugins.display(), "listening");
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(server::run(config, listeners, shutdown.clone()));
    Ok(Running { server, shutdown, signals, http, admin })
}

impl Running {
    /// Waits for the end: the first signal asks the server to finish what is under way, the second does not
    /// wait for it.
    pub(super) async fn finish(mut self) -> anyhow::Result<ExitCode> {
        loop {
            tokio::select! {
                ended = &mut self.server => {
                    ended.map_err(|_| anyhow!("the server ended unexpectedly: see its log"))??;
                    return Ok(ExitCode::SUCCESS);
                }
                Some(()) = self.signals.0.recv() => {}
                Some(()) = self.signals.1.recv() => {}
            }
            if self.shutdown.is_cancelled() {
                tracing::warn!("stopped by a second signal: what was under way is cut off");
                return Ok(ExitCode::from(STOPPED));
            }
            tracing::info!("stopping: a second signal stops at once");
            self.shutdown.cancel();
        }
    }

    /// Whether the server has ended already: then `finish` says why.
    pub(super) fn has_ended(&self) -> bool {
        self.server.is_finished()
    }

    /// Asks the server to end.
    pub(super) fn stop(&self) {
        self.shutdown.cancel();
    }
}

/// The plugins folder must be there, since without plugins nobody could connect; the data folder is made, for
/// its owner alone.
fn folders(config: &Config) -> anyhow::Result<()> {
    let plugins = &config.plugins;
    match std::fs::read_dir(plugins) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "the plugins folder {} does not exist: `weir init` makes one, --plugins DIR names another",
            plugins.display()
        ),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot read the plugins folder {}", plugins.display()));
        }
    }
    data_folder(&config.data)
}

/// Makes the data folder, for its owner alone.
pub(super) fn data_folder(data: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make the data folder {}", data.display()))
}

/// `setting`: what chooses another address.
pub(super) async fn listen(address: SocketAddr, name: &str, setting: &str) -> anyhow::Result<TcpListener> {
    let advice = |error: std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "cannot listen on {address} ({name}): the address is in use, perhaps by another weir; choose another with {setting}"
        ),
        ErrorKind::AddrNotAvailable => {
            anyhow!("cannot listen on {address} ({name}): this machine has no such address")
        }
        ErrorKind::PermissionDenied => anyhow!(
            "cannot listen on {address} ({name}): not permitted; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        ),
        _ => anyhow!("cannot listen on {address} ({name}): {error}"),
    };
    TcpListener::bind(address).await.map_err(advice)
}

/// Runs a server's future. Threads that are still busy when it returns (only after a second signal) are left
/// behind, since the process is about to end.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_cannot_be_had_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let _taken = TcpListener::bind(taken).await.unwrap();
        for (address, wanted) in [
            (taken, "the address is in use, perhaps by another weir; choose another with --http ADDR"),
            ("192.0.2.1:80".parse().unwrap(), "this machine has no such address"),
        ] {
            let error = listen(address, "http", "--http ADDR").await.unwrap_err().to_string();
            assert!(error.contains(&address.to_string()) && error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn missing_folders_are_named() {
        let outer = tempfile::tempdir().unwrap();
        let config =
            Config { data: outer.path().join("d"), plugins: outer.path().join("p"), ..Config::default() };
        assert!(
            folders(&config).unwrap_err().to_string().contains("/p does not exist: `weir init` makes one")
        );
        assert!(!config.data.exists(), "nothing is made for a server that does not start");
        std::fs::create_dir(&config.plugins).unwrap();
        folders(&config).unwrap();
        assert!(config.data.is_dir());
    }
}

//! The servers, as processes that are pinned to the first core.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clock ticks a second in `/proc` (`getconf CLK_TCK`, the same on every Linux of today).
const TICKS: u64 = 100;

/// A server to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With so many plugins in the chain, and a log behind or none.
    Weir { plugins: usize, logged: bool },
    /// `nats-server` over WebSocket.
    NatsWs,
    /// `mosquitto` over WebSocket.
    MosquittoWs,
    /// tokio-tungstenite and nothing else, in this very program.
    Floor,
}

/// Two filters that keep and two transforms that leave unchanged: the price of the crossing.
const CHAIN: [(&str, &str); 4] =
    [("keep-1", "keep"), ("keep-2", "keep"), ("same-1", "same"), ("same-2", "same")];

impl Kind {
    /// Without the peers.
    pub const OURS: [Self; 3] = [
        Self::Weir { plugins: 0, logged: false },
        Self::Weir { plugins: 4, logged: false },
        Self::Weir { plugins: 4, logged: true },
    ];
    /// With them.
    pub const ALL: [Self; 6] =
        [Self::OURS[0], Self::OURS[1], Self::OURS[2], Self::NatsWs, Self::Floor, Self::MosquittoWs];

    /// As in the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir { plugins: 0, .. } => "weir_bare",
            Self::Weir { logged: false, .. } => "weir",
            Self::Weir { logged: true, .. } => "weir_logged",
            Self::NatsWs => "nats_ws",
            Self::MosquittoWs => "mosquitto_ws",
            Self::Floor => "ws_floor",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Self {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.unwrap_or_else(|| panic!("no server {name}: there are {:?}", Self::ALL.map(Self::name)))
    }
}

/// A server that runs; killed when dropped.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    process: Child,
    _home: TempDir,
}

impl Server {
    /// Starts it and waits until it listens.
    pub async fn start(kind: Kind) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let log = File::create(home.path().join("log")).expect("a log file");
        let mut process = command(kind, home.path(), address)
            .stdout(log.try_clone().expect("its handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", kind.name()));
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().expect("its status");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{} does not listen", kind.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { kind, address, process, _home: home }
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("its status");
        // The second field is a name in parentheses, which may hold anything; utime and stime are 14 and 15.
        let fields: Vec<&str> = stat[stat.rfind(')').expect("a name")..].split(' ').collect();
        let ticks: u64 = fields[12..=13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 1_000 / TICKS)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Threads of this process run on the second core from now on.
pub fn pin_load() {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-a", "-p", "-c", "1", &own]).stdout(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "taskset (util-linux) and two cores are wanted");
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

fn command(kind: Kind, home: &Path, address: SocketAddr) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).current_dir(home);
    let write = |name: &str, text: String| std::fs::write(home.join(name), text).expect("a file");
    let port = address.port();
    match kind {
        Kind::Weir { plugins, logged } => {
            let log = if logged { "" } else { "\n[[log]]\nname = \"default\"\ntopics = [\"logged/#\"]\n" };
            let text = format!("[http]\nlisten = \"{address}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{log}");
            write("weir.toml", text);
            let folder = home.join("plugins");
            std::fs::create_dir(&folder).expect("the plugins folder");
            write("plugins/open.toml", "plugin = \"stock:open\"\n".into());
            for (name, component) in CHAIN.iter().take(plugins) {
                let built = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join(format!("../target/fixtures/{component}.wasm"));
                std::fs::copy(&built, folder.join(format!("{name}.wasm")))
                    .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask plugins`", built.display()));
            }
            pinned.args([env!("CARGO_BIN_EXE_weir"), "serve", "--config", "weir.toml"]);
        }
        Kind::NatsWs => {
            let text = format!(
                "listen: \"127.0.0.1:-1\"\nwebsocket {{\n listen: \"{address}\"\n no_tls: true\n}}\n"
            );
            write("nats.conf", text);
            pinned.args(["nats-server", "-c", "nats.conf"]);
        }
        Kind::MosquittoWs => {
            // Version 2.0.11 ends at once if all of its listeners speak WebSocket.
            let other = free_address().port();
            let text = format!(
                "listener {other} 127.0.0.1\nlistener {port} 127.0.0.1\nsocket_domain ipv4\n\
                 protocol websockets\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n"
            );
            write("mosquitto.conf", text);
            pinned.args(["/usr/sbin/mosquitto", "-c", "mosquitto.conf"]);
        }
        Kind::Floor => {
            let own = std::env::current_exe().expect("this program");
            pinned.arg(own).args(["--serve-floor", &address.to_string()]);
        }
    }
    pinned
}

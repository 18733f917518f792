//! The servers, as processes that are pinned to the first core.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
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
    /// The same over MQTT. With QoS 1 there is a log, and what is acknowledged is on the disk.
    WeirMqtt { plugins: usize, qos: u8 },
    /// `nats-server` over WebSocket.
    NatsWs,
    /// `mosquitto` over WebSocket.
    MosquittoWs,
    /// `mosquitto` over plain TCP. It keeps nothing on the disk, with QoS 1 neither.
    Mosquitto { qos: u8 },
    /// tokio-tungstenite and nothing else, in this very program.
    Floor,
    /// hyper, in this very program: an answer to every request, and nothing else.
    HttpFloor,
}

/// Two filters that keep and two transforms that leave unchanged: the price of the crossing.
const CHAIN: [&str; 4] = ["keep", "keep", "same", "same"];

/// Everybody may publish, and nothing that waits is thrown away.
const MOSQUITTO: &str = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\n";

impl Kind {
    /// With four plugins: what is compared with others.
    pub const WEIR: Self = Self::Weir { plugins: 4, logged: false };
    /// Over WebSocket, without the peers.
    pub const OURS: [Self; 3] =
        [Self::Weir { plugins: 0, logged: false }, Self::WEIR, Self::Weir { plugins: 4, logged: true }];
    /// The peers over WebSocket.
    pub const PEERS: [Self; 3] = [Self::NatsWs, Self::Floor, Self::MosquittoWs];

    /// As in the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weir { plugins: 0, .. } => "weir_bare",
            Self::Weir { logged: false, .. } => "weir",
            Self::Weir { logged: true, .. } => "weir_logged",
            Self::WeirMqtt { plugins: 0, .. } => "weir_mqtt_bare",
            Self::WeirMqtt { qos: 0, .. } => "weir_mqtt",
            Self::WeirMqtt { .. } => "weir_mqtt_qos1",
            Self::NatsWs => "nats_ws",
            Self::MosquittoWs => "mosquitto_ws",
            Self::Mosquitto { qos: 0 } => "mosquitto",
            Self::Mosquitto { .. } => "mosquitto_qos1",
            Self::Floor => "ws_floor",
            Self::HttpFloor => "http_floor",
        }
    }
}

/// A server that runs; killed when dropped.
pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    process: Child,
    _home: Option<TempDir>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub async fn start(kind: Kind) -> Self {
        Self::start_with(kind, "").await
    }

    /// The same; these tables are added to the configuration of weir.
    pub async fn start_with(kind: Kind, tables: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let command = command(kind, home.path(), address, tables);
        let mut server = Self::launch(kind, address, command, home.path()).await;
        server._home = Some(home);
        server
    }

    /// Runs this command, whose output goes to a file of the folder, until it listens at the address.
    pub async fn launch(kind: Kind, address: SocketAddr, mut command: Command, home: &Path) -> Self {
        let log = File::create(home.join("log")).expect("a log file");
        let mut process = command
            .current_dir(home)
            .stdout(log.try_clone().expect("its handle"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", kind.name()));
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = process.try_wait().expect("its status");
            if ended.is_some() || began.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(home.join("log")).unwrap_or_default();
                panic!("{} does not listen: {said}", kind.name());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self { kind, address, process, _home: None }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("a running server");
        let began = Instant::now();
        while self.process.try_wait().expect("its status").is_none() {
            assert!(began.elapsed() < PATIENCE, "{} does not stop", self.kind.name());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Memory of it that is resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Address space that it has taken, in KiB.
    pub fn size_kib(&self) -> u64 {
        self.status("VmSize:")
    }

    fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        line.trim().trim_end_matches(" kB").parse().expect("KiB")
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

/// Where nobody listens on this machine.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

/// Makes the plugins folder: `stock:open` and so many that look at each message and leave it as it is.
pub fn write_plugins(folder: &Path, plugins: usize) {
    std::fs::create_dir(folder).expect("the plugins folder");
    std::fs::write(folder.join("open.toml"), "plugin = \"stock:open\"\n").expect("a file");
    for (number, component) in CHAIN.iter().cycle().take(plugins).enumerate() {
        let built =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/fixtures/{component}.wasm"));
        std::fs::copy(&built, folder.join(format!("{component}-{number}.wasm")))
            .unwrap_or_else(|e| panic!("{}: {e}; run `cargo xtask plugins`", built.display()));
    }
}

fn command(kind: Kind, home: &Path, address: SocketAddr, tables: &str) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]);
    let write = |name: &str, text: String| std::fs::write(home.join(name), text).expect("a file");
    let port = address.port();
    match kind {
        Kind::Weir { plugins, .. } | Kind::WeirMqtt { plugins, .. } => {
            write("weir.toml", format!("{}{tables}", configuration(kind, address)));
            write_plugins(&home.join("plugins"), plugins);
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
            let websocket = format!(
                "listener {other} 127.0.0.1\nlistener {port} 127.0.0.1\nsocket_domain ipv4\nprotocol websockets\n"
            );
            write("mosquitto.conf", websocket + MOSQUITTO);
            pinned.args(["/usr/sbin/mosquitto", "-c", "mosquitto.conf"]);
        }
        Kind::Mosquitto { .. } => {
            write("mosquitto.conf", format!("listener {port} 127.0.0.1\n{MOSQUITTO}"));
            pinned.args(["/usr/sbin/mosquitto", "-c", "mosquitto.conf"]);
        }
        Kind::Floor | Kind::HttpFloor => {
            let own = std::env::current_exe().expect("this program");
            let flag = if kind == Kind::Floor { "--serve-floor" } else { "--serve-http-floor" };
            pinned.arg(own).args([flag, &address.to_string()]);
        }
    }
    pinned
}

/// What clients need of `weir.toml`; with a log, or with one that takes nothing of what is published here.
fn configuration(kind: Kind, address: SocketAddr) -> String {
    let (listeners, logged) = match kind {
        Kind::WeirMqtt { qos, .. } => {
            (format!("[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"{address}\"\n"), qos > 0)
        }
        Kind::Weir { logged, .. } => (format!("[http]\nlisten = \"{address}\"\n"), logged),
        _ => panic!("{} is not weir", kind.name()),
    };
    let log = if logged { "" } else { "[[log]]\nname = \"default\"\ntopics = [\"logged/#\"]\n" };
    format!("{listeners}[admin]\nlisten = \"127.0.0.1:0\"\n{log}")
}

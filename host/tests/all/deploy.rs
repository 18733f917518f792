//! The files of `deploy/`, with the programs that they are for: nginx in front of a router, and what systemd is told.

mod sensors;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, UnixDatagram};
use tokio_rustls::rustls::version::TLS13;
use tokio_tungstenite::WebSocketStream;
use weir::config::{Ganomics, Paikea, Picloud, Rooms};

use crate::harness::secure::{accepting, fixture};
use crate::harness::{Client, Router, Setup, Socket, eventually, free_address, request_over, within};

fn deployed(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program of Debian; also where the path of users does not lead.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// nginx with `deploy/nginx.conf`, on other ports and with other certificates.
struct Nginx {
    process: Process,
    folder: tempfile::TempDir,
    sealed: SocketAddr,
    paikea: SocketAddr,
    plain: SocketAddr,
}

impl Nginx {
    /// `upstreams`: what stands in the file, and what is meant.
    async fn start(upstreams: &[(&str, SocketAddr)]) -> Self {
        let nginx = program("nginx").unwrap_or_else(|| {
            panic!(
                "there is no nginx here: install the Debian package nginx-light, or run `cargo xtask test`"
            )
        });
        let folder = tempfile::tempdir().unwrap();
        let [sealed, paikea, plain] = [free_address(), free_address(), free_address()];
        let mut text = deployed("nginx.conf");
        let mut replace = |from: &str, to: &str| {
            assert!(text.contains(from), "deploy/nginx.conf has no {from:?}");
            text = text.replace(from, to);
        };
        replace("listen 443 ssl", &format!("listen {sealed} ssl"));
        replace("listen 7778 ssl", &format!("listen {paikea} ssl"));
        replace("listen 80;", &format!("listen {plain};"));
        for site in ["weir", "device", "rooms", "picloud"] {
            let kept = format!("/etc/letsencrypt/live/{site}.example");
            replace(&format!("{kept}/fullchain.pem"), fixture("server.pem").to_str().unwrap());
            replace(&format!("{kept}/privkey.pem"), fixture("server.key").to_str().unwrap());
        }
        replace("/srv/ganomics/static/", &format!("{}/static/", folder.path().display()));
        for (from, to) in upstreams {
            replace(&format!("http://{from};"), &format!("http://{to};"));
        }
        std::fs::create_dir(folder.path().join("static")).unwrap();
        std::fs::write(folder.path().join("static/page.txt"), "a page").unwrap();
        std::fs::write(folder.path().join("weir.conf"), text).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), around(folder.path())).unwrap();
        let output = std::fs::File::create(folder.path().join("output")).unwrap();
        let mut command = Command::new(nginx);
        command.arg("-p").arg(folder.path()).arg("-c").arg(folder.path().join("nginx.conf"));
        command.arg("-e").arg(folder.path().join("error.log"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let mut nginx = Self { process: command.spawn().unwrap(), folder, sealed, paikea, plain };
        for address in [sealed, paikea, plain] {
            let process = std::sync::Mutex::new(&mut nginx.process);
            let listens = async || {
                let ended = process.lock().unwrap().try_wait().unwrap();
                let said = || std::fs::read_to_string(nginx.folder.path().join("output")).unwrap_or_default();
                assert!(ended.is_none(), "nginx ended: {}", said());
                TcpStream::connect(address).await.ok()
            };
            eventually("nginx listens", listens).await;
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What Debian's own configuration has around ours, all in one folder and one process.
fn around(folder: &Path) -> String {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folder = folder.display();
    let temporary: String = kinds.map(|kind| format!("{kind}_temp_path {folder}/{kind};\n")).concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}include {folder}/weir.conf;\n}}\n"
    )
}

/// A connection from another address of this machine, so that nginx and its client differ.
async fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn addresses(router: &Router) -> Vec<(String, String)> {
    let answer = router.admin("GET", "/v1/connections", "").await;
    let text = |of: &serde_json::Value| of.as_str().unwrap().to_owned();
    let all = answer.json["connections"].as_array().unwrap();
    let mut all: Vec<_> = all.iter().map(|of| (text(&of["gateway"]), text(&of["address"]))).collect();
    all.sort();
    all
}

/// A router that serves all systems' clients, with nginx in front.
async fn all_systems() -> (Router, Nginx) {
    let setup = Setup::open().config(|config| {
        config.proxy.trusted = vec!["127.0.0.1".parse().unwrap()];
        config.picloud = Some(Picloud { api_key: "k".into(), ..Picloud::default() });
        config.paikea = Some(Paikea::default());
        config.rooms = Some(Rooms::default());
        config.ganomics = Some(Ganomics::default());
    });
    let router = setup.start().await;
    let upstreams = [
        ("127.0.0.1:8080", router.http),
        ("127.0.0.1:9000", router.gateways["picloud"]),
        ("127.0.0.1:7770", router.gateways["paikea-page"]),
        ("127.0.0.1:8018", router.gateways["ganomics"]),
        ("127.0.0.1:8002", router.gateways["rooms"]),
    ];
    let nginx = Nginx::start(&upstreams).await;
    (router, nginx)
}

/// A WebSocket over a stream that stands.
async fn socket<S: AsyncRead + AsyncWrite + Unpin>(stream: S, url: &str) -> WebSocketStream<S> {
    within("the handshake", tokio_tungstenite::client_async(url, stream)).await.unwrap().0
}

async fn text<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> String {
    within("a text", socket.next()).await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// What a client might write to be taken for another one.
const SPOOFED: [(&str, &str); 2] = [("x-forwarded-for", "203.0.113.66"), ("forwarded", "for=203.0.113.66")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_through_nginx_with_their_own_addresses() {
    let (router, nginx) = all_systems().await;
    let sealed = async |to| accepting(from("127.0.0.2", to).await, &[&TLS13], &[]).await.unwrap();
    let stream = Box::new(sealed(nginx.sealed).await);
    let mut reader =
        Client::over(stream, "ws://weir.example/v1/ws?client_id=reader", &SPOOFED).await.unwrap();
    reader.subscribe("#").await;
    let headers = [("host", "weir.example"), SPOOFED[0]];
    let body = json!({"topic": "t", "data": "x".repeat(100_000)}).to_string();
    let stream = sealed(nginx.sealed).await;
    let answer = request_over(stream, "POST", "/v1/publish?client_id=a", &headers, body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(reader.message().await["data"].as_str().unwrap().len(), 100_000);

    let mut page = socket(sealed(nginx.paikea).await, "ws://device.example/iam").await;
    let mut device = Socket::open(router.gateways["paikea-device"], "/iam", &[]).await;
    device.say("up").await;
    assert_eq!(text(&mut page).await, "up");
    let mut chat = socket(sealed(nginx.sealed).await, "ws://rooms.example/ws/chat/a/").await;
    chat.send(r#"{"message": "hello"}"#.into()).await.unwrap();
    assert_eq!(text(&mut chat).await, r#"{"message": "hello"}"#);
    let mut tablet = socket(from("127.0.0.2", nginx.plain).await, "ws://money.example/ws/").await;
    tablet.send(r#"{"demand": "ping", "deviceId": "t"}"#.into()).await.unwrap();
    assert_eq!(text(&mut tablet).await, "pong");
    let own = |gateway: &str| (gateway.to_owned(), "127.0.0.2".to_owned());
    let direct = ("paikea".to_owned(), "127.0.0.1".to_owned());
    assert_eq!(addresses(&router).await, [own("ganomics"), own("http"), direct, own("paikea"), own("rooms")]);
    // What is said there comes to the native reader, too.
    for topic in ["paikea/%2Fiam/up", "chat/a"] {
        assert_eq!(reader.message().await["topic"], topic);
    }

    let key = [("host", "picloud.example"), ("x-api-key", "k"), ("x-api-client-name", "pi")];
    let body = json!({"event": "e", "data": "howdy"}).to_string();
    let answer = request_over(sealed(nginx.sealed).await, "POST", "/publish", &key, body).await.unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(reader.message().await["topic"], "events/e");
    drop((reader, page, device, chat, tablet));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_each_site_as_its_system_wants_it() {
    let (router, nginx) = all_systems().await;
    let get = async |method: &str, host: &str, path: &str| {
        let stream = TcpStream::connect(nginx.plain).await.unwrap();
        request_over(stream, method, path, &[("host", host)], "").await.unwrap()
    };
    assert_eq!(get("GET", "money.example", "/static/page.txt").await.text, "a page");
    assert_eq!(get("GET", "money.example", "/else").await.status, 404, "weir's own answer");
    assert_eq!(get("GET", "money.example", "/ws/").await.status, 426, "weir's own answer");
    for safe in ["weir.example", "rooms.example", "picloud.example"] {
        assert_eq!(get("GET", safe, "/x").await.status, 301);
    }
    let rooms = async |method: &str, path: &str| {
        let stream = TcpStream::connect(nginx.sealed).await.unwrap();
        let stream = accepting(stream, &[&TLS13], &[]).await.unwrap();
        request_over(stream, method, path, &[("host", "rooms.example")], "").await.unwrap()
    };
    assert_eq!(rooms("OPTIONS", "/ws/chat/a/").await.status, 204);
    let page = rooms("GET", "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    router.stop().await;
}

/// The settings of a unit, in order.
fn settings(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn the_unit_is_sound_and_asks_for_what_the_router_does() {
    let text = deployed("weir.service");
    let all = settings(&text);
    let value = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    assert_eq!(value("Type"), Some("notify"));
    assert!(value("WatchdogSec").is_some() && value("NotifyAccess") == Some("main"));
    assert_eq!(value("ExecReload"), Some("/bin/kill -HUP $MAINPID"));
    for hardened in ["NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome"] {
        assert_eq!(value(hardened), Some("yes"), "{hardened}");
    }
    assert_eq!(value("ProtectSystem"), Some("strict"));
    // Machine code of plugins is made in memory.
    assert_eq!(value("MemoryDenyWriteExecute"), None);
    let open: usize = value("LimitNOFILE").unwrap().parse().unwrap();
    assert!(open > 2 * weir::config::Limits::default().connections);
    let start = value("ExecStart").unwrap();
    let (weir, arguments) = start.split_once(' ').unwrap();
    let words: Vec<_> = arguments.split(' ').chain(["--help"]).collect();
    let known = crate::harness::weir().args(words).output().unwrap();
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));

    // Systemd's own opinion, where there is a systemd.
    let Some(analyze) = program("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("weir.service");
    std::fs::write(&unit, text.replace(weir, env!("CARGO_BIN_EXE_weir"))).unwrap();
    let verified = Command::new(analyze).args(["verify", "--man=no"]).arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("weir.service"), "{said}");
}

/// What the service manager is told next.
async fn told(manager: &UnixDatagram) -> String {
    let mut space = [0; 4096];
    let length = within("word from the router", manager.recv(&mut space)).await.unwrap();
    String::from_utf8(space[..length].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_told_of_the_start_of_life_and_of_the_end() {
    let setup = Setup::open();
    let path = setup.folders.root().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let environment = [("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", OsStr::new("200000"))];
    let mut router = setup.spawn_in(&environment).await;
    assert_eq!(told(&manager).await, "READY=1");
    let mut seen = Vec::new();
    while seen.iter().filter(|said| *said == "WATCHDOG=1").count() < 3
        || !seen.contains(&"STATUS=taking traffic".to_owned())
    {
        seen.push(told(&manager).await);
    }
    assert!(!seen.iter().any(|said| said.contains("STOPPING")), "{seen:?}");
    router.terminate();
    while !told(&manager).await.starts_with("STOPPING=1\n") {}
    assert!(router.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_the_watchdog_of_another_process_or_has_no_manager_runs_all_the_same() {
    let setup = Setup::open();
    let nowhere = setup.folders.root().join("nobody");
    let mut router = setup.spawn_in(&[("NOTIFY_SOCKET", nowhere.as_os_str())]).await;
    router.terminate();
    assert!(router.ended().await.success());
    assert!(router.log().contains("NOTIFY_SOCKET cannot be used"), "{}", router.log());

    let name = format!("weir-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes());
    let manager = std::os::unix::net::UnixDatagram::bind_addr(&address.unwrap()).unwrap();
    manager.set_nonblocking(true).unwrap();
    let manager = UnixDatagram::from_std(manager).unwrap();
    let socket = format!("@{name}");
    let environment = [
        ("NOTIFY_SOCKET", OsStr::new(&socket)),
        ("WATCHDOG_USEC", OsStr::new("1000")),
        ("WATCHDOG_PID", OsStr::new("1")),
    ];
    let mut router = setup.spawn_in(&environment).await;
    router.terminate();
    let mut all = vec![told(&manager).await];
    while !all.last().unwrap().starts_with("STOPPING=1\n") {
        all.push(told(&manager).await);
    }
    assert!(all[0] == "READY=1" && !all.contains(&"WATCHDOG=1".to_owned()), "{all:?}");
    assert!(router.ended().await.success());
}

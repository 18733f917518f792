//! The real server on real sockets, in this process or in one of its own, and clients that wait for what
//! they expect instead of sleeping.

mod child;
mod client;
mod events;
pub mod garble;
pub mod hostile;
pub mod http;
pub mod mqtt;
pub mod secure;
mod socket;

pub use child::{Child, weir};
pub use client::{Client, payload};
pub use events::{Events, parse_event};
pub use http::{Answer, request, request_over};
pub use socket::{Heard, Socket};

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir::config::Config;
use weir::server::{Listeners, ServerError};

/// Nothing that is expected takes so long, however busy the machine: after it, a test fails.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that cannot be awaited.
pub const LOOK: Duration = Duration::from_millis(10);

/// Lets everybody in: the client's name is its `client_id`.
pub const OPEN: &str = "plugin = \"stock:open\"\n";
/// Wants API keys.
pub const API_KEY: &str = "plugin = \"stock:api-key\"\n";

/// A server to be: its folders, its plugins, its settings.
pub struct Setup {
    pub folders: Arc<Folders>,
    pub config: Config,
}

/// A server's data and plugins, gone with it.
pub struct Folders {
    root: tempfile::TempDir,
}

/// A server in this process.
pub struct Router {
    pub folders: Arc<Folders>,
    pub reach: Reach,
    shutdown: CancellationToken,
    server: Option<JoinHandle<Result<(), ServerError>>>,
}

/// Where a server listens, and the operator's token.
#[derive(Clone, Debug)]
pub struct Reach {
    pub http: SocketAddr,
    pub admin: SocketAddr,
    /// By the names of `Config::gateways`.
    pub gateways: BTreeMap<String, SocketAddr>,
    pub token: String,
}

impl Setup {
    /// No plugins: nobody gets in.
    pub fn new() -> Self {
        if std::env::var_os("WEIR_TEST_LOG").is_some() {
            static LOG: OnceLock<()> = OnceLock::new();
            LOG.get_or_init(|| drop(weir::telemetry::init(&weir::config::Logging::default())));
        }
        Self::over(&Arc::new(Folders::new()))
    }

    /// Over the folders of a server that has ended.
    pub fn over(folders: &Arc<Folders>) -> Self {
        let mut config =
            Config { data: folders.data(), plugins: folders.plugins(), shards: 2, ..Config::default() };
        config.compiler = Some(env!("CARGO_BIN_EXE_weir").into());
        // A busy machine may stop a guest for longer than the defaults forgive; the loops of the tests end all
        // the same.
        config.plugin.deadline = Duration::from_secs(1);
        config.plugin.pass_deadline = Duration::from_secs(4);
        config.plugin.store_deadline = Duration::from_secs(10);
        Self { folders: Arc::clone(folders), config }
    }

    /// Everybody gets in.
    pub fn open() -> Self {
        Self::new().binding("open", OPEN)
    }

    /// Whoever shows a key gets in.
    pub fn keyed() -> Self {
        Self::new().binding("api-key", API_KEY)
    }

    /// Puts `NAME.toml` into the plugins folder.
    pub fn binding(self, name: &str, text: &str) -> Self {
        self.folders.write(&format!("{name}.toml"), text);
        self
    }

    /// Puts a test guest as `NAME.wasm` into the plugins folder, under its own name.
    pub fn guest(self, guest: &str) -> Self {
        self.guest_as(guest, guest)
    }

    /// The same under another name.
    pub fn guest_as(self, guest: &str, name: &str) -> Self {
        self.folders.replace(&format!("{name}.wasm"), &wasm(guest));
        self
    }

    /// Changes settings.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts it and waits until it takes traffic.
    pub async fn start(self) -> Router {
        let Self { folders, mut config } = self;
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.expect("a free port") };
        let mut listeners =
            Listeners { http: listen().await, admin: listen().await, gateways: BTreeMap::new() };
        config.http.listen = listeners.http.local_addr().expect("its address");
        config.admin.listen = listeners.admin.local_addr().expect("its address");
        let (http, admin) = (config.http.listen, config.admin.listen);
        let mut gateways = BTreeMap::new();
        for site in config.gateways() {
            let listener = listen().await;
            let address = listener.local_addr().expect("its address");
            config.gateway_moved(site.name, address);
            gateways.insert(site.name.to_owned(), address);
            listeners.gateways.insert(site.name, listener);
        }
        let shutdown = CancellationToken::new();
        let mut server = tokio::spawn(weir::server::run(config, listeners, shutdown.clone()));
        let ready = tokio::select! {
            ended = &mut server => panic!("the server ended at once: {ended:?}"),
            ready = Reach::wait(http, admin, gateways, &folders) => ready,
        };
        Router { folders, reach: ready, shutdown, server: Some(server) }
    }
}

impl Folders {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(root.path().join("plugins")).expect("the plugins folder");
        std::fs::create_dir(root.path().join("data")).expect("the data folder");
        // All servers of all tests compile each plugin once.
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let mut private = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut private, 0o700);
        private.recursive(true).create(&compiled).expect("the folder of compiled plugins");
        std::os::unix::fs::symlink(compiled, root.path().join("data/compiled")).expect("a link to it");
        Self { root }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins")
    }

    /// Writes a file of the plugins folder in place.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.plugins().join(name), text).expect("write into the plugins folder");
    }

    /// Puts a file into the plugins folder in one step, as a deployer with `mv` does.
    pub fn replace(&self, name: &str, bytes: &[u8]) {
        let draft = self.plugins().join(format!(".{name}.draft"));
        std::fs::write(&draft, bytes).expect("write into the plugins folder");
        std::fs::rename(draft, self.plugins().join(name)).expect("rename within the plugins folder");
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.plugins().join(name)).expect("remove from the plugins folder");
    }
}

/// A component that `cargo xtask plugins` has built of `host/tests/fixtures/guests`.
pub fn wasm(guest: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fixtures");
    let path = folder.join(format!("{guest}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask plugins` first", path.display()))
}

/// The version that the router shows of a component.
pub fn version(guest: &str) -> String {
    weir::plugin::component::version(&weir::plugin::component::digest(&wasm(guest)))
}

impl Router {
    /// Stops it and waits until it has.
    pub async fn stop(mut self) -> Arc<Folders> {
        self.shutdown.cancel();
        let server = self.server.take().expect("it is stopped once");
        let ended = within("the server's end", server).await;
        ended.expect("the server did not panic").expect("the server ended well");
        Arc::clone(&self.folders)
    }

    /// Asks it to stop, without waiting.
    pub fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// A connection of the client of this name, where everybody gets in.
    pub async fn client(&self, name: &str) -> Client {
        self.reach.client(name).await
    }

    /// A connection with an API key.
    pub async fn keyed(&self, key: &str) -> Client {
        self.reach.keyed(key).await
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl std::ops::Deref for Router {
    type Target = Reach;

    fn deref(&self) -> &Reach {
        &self.reach
    }
}

impl Reach {
    /// Waits until the server at these addresses is ready.
    async fn wait(
        http: SocketAddr,
        admin: SocketAddr,
        gateways: BTreeMap<String, SocketAddr>,
        folders: &Folders,
    ) -> Self {
        let ready = async || {
            let answer = http::try_request(admin, "GET", "/readyz", &[], "").await.ok()?;
            (answer.status == 200).then_some(())
        };
        eventually("the server is ready", ready).await;
        let token = std::fs::read_to_string(folders.data().join("admin.token")).expect("the admin token");
        Self { http, admin, gateways, token: token.trim().to_owned() }
    }

    pub async fn client(&self, name: &str) -> Client {
        Client::connect(self.http, &format!("?client_id={name}"), &[]).await
    }

    pub async fn keyed(&self, key: &str) -> Client {
        Client::connect(self.http, "", &[("x-api-key", key)]).await
    }

    /// A request to the public listener.
    pub async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        request(self.http, method, path, headers, body.to_owned()).await
    }

    /// A request to the operator's listener.
    pub async fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        request(self.admin, method, path, &[("authorization", &bearer)], body.to_owned()).await
    }

    /// Makes a key; returns it and its id. `expires` as `"1s"`, or empty.
    pub async fn key(
        &self,
        name: &str,
        publish: &[&str],
        subscribe: &[&str],
        expires: &str,
    ) -> (String, String) {
        let mut asked =
            json!({"name": name, "origin": "service", "publish": publish, "subscribe": subscribe});
        if !expires.is_empty() {
            asked["expires"] = json!(expires);
        }
        let answer = self.admin("POST", "/v1/keys", &asked.to_string()).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |field: &str| answer.json[field].as_str().expect("a text").to_owned();
        (text("key"), text("id"))
    }

    /// What `weir plugin list` shows of a binding; null if it is not listed.
    pub async fn plugin(&self, name: &str) -> Value {
        let answer = self.admin("GET", "/v1/plugins", "").await;
        let all = answer.json["plugins"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|plugin| plugin["name"] == name).unwrap_or_default()
    }

    /// Waits until the list shows the binding as wanted.
    pub async fn until_plugin(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("plugin {name} becomes as wanted");
        eventually(&what, async || Some(self.plugin(name).await).filter(&wanted)).await
    }

    /// Waits until this test guest is what the binding runs.
    pub async fn until_live(&self, name: &str, guest: &str) {
        let version = version(guest);
        self.until_plugin(name, |plugin| plugin["state"] == "active" && plugin["version"] == *version).await;
    }

    /// Calls of a binding that ended so.
    pub async fn calls(&self, plugin: &str, end: &str) -> u64 {
        let text = self.admin("GET", "/metrics", "").await.text;
        let (plugin, end) = (format!("plugin=\"{plugin}\""), format!("end=\"{end}\""));
        let is_it =
            |line: &&str| line.contains("plugin_calls") && line.contains(&plugin) && line.contains(&end);
        text.lines().find(is_it).map_or(0, |line| {
            line.rsplit_once(' ').and_then(|(_, count)| count.parse().ok()).expect("a count")
        })
    }

    /// The sum of all samples of a counter.
    pub async fn metric(&self, name: &str) -> f64 {
        self.sample(name, &[]).await
    }

    /// The sum of the samples that have these labels.
    pub async fn sample(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin("GET", "/metrics", "").await.text;
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let samples = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)));
        samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

/// Awaits with patience.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
    }
}

/// Looks until there is something: for what cannot be awaited.
pub async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// An address for who cannot take port 0. Below the ports that the system gives to connections, or one of them might
/// hold it while nobody listens.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..10_000 {
        let own = u16::try_from(std::process::id() % 10_000).expect("less than 10,000");
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port from 20,000 to 29,999 is free");
}

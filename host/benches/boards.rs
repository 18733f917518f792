//! A small board: ten plugins (`--size N` for so many) on four shards, with and without a limit of 4 GiB on the
//! address space. `cargo xtask bench boards`. Start to ready (with code that is compiled already: the median of five
//! starts), deliveries per second of the processor to ten subscribers, and what is resident.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use peers::flow::Outcome;
use peers::server::{self, Kind, Server};
use peers::{Figures, Wanted, rounded};

const ADDRESS_SPACE: u64 = 4 << 30;
const STARTS: usize = 5;
const SUBSCRIBERS: usize = 10;
/// How long a start may take that has to compile.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    peers::load(run(Wanted::parse(&[Kind::WEIR], &[], 3)));
}

async fn run(wanted: Wanted) {
    let mut figures = Figures::new();
    let mut wrong = 0;
    println!(
        "{:<10} {:>12} {:>10} {:>12} {:>12} {:>8} {:>6}",
        "limit", "compiling ms", "cached ms", "per CPU s", "resident MiB", "size MiB", "wrong"
    );
    let plugins = wanted.sizes(&[10])[0];
    for (name, limit) in [("4 GiB", Some(ADDRESS_SPACE)), ("none", None)] {
        let board = board(plugins, limit, &wanted).await;
        println!(
            "{name:<10} {:>12.0} {:>10.0} {:>12.0} {:>12.0} {:>8.0} {:>6}",
            board.compiling_ms,
            board.cached_ms,
            board.per_cpu_s,
            board.resident_mib,
            board.size_mib,
            board.wrong
        );
        let row = figures.entry(name).or_default();
        row.insert("compiling_ms".into(), board.compiling_ms);
        row.insert("cached_ms".into(), board.cached_ms);
        row.insert("per_cpu_s".into(), board.per_cpu_s);
        row.insert("resident_mib".into(), board.resident_mib);
        wrong += board.wrong;
    }
    println!("{}", json!({"wrong": wrong, "plugins": plugins, "board": rounded(&figures, 0)}));
}

struct Board {
    compiling_ms: f64,
    cached_ms: f64,
    per_cpu_s: f64,
    resident_mib: f64,
    size_mib: f64,
    /// Messages lost, doubled or out of their order.
    wrong: u64,
}

async fn board(plugins: usize, limit: Option<u64>, wanted: &Wanted) -> Board {
    let home = tempfile::tempdir().expect("a temporary folder");
    server::write_plugins(&home.path().join("plugins"), plugins);
    let (server, compiling_ms) = start(home.path(), plugins, limit).await;
    server.stop().await;
    let mut cached = Vec::new();
    for _ in 0..STARTS {
        let (server, ms) = start(home.path(), plugins, limit).await;
        cached.push(ms);
        server.stop().await;
    }
    cached.sort_by(f64::total_cmp);
    let (server, _) = start(home.path(), plugins, limit).await;
    let Outcome { deliveries, cpu, lost, dup, reordered, .. } =
        wanted.flow(1, SUBSCRIBERS).run(&server).await;
    Board {
        compiling_ms,
        cached_ms: cached[STARTS / 2],
        per_cpu_s: deliveries as f64 / cpu.as_secs_f64(),
        resident_mib: server.resident_kib() as f64 / 1_024.0,
        size_mib: server.size_kib() as f64 / 1_024.0,
        wrong: lost + dup + reordered,
    }
}

/// Starts the server, and says how many milliseconds it took until it was ready.
async fn start(home: &Path, plugins: usize, limit: Option<u64>) -> (Server, f64) {
    let (http, admin) = (server::free_address(), server::free_address());
    let text = format!(
        "shards = 4\n[http]\nlisten = \"{http}\"\n[admin]\nlisten = \"{admin}\"\n\
         [[log]]\nname = \"default\"\ntopics = [\"logged/#\"]\n"
    );
    std::fs::write(home.join("weir.toml"), text).expect("a file");
    let mut command = match limit {
        Some(bytes) => {
            let mut limited = Command::new("prlimit");
            limited.args([&format!("--as={bytes}"), "--", "taskset"]);
            limited
        }
        None => Command::new("taskset"),
    };
    command.args(["-c", "0", env!("CARGO_BIN_EXE_weir"), "serve", "--config", "weir.toml"]);
    let began = Instant::now();
    let server = Server::launch(Kind::WEIR, http, command, home).await;
    while !is_ready(admin) {
        assert!(began.elapsed() < PATIENCE, "it is not ready");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let listed = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["plugin", "list", "--json", "--config", "weir.toml"])
        .current_dir(home)
        .output()
        .expect("weir plugin list");
    let live: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let active =
        live["plugins"].as_array().map_or(0, |all| all.iter().filter(|one| one["state"] == "active").count());
    assert_eq!(active, plugins + 1, "all plugins and stock:open run: {live}");
    (server, ms)
}

fn is_ready(admin: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(admin) else { return false };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

//! 10,000 idle WebSocket connections: what each costs the server in resident memory, and what all of them cost it
//! in processor time. `cargo xtask bench connections`, with `--peers` beside nats-server and a bare tokio-tungstenite
//! broadcaster, whose connections have a buffer of 128 KiB when it reads from them (`connected`). Each row once with
//! connections that have only been opened, and once with one subscription on each. `--seconds N` is how long they are
//! idle; they answer pings, and none may end.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use peers::server::{Kind, Server};
use peers::{Figures, Wanted, link, ratio, rounded, wire};

/// Connections that are there before memory is looked at, so that what a server needs but once is not counted.
const BEFORE: usize = 100;
/// Until what was needed to open the connections has been given back.
const SETTLING: Duration = Duration::from_secs(3);
/// Not mosquitto: it takes half an hour to accept so many WebSockets.
const PEERS: [Kind; 2] = [Kind::NatsWs, Kind::Floor];
/// Files of a process beside its connections.
const OTHER_FILES: u64 = 500;

fn main() {
    if !peers::served_as_floor() {
        peers::load(run(Wanted::parse(&[Kind::WEIR], &PEERS, 5)));
    }
}

async fn run(wanted: Wanted) {
    let (mut memory, mut cpu) = (Figures::new(), Figures::new());
    let mut ended = 0;
    println!(
        "{:<14} {:>12} {:>11} {:>8} {:>8} {:>8}",
        "server", "connections", "state", "kB each", "CPU", "ended"
    );
    for connections in wanted.sizes(&[10_000]) {
        allow_files(connections as u64);
        for kind in &wanted.kinds {
            for (state, subscribed) in [("connected", false), ("subscribed", true)] {
                let server = Server::start(*kind).await;
                let idle =
                    LocalSet::new().run_until(idle(&server, connections, subscribed, wanted.seconds)).await;
                println!(
                    "{:<14} {connections:>12} {state:>11} {:>8.1} {:>6.2} % {:>8}",
                    kind.name(),
                    idle.kb_each,
                    idle.cpu_percent,
                    idle.ended
                );
                memory.entry(kind.name()).or_default().insert(state.into(), idle.kb_each);
                cpu.entry(kind.name()).or_default().insert(state.into(), idle.cpu_percent);
                ended += idle.ended;
            }
        }
    }
    let mut line = json!({"ended": ended, "kb_each": rounded(&memory, 1), "cpu_percent": rounded(&cpu, 2)});
    for peer in PEERS {
        if let Some(ratio) = ratio(&memory, Kind::WEIR, peer) {
            line[format!("ratio_{}", peer.name())] = ratio;
        }
    }
    println!("{line}");
}

/// This process and the servers that it starts may open so many connections.
fn allow_files(connections: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = connections + OTHER_FILES;
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap_or_else(|e| {
            panic!("{wanted} open files are wanted, {maximum:?} allowed (ulimit -Hn): {e}")
        });
    }
}

struct Idle {
    kb_each: f64,
    cpu_percent: f64,
    ended: usize,
}

async fn idle(server: &Server, connections: usize, subscribed: bool, seconds: Duration) -> Idle {
    let ended = Rc::new(Cell::new(0));
    let open = async |first: usize, count: usize| {
        let one = async |number: usize| match subscribed {
            true => link::subscribe(server, first + number, first + number).await,
            false => link::publisher(server, first + number).await,
        };
        for stream in link::all(count, one).await {
            tokio::task::spawn_local(attend(stream, Rc::clone(&ended)));
        }
    };
    open(0, BEFORE).await;
    tokio::time::sleep(SETTLING).await;
    let before = server.resident_kib();
    open(BEFORE, connections).await;
    tokio::time::sleep(SETTLING).await;
    let grown = server.resident_kib().saturating_sub(before);
    let (began, cpu) = (Instant::now(), server.cpu());
    tokio::time::sleep(seconds).await;
    let cpu_percent = 100.0 * (server.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    Idle { kb_each: grown as f64 * 1.024 / connections as f64, cpu_percent, ended: ended.get() }
}

/// Answers pings until the server ends the connection.
async fn attend(mut stream: TcpStream, ended: Rc<Cell<usize>>) {
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) if read >= 2 && buffer[0] == 0x89 => {
                let pong = wire::frame(10, &buffer[2..read]);
                stream.write_all(&pong).await.expect("room to send");
            }
            Ok(_) => {}
        }
    }
    ended.set(ended.get() + 1);
}

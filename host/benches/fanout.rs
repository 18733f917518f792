//! One publisher and 1, 10, 100 or 1000 subscribers over WebSocket: `cargo xtask bench fanout`, with `--peers` beside
//! nats-server, mosquitto and a bare tokio-tungstenite broadcaster. The figure is deliveries per second of the
//! server's processor time; server and load have a core each. Every message is checked by every subscriber.
//! `--payload BYTES` for other messages than of 128 bytes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use peers::server::Kind;
use peers::{Table, Wanted};

fn main() {
    if !peers::served_as_floor() {
        peers::load(run(Wanted::parse(&Kind::OURS, &Kind::PEERS, 3)));
    }
}

async fn run(wanted: Wanted) {
    let mut table = Table::start();
    for subscribers in wanted.sizes(&[1, 10, 100, 1_000]) {
        for kind in &wanted.kinds {
            table.run(*kind, &subscribers.to_string(), &wanted.flow(1, subscribers)).await;
        }
    }
    table.print(&Kind::PEERS.map(|peer| (Kind::WEIR, peer)));
}

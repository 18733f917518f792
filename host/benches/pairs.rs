//! 50 and 500 publishers over WebSocket, each with a subscriber of its own: `cargo xtask bench pairs`, with `--peers`
//! beside the servers that `fanout` is compared with. The figure is deliveries per second of the server's processor
//! time; server and load have a core each. Every message is checked by its subscriber.

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
    for pairs in wanted.sizes(&[50, 500]) {
        for kind in &wanted.kinds {
            table.run(*kind, &pairs.to_string(), &wanted.flow(pairs, 1)).await;
        }
    }
    table.print(&Kind::PEERS.map(|peer| (Kind::WEIR, peer)));
}

//! One publisher and 1, 10, 100 or 1000 subscribers over WebSocket: `cargo xtask bench fanout`, with `--peers` beside
//! nats-server, mosquitto and a bare tokio-tungstenite broadcaster. The figure is deliveries per second of the
//! server's processor time; server and load have a core each. Every message is checked by every subscriber.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a benchmark whose set-up fails has nothing better to do than to say so"
)]

mod peers;

use peers::flow::Flow;
use peers::{Table, Wanted, floor, server};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, address] = words.as_slice()
        && flag == "--serve-floor"
    {
        return floor::serve(address.parse().expect("an address"));
    }
    server::pin_load();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(Wanted::parse()));
}

async fn run(wanted: Wanted) {
    let mut table = Table::default();
    Table::heading();
    for subscribers in wanted.sizes(&[1, 10, 100, 1_000]) {
        for kind in &wanted.kinds {
            let flow = Flow { publishers: 1, subscribers, seconds: wanted.seconds };
            table.run(*kind, &subscribers.to_string(), &flow).await;
        }
    }
    table.print();
}

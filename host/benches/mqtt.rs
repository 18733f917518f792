//! MQTT 3.1.1 over plain TCP: one publisher with 1 and with 100 subscribers, and 50 pairs, of QoS 0; the pairs also
//! with publishers of QoS 1. `cargo xtask bench mqtt`, with `--peers` beside mosquitto. The figure is deliveries per
//! second of the server's processor time; server and load have a core each. Every message is checked by every
//! subscriber, and every acknowledgment by its publisher. What weir acknowledges is on the disk (fsync); mosquitto
//! keeps it in memory.

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

const BARE: Kind = Kind::WeirMqtt { plugins: 0, qos: 0 };
const WEIR: Kind = Kind::WeirMqtt { plugins: 4, qos: 0 };
const WEIR_QOS1: Kind = Kind::WeirMqtt { plugins: 4, qos: 1 };
const MOSQUITTO: Kind = Kind::Mosquitto { qos: 0 };
const MOSQUITTO_QOS1: Kind = Kind::Mosquitto { qos: 1 };

/// Label, publishers, subscribers of each.
const FLOWS: [(&str, usize, usize); 3] = [("1", 1, 1), ("100", 1, 100), ("50 pairs", 50, 1)];

fn main() {
    peers::load(run(Wanted::parse(&[BARE, WEIR, WEIR_QOS1], &[MOSQUITTO, MOSQUITTO_QOS1], 3)));
}

async fn run(wanted: Wanted) {
    let mut table = Table::start();
    for (label, publishers, subscribers) in FLOWS {
        for kind in &wanted.kinds {
            if publishers > 1 || ![WEIR_QOS1, MOSQUITTO_QOS1].contains(kind) {
                table.run(*kind, label, &wanted.flow(publishers, subscribers)).await;
            }
        }
    }
    table.print(&[(WEIR, MOSQUITTO), (WEIR_QOS1, MOSQUITTO_QOS1)]);
}

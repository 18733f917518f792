//! What the two versions of MQTT demand of a server, statement by statement, with bytes that no client library sends. The
//! table in `docs/mqtt.md` says which test shows which statement.

mod connect;
mod deliver;
mod peer;
mod publish;
mod subscribe;

use std::net::SocketAddr;

use weir::config::Mqtt;

use crate::harness::{Router, Setup};

const VERSIONS: [bool; 2] = [false, true];

fn serving(setup: Setup) -> Setup {
    setup.config(|config| {
        config.mqtt = Some(Mqtt { listen: "127.0.0.1:0".parse().unwrap(), ..Mqtt::default() });
    })
}

async fn start() -> (Router, SocketAddr) {
    let router = serving(Setup::open()).start().await;
    let address = router.reach.gateways["mqtt"];
    (router, address)
}

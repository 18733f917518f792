//! One scenario list, run by clients of MQTT that others have made: each scenario in both versions of the protocol, over
//! each transport that the client has.

mod mosquitto;
mod rumqttc;

use std::collections::{BTreeMap, BTreeSet};

use weir::config::Mqtt;

use crate::clients::program::{Program, foreign, node_packaged, packaged, packaged_with};
use crate::harness::secure::{fixture, place};
use crate::harness::{Folders, Reach, Setup};

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

/// What is done while one router runs, and what after it was started again: with what the first part has left.
const BEFORE: [&str; 9] = ["qos0", "qos1", "qos2", "retained", "will", "shared", "large", "topics", "before"];
const AFTER: [&str; 1] = ["after"];

/// Topics that are unusual, and a pattern that matches each.
const TOPICS: [(&str, &str); 5] =
    [("/a", "+/a"), ("a//b", "a/+/b"), ("/", "/"), ("a/", "a/#"), ("ä 水/b", "+/b")];
/// Bytes of large payloads; the second is the most that the router takes by default.
const LARGE: [usize; 2] = [900 * 1024, 1 << 20];

/// Transports without TLS and with.
type Transports = [&'static [&'static str]; 2];

const STREAMS: Transports = [&["tcp"], &["tls"]];

/// The addresses of the transports, where something of a client is done before or after the restart.
type Targets = BTreeMap<&'static str, String>;

fn setup(folders: Option<&std::sync::Arc<Folders>>, sealed: bool) -> Setup {
    let setup = folders.map_or_else(Setup::open, Setup::over);
    let tls = sealed.then(|| place(&setup.folders, "server"));
    setup.config(|config| {
        let listen = "127.0.0.1:0".parse().unwrap();
        config.mqtt = Some(Mqtt { listen, tls: tls.clone(), ..Mqtt::default() });
        config.http.tls = tls;
    })
}

fn targets(reach: &Reach, transports: &[&'static str]) -> Targets {
    let address = |transport: &&'static str| {
        let address = if transport.starts_with("ws") { reach.http } else { reach.gateways["mqtt"] };
        (*transport, address.to_string())
    };
    transports.iter().map(address).collect()
}

/// Runs the list; `part` does one part of it and returns a line for each scenario that was passed:
/// `ok VERSION TRANSPORT SCENARIO`.
async fn run(transports: Transports, part: impl AsyncFn(&'static str, Targets) -> String) {
    for (sealed, transports) in [false, true].into_iter().zip(transports) {
        if transports.is_empty() {
            continue;
        }
        let router = setup(None, sealed).start().await;
        passed(&part("before", targets(&router.reach, transports)).await, transports, &BEFORE);
        let folders = router.stop().await;
        let router = setup(Some(&folders), sealed).start().await;
        passed(&part("after", targets(&router.reach, transports)).await, transports, &AFTER);
        router.stop().await;
    }
}

/// All were passed, and no other.
fn passed(said: &str, transports: &[&str], scenarios: &[&str]) {
    let lines: BTreeSet<_> = said.lines().filter(|line| line.starts_with("ok ")).map(str::to_owned).collect();
    let mut wanted = BTreeSet::new();
    for version in VERSIONS {
        for transport in transports {
            wanted.extend(scenarios.iter().map(|scenario| format!("ok {version} {transport} {scenario}")));
        }
    }
    assert_eq!(lines, wanted, "{said}");
}

async fn run_program(transports: Transports, program: impl Fn() -> Program) {
    run(transports, async |phase, targets| {
        let environment = [
            ("PHASE", phase.to_owned()),
            ("TARGETS", serde_json::to_string(&targets).unwrap()),
            ("CA", fixture("ca.pem").display().to_string()),
        ];
        program().run(&environment).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_1_6_passes_the_list() {
    run_program(STREAMS, || packaged_with("paho1.txt", &foreign().join("matrix.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paho_2_passes_the_list() {
    run_program(STREAMS, || packaged(&foreign().join("matrix.py"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_js_passes_the_list() {
    run_program(STREAMS, || node_packaged(&foreign().join("matrix.cjs"))).await;
}

/// Runs a scenario of each version over each transport, with what it says when it fails.
async fn each(
    targets: Targets,
    scenarios: &[&'static str],
    scenario: impl AsyncFn(At, &'static str),
) -> String {
    let mut said = String::new();
    for version in VERSIONS {
        for (transport, address) in &targets {
            for name in scenarios {
                let at = At { version, transport, address: address.parse().unwrap() };
                println!("{version} {transport} {name}");
                scenario(at, name).await;
                said += &format!("ok {version} {transport} {name}\n");
            }
        }
    }
    said
}

/// Where a client connects, and how.
#[derive(Clone, Copy, Debug)]
struct At {
    version: &'static str,
    transport: &'static str,
    address: std::net::SocketAddr,
}

fn scenarios(phase: &str) -> &'static [&'static str] {
    if phase == "before" { &BEFORE } else { &AFTER }
}

//! The clients of `clients/`, against a router that is killed under them: their own tests, and a page in Chromium.

mod page;
mod program;
mod stage;

use program::{Program, node, python};
use stage::Stage;
use tokio::net::TcpListener;

use crate::harness::Setup;

/// Runs a client's tests; they ask for what should happen to the router.
async fn perform(program: Program) {
    let setup = Setup::keyed().binding("latest", "plugin = \"stock:latest\"\ntopics = [\"latest/#\"]\n");
    let mut stage = Stage::new(setup, "").await;
    let control = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let environment = [
        ("WEIR_URL", format!("ws://{}", stage.address())),
        ("WEIR_CONTROL", control.local_addr().expect("its address").to_string()),
    ];
    tokio::select! {
        () = program.run(&environment) => {}
        () = stage.obey_all(control) => panic!("nobody obeys the tests any more"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_es_module_misses_nothing_when_the_router_is_killed() {
    perform(node("weir.test.mjs")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_file_misses_nothing_when_the_router_is_killed() {
    perform(python("test_weir.py")).await;
}

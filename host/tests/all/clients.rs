//! The clients of `clients/`, against a router that is killed under them: their own tests, and a page in Chromium.

mod page;
pub mod program;
mod stage;

use program::{Program, clients, node, python, written};
use serde_json::json;
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
        _ = program.run(&environment) => {}
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

/// Runs an example of `clients/README.md` as it is written there, behind these definitions.
async fn run_example(language: &str, definitions: &str) {
    let page = std::fs::read_to_string(clients().join("README.md")).expect("the page");
    let (_, example) = page.split_once(&format!("```{language}\n")).expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let router = Setup::keyed().start().await;
    let (key, _) = router.key("reader", &["#"], &["#"], "").await;
    let mut server = router.keyed(&key).await;
    server.subscribe("add").await;
    let serve = async {
        let asked = server.message().await;
        let sum = asked["data"].as_array().expect("numbers").iter().filter_map(|n| n.as_i64()).sum::<i64>();
        server.publish(asked["reply_to"].as_str().expect("a topic"), json!(sum)).await;
    };
    let example = example.replace("wss://router.example", &format!("ws://{}", router.reach.http));
    let program = written(language, &format!("{definitions}\n{}", example.replace("KEY", &key)));
    let (output, ()) = tokio::join!(program.run(&[]), serve);
    let [room, celsius, time] = ["rooms/kitchen", "21.5", "\n1"].map(|said| output.contains(said));
    assert!(room && celsius && time, "{output}");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_do_what_they_say() {
    // Node has had a WebSocket of its own since version 22.
    let socket = clients().join("test/websocket.mjs").canonicalize().expect("its path");
    let javascript = format!("import {socket:?};\nconst bill = () => {{}};");
    run_example("js", &javascript).await;
    run_example("python", "def bill(job): pass").await;
}

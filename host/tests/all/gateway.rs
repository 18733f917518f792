//! The native protocol as `docs/protocol.md` has it, spoken well and badly.

mod conversation;
mod half_closed;
mod handshake;
mod hostile;
mod http;
mod listener;
mod protocol_page;
mod publish;
mod unfinished;
mod wire;

use serde_json::{Value, json};

use crate::harness::{Reach, Setup, eventually};

/// Waits until so many WebSockets are open.
async fn until_connected(router: &Reach, wanted: u32) {
    let what = format!("{wanted} connections are open");
    let look = async || (connected(router).await == wanted).then_some(());
    eventually(&what, look).await;
}

async fn connected(router: &Reach) -> u32 {
    let answer = router.admin("GET", "/v1/connections", "").await;
    u32::try_from(answer.json["connections"].as_array().unwrap().len()).unwrap()
}

/// The guest `misbehave`: its policies, and, on `slow`, one that lets a call take longer than a pass may.
const MISBEHAVE: &str = "\
[[binding]]\nname = \"broken\"\ntopics = [\"broken\"]\n
[[binding]]\nname = \"set-aside\"\ntopics = [\"set-aside\"]\non-error = \"dead-letter\"\n
[[binding]]\nname = \"slow\"\ntopics = [\"slow\"]\norder = 1\non-error = \"pass\"\n
[[binding]]\nname = \"late\"\ntopics = [\"slow\"]\norder = 2\n";

/// A router with a topic for every outcome that can be had at will; [`OUTCOMES`] says how.
fn with_outcomes() -> Setup {
    let check = "plugin = \"stock:json-check\"\ntopics = [\"checked\"]\n\
                 [[config.fields]]\npath = \"/n\"\ntype = \"number\"\n";
    let dedupe = "plugin = \"stock:dedupe\"\ntopics = [\"twice\"]\n[config]\nby = \"payload\"\n";
    let setup = Setup::open().guest("misbehave").binding("misbehave", MISBEHAVE);
    setup.binding("check", check).binding("dedupe", dedupe).config(|config| {
        config.limits.message_bytes = 1_000;
        config.plugin.deadline = std::time::Duration::from_secs(2);
        config.plugin.pass_deadline = std::time::Duration::from_secs(1);
    })
}

/// Topic, data in JSON, outcome, HTTP status; in this order, since the second `twice` is one too many.
const OUTCOMES: [(&str, &str, &str, u16); 9] = [
    ("a/b", "1", "accepted", 201),
    ("twice", "1", "accepted", 201),
    ("twice", "1", "filtered", 200),
    ("$x", "1", "denied", 403),
    ("a/+", "1", "invalid", 400),
    ("checked", r#"{"n":"seven"}"#, "invalid", 422),
    ("broken", r#""panic""#, "plugin-failed", 500),
    ("set-aside", r#""panic""#, "dead-lettered", 500),
    ("slow", r#""loop""#, "timed-out", 503),
];

fn data(message: &Value) -> Value {
    message.get("data").cloned().unwrap_or_else(|| json!("no data"))
}

//! Ganomics' protocol over raw sockets: each sentence of its contract.

mod bots;
mod bounds;
mod game;
mod sockets;

use serde_json::{Value, json};
use weir::config::Ganomics;

use crate::harness::{Heard, Reach, Router, Setup, Socket};

/// How a connection ends when something is wrong.
fn died() -> Heard {
    Heard::Closed(1011, String::new())
}

/// A binding of the game; `config`: what stands in its `[config]`.
fn binding(plugin: &str, config: &str) -> String {
    format!(
        "plugin = \"{plugin}\"\ntopics = [\"ganomics/ask\", \"ganomics/identity\", \"ganomics/room\"]\n\
         emit = [\"ganomics/#\"]\non_error = \"deny\"\n[config]\n{config}\n"
    )
}

fn setup(config: &str) -> Setup {
    let setup = Setup::new().binding("ganomics", &binding("stock:ganomics", config));
    setup.config(|config| config.ganomics = Some(Ganomics::default()))
}

async fn router(config: &str) -> Router {
    setup(config).start().await
}

/// A tablet that plays.
struct Player {
    socket: Socket,
    device: String,
    user: u64,
}

impl Player {
    /// Connects, and says nothing.
    async fn connect(reach: &Reach, number: usize) -> Self {
        let socket = Socket::open(reach.gateways["ganomics"], "/ws/", &[]).await;
        Self { socket, device: format!("tablet-{number}"), user: 0 }
    }

    async fn connect_all(reach: &Reach, count: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for number in 0..count {
            all.push(Self::connect(reach, number).await);
        }
        all
    }

    async fn say(&mut self, body: &Value) {
        self.socket.say(body.to_string()).await;
    }

    /// The reply that comes at once.
    async fn ask(&mut self, body: Value) -> Value {
        self.say(&body).await;
        let reply = self.socket.json().await;
        assert_eq!(reply["demand"], body["demand"], "{reply}");
        reply
    }

    async fn init(&mut self) -> Value {
        let reply = self.ask(json!({"demand": "init", "deviceId": self.device})).await;
        self.user = reply["userId"].as_u64().expect("an id");
        reply
    }

    fn demand(&self, demand: &str) -> Value {
        json!({"demand": demand, "userId": self.user})
    }

    fn choice(&self, good: u64, t: u64) -> Value {
        json!({"demand": "choice", "userId": self.user, "good": good, "t": t})
    }

    /// Nothing has come that was not heard.
    async fn silent(&mut self) {
        let heard = self.socket.settle().await;
        assert!(heard.is_empty(), "{heard:?}");
    }
}

/// Each of them hears this next, and nothing else.
async fn hear(players: &mut [Player], wanted: &Value) {
    for player in players {
        assert_eq!(player.socket.json().await, *wanted, "{}", player.device);
    }
}

/// Those of a reply's fields.
fn part(body: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), body[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

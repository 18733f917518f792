//! What is over goes, and nobody is kept out by it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::harness::{Child, OPEN, eventually};

const QUOTA: f64 = 49_152.0;

/// A binding whose state may take so little that a few dozen games fill it.
fn narrow(config: &str) -> Setup {
    let text = binding("stock:ganomics", config) + "[limits]\nstate_bytes = \"48KiB\"\n";
    let setup = Setup::new().binding("ganomics", &text);
    setup.config(|config| config.ganomics = Some(Ganomics::default()))
}

/// A game of two players and one period; the last answer.
async fn round(players: &mut [Player]) -> Value {
    for player in &mut *players {
        player.init().await;
    }
    let mut last = Value::Null;
    for player in players {
        let ask = player.choice(1, 0);
        last = player.ask(ask).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn games_and_tablets_without_end_fill_no_state() {
    let config = "flavour = \"newest\"\ntypes = 2\nt_max = 1\nrooms = 1000\ntablets = 10000";
    let router = narrow(config).start().await;
    let flood = async |from: usize| {
        let mut socket = Socket::open(router.gateways["ganomics"], "/ws/identity/", &[]).await;
        for number in from..from + 50 {
            let device = format!("a device with a long name, number {number}");
            socket.say(json!({"deviceId": device, "tabletNumber": number}).to_string()).await;
            assert_eq!(socket.text().await, "Done!");
        }
    };
    let play = async {
        let mut players = Player::connect_all(&router, 2).await;
        let mut last = Value::Null;
        for _ in 0..100 {
            last = round(&mut players).await;
        }
        last
    };
    let (last, ..) = tokio::join!(play, flood(0), flood(50), flood(100), flood(150), flood(200), flood(250));
    let keys = ["wait", "success", "score", "end"];
    assert_eq!(part(&last, &keys), json!({"wait": false, "success": true, "score": 1, "end": true}));
    let plugin = [("plugin", "ganomics"), ("limit", "state_bytes")];
    let used = router.sample("weir_plugin_limit_used", &plugin).await;
    assert!(used > 0.0 && used <= QUOTA, "{used}");
    assert!(router.sample("weir_plugin_limit_hits_total", &plugin).await > 0.0, "it has been full");
    let failed = [("gateway", "ganomics"), ("outcome", "plugin-failed")];
    assert_eq!(router.sample("weir_publishes_total", &failed).await, 0.0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_finished_games_are_remembered() {
    let router = router("flavour = \"newest\"\ntypes = 2\nt_max = 1\nrooms = 3").await;
    let mut players = Player::connect_all(&router, 2).await;
    for _ in 0..10 {
        round(&mut players).await;
    }
    let mut back = Player::connect(&router, 9).await;
    back.init().await;
    for (user, stands) in [(19, true), (15, true), (14, false), (1, false)] {
        let mut socket = Player::connect(&router, 8).await;
        socket.user = user;
        let ask = socket.choice(1, 0);
        socket.say(&ask).await;
        match socket.socket.hear().await {
            Heard::Text(text) => assert!(stands && text.contains("\"success\":true"), "{user}: {text}"),
            end => assert_eq!((end, stands), (died(), false), "{user}"),
        }
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_room_ends_its_members_connections_and_makes_way() {
    for flavour in ["seed", "newest"] {
        let router =
            setup(&format!("flavour = \"{flavour}\"\ntypes = 2")).binding("open", OPEN).start().await;
        let mut desk = router.client("desk").await;
        let close = json!({"close": true});
        assert_eq!(desk.publish("ganomics/room", close.clone()).await["outcome"], "invalid", "none is open");
        let mut players = Player::connect_all(&router, 3).await;
        players[0].init().await;
        players[1].init().await;
        if flavour == "seed" {
            assert_eq!(players[0].socket.json().await["wait"], false);
        }
        assert_eq!(desk.publish("ganomics/room", close.clone()).await["outcome"], "accepted");
        for player in &mut players[..2] {
            assert_eq!(player.socket.hear().await, died(), "{flavour}");
        }
        let mut late = Player::connect(&router, 0).await;
        let ask = players[0].choice(1, 0);
        late.say(&ask).await;
        assert_eq!(late.socket.hear().await, died(), "the room has left nothing");
        let stranger = players[2].init().await;
        assert_eq!(
            part(&stranger, &["userId", "wait", "progress"]),
            json!({"userId": 3, "wait": true, "progress": 50})
        );
        let mut back = Player::connect(&router, 0).await;
        assert_eq!(part(&back.init().await, &["userId", "wait"]), json!({"userId": 4, "wait": false}));
        router.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_was_left_makes_way_for_the_next_tablet() {
    let router = router("types = 2\nroom_idle_s = 1").await;
    let mut players = Player::connect_all(&router, 2).await;
    players[0].init().await;
    players[1].init().await;
    assert_eq!(players[0].socket.json().await["wait"], false);
    let enter = async || {
        let mut next = Player::connect(&router, 2).await;
        next.say(&json!({"demand": "init", "deviceId": "next"})).await;
        match next.socket.hear().await {
            Heard::Text(text) => Some(text),
            end => {
                assert_eq!(end, died(), "the room has all its players");
                None
            }
        }
    };
    let reply = eventually("the room is closed", enter).await;
    assert!(reply.contains("\"userId\":3"), "{reply}");
    for player in &mut players {
        assert_eq!(player.socket.hear().await, died());
    }
    router.stop().await;
}

/// The commands by which an operator closes a room, one a line, from the page that explains them.
fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateways.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```").filter_map(|block| block.strip_prefix("sh\n"));
    let block = blocks.into_iter().find(|block| block.contains("ganomics/room")).expect("the commands");
    block.lines().map(str::to_owned).collect()
}

/// Runs it as an operator in the folder of the router would.
fn shell(setup: &Setup, child: &Child, command: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-ec", command])
        .current_dir(setup.folders.root())
        // Its listeners are on free ports.
        .envs([("PATH", path), ("WEIR_URL", format!("ws://{}", child.reach.http))])
        .env("WEIR_ADMIN", child.reach.admin.to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_command_closes_a_room_and_the_log_is_not_filled() {
    let setup = Setup::new();
    setup.write_config("[ganomics]\nlisten = \"127.0.0.1:0\"\n");
    let flags = ["--ganomics", "--config", "weir.toml"];
    let child = setup.serve(&flags, &[("WEIR_PLUGINS", "data/plugins")]).await;
    let mut player = Player::connect(&child.reach, 0).await;
    player.init().await;
    let commands = documented();
    let (first, rest) = commands.split_first().unwrap();
    shell(&setup, &child, first);
    child.reach.until_plugin("api-key", |plugin| plugin["state"] == "active").await;
    let said = shell(&setup, &child, &rest.join("\n"));
    let topics: Vec<_> = said.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(topics, ["ganomics/room", "ganomics/group/1/closed"], "{said}");
    assert_eq!(player.socket.hear().await, died());
    for _ in 0..20 {
        let mut other = Player::connect(&child.reach, 1).await;
        other.say(&json!({"demand": "survey", "userId": 1})).await;
        assert_eq!(other.socket.hear().await, died());
    }
    let refused = [("gateway", "ganomics"), ("outcome", "invalid")];
    assert_eq!(child.reach.sample("weir_publishes_total", &refused).await, 20.0);
    let log = child.log();
    assert!(log.contains("a room is closed before its game is over") && !log.contains("is refused"), "{log}");
}

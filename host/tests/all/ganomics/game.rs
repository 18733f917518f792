//! The game, from init to the end.

use serde_json::json;
use weir::plugin::component;

use super::*;
use crate::harness::within;

/// Everybody sends the same demand, one after the other: whoever was before hears how far all are.
async fn in_turn(players: &mut [Player], demand: &str) {
    let size = players.len();
    for at in 0..size {
        let (before, rest) = players.split_at_mut(at);
        let done = json!({"wait": at + 1 < size, "progress": 100 * (at + 1) / size});
        let ask = rest[0].demand(demand);
        let reply = rest[0].ask(ask).await;
        assert_eq!(part(&reply, &["wait", "progress"]), done, "{demand}");
        hear(before, &done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_players_play_a_round_of_the_seed() {
    let config = "skip_survey = false\nskip_training = false\nt_max = 2\ntraining_t_max = 2";
    let router = router(config).await;
    let mut players = Player::connect_all(&router, 4).await;
    for at in 0..4 {
        let (before, rest) = players.split_at_mut(at);
        let reply = rest[0].init().await;
        let keys = ["wait", "progress", "step", "messageId", "nGood", "tMax", "goodInHand", "goodDesired"];
        assert_eq!(
            part(&reply, &keys),
            json!({"wait": at < 3, "progress": 25 * (at + 1), "step": "survey", "messageId": at + 1, "nGood": 4,
                "tMax": 2, "goodInHand": 0, "goodDesired": -2})
        );
        if at < 3 {
            hear(before, &json!({"wait": true, "progress": 25 * (at + 1)})).await;
        }
    }
    for player in &mut players[..3] {
        let told = player.socket.json().await;
        assert_eq!(part(&told, &["userId", "wait"]), json!({"userId": player.user, "wait": false}));
        assert!(told.get("demand").is_none() && told.get("messageId").is_none(), "{told}");
    }
    in_turn(&mut players, "survey").await;
    for player in &mut players {
        for t in 0..2 {
            let ask =
                json!({"demand": "training_choice", "userId": player.user.to_string(), "good": "1", "t": t});
            let reply = player.ask(ask).await;
            let keys = ["wait", "trainingProgress", "trainingT", "trainingEnd"];
            assert_eq!(
                part(&reply, &keys),
                json!({"wait": false, "trainingProgress": 100, "trainingT": t, "trainingEnd": t == 1})
            );
            assert!(reply["trainingSuccess"].is_boolean() && reply["trainingScore"].is_u64());
        }
    }
    in_turn(&mut players, "training_done").await;
    for t in 0..2 {
        choose(&mut players, t, t == 1).await;
    }
    for player in &mut players {
        player.silent().await;
    }
    router.stop().await;
}

/// All want what they consume, which nobody who wants theirs has: nobody succeeds.
async fn choose(players: &mut [Player], t: u64, end: bool) {
    for at in 0..players.len() {
        let (before, rest) = players.split_at_mut(at);
        let wait = !rest[1..].is_empty();
        let ask = rest[0].choice(1, t);
        let reply = rest[0].ask(ask).await;
        let success = if wait { json!(-2) } else { json!(false) };
        assert_eq!(
            part(&reply, &["wait", "progress", "success", "end", "score", "t"]),
            json!({"wait": wait, "progress": 25 * (at + 1), "success": success, "end": end && !wait, "score": 0, "t": t})
        );
        if wait {
            hear(before, &json!({"wait": true, "progress": 25 * (at + 1), "t": t})).await;
        } else {
            let own =
                json!({"wait": false, "progress": 100, "success": false, "end": end, "score": 0, "t": t});
            hear(before, &own).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_players_exchange_and_poll_as_the_newest_do() {
    let router = router("flavour = \"newest\"\ntypes = 2\nt_max = 3\ntraining_t_max = 1").await;
    let mut players = Player::connect_all(&router, 2).await;
    let first = players[0].init().await;
    assert_eq!(
        part(&first, &["wait", "progress", "step"]),
        json!({"wait": true, "progress": 50, "step": "training"})
    );
    players[1].init().await;
    let again = players[0].init().await;
    assert_eq!(
        part(&again, &["wait", "progress", "messageId"]),
        json!({"wait": false, "progress": 100, "messageId": null})
    );
    for player in &mut players {
        let ask = json!({"demand": "training_choice", "userId": player.user, "good": 1, "t": 0});
        let reply = player.ask(ask).await;
        assert_eq!(
            part(&reply, &["t", "trainingT", "trainingEnd"]),
            json!({"t": 0, "trainingT": null, "trainingEnd": true})
        );
    }
    for t in 0..3 {
        let ask = players[0].choice(1, t);
        let reply = players[0].ask(ask.clone()).await;
        assert_eq!(part(&reply, &["wait", "success", "t"]), json!({"wait": true, "success": -2, "t": t}));
        let last = players[1].choice(1, t);
        let end = json!({"wait": false, "success": true, "score": t + 1, "end": t == 2, "t": t});
        let keys = ["wait", "success", "score", "end", "t"];
        assert_eq!(part(&players[1].ask(last).await, &keys), end);
        assert_eq!(part(&players[0].ask(ask).await, &keys), end, "whoever polls learns of it");
    }
    for player in &mut players {
        player.silent().await;
        player.say(&json!({"demand": "survey"})).await;
        assert_eq!(player.socket.hear().await, died(), "a request says whose it is");
    }
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_request_is_told_and_answered_and_the_welcome_is_never_left() {
    let router = router("skip_survey = false\ntypes = 3").await;
    let mut players = Player::connect_all(&router, 2).await;
    players[0].init().await;
    let told = json!({"wait": true, "progress": 33});
    for demand in ["init", "survey"] {
        let mut ask = players[0].demand(demand);
        ask["deviceId"] = json!(players[0].device);
        if demand == "survey" {
            players[0].ask(ask.clone()).await;
        }
        players[0].say(&ask).await;
        assert_eq!(players[0].socket.json().await, told, "first what the group is told");
        assert_eq!(players[0].socket.json().await["demand"], demand, "then the answer");
    }
    // It is in the survey's group by now, and in the welcome's still.
    players[1].init().await;
    hear(&mut players[..1], &json!({"wait": true, "progress": 67})).await;
    // Who asks for the training leaves the survey.
    let ask = json!({"demand": "training_choice", "userId": players[0].user, "good": 1, "t": 0});
    players[0].ask(ask).await;
    let ask = players[1].demand("survey");
    players[1].ask(ask).await;
    players[0].silent().await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_goes_on_where_it_was() {
    let router = router("types = 2\nt_max = 4").await;
    let mut players = Player::connect_all(&router, 2).await;
    players[0].init().await;
    players[1].init().await;
    assert_eq!(players[0].socket.json().await["wait"], false);
    let ask = players[0].choice(1, 0);
    players[0].ask(ask).await;
    let user = players[0].user;
    let mut back = Player::connect(&router, 0).await;
    players[0] = back;
    let reply = players[0].init().await;
    assert_eq!(
        part(&reply, &["userId", "choiceMade", "goodDesired", "goodInHand", "t", "wait"]),
        json!({"userId": user, "choiceMade": true, "goodDesired": 1, "goodInHand": 0, "t": 0, "wait": false})
    );
    // The other one is still at the training, and hears that all are there.
    assert_eq!(players[1].socket.json().await["wait"], false);
    let ask = players[1].choice(1, 0);
    players[1].ask(ask).await;
    let own = json!({"wait": false, "progress": 100, "success": true, "end": false, "score": 1, "t": 0});
    hear(&mut players[..1], &own).await;
    // Its own topic is told by init alone, whatever the socket.
    back = Player::connect(&router, 0).await;
    back.user = user;
    let ask = back.choice(1, 0);
    assert_eq!(back.ask(ask).await["success"], true, "a stored choice has its stored result");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_ends_its_own_connection_with_1011() {
    let router = router("types = 2").await;
    let mut players = Player::connect_all(&router, 2).await;
    players[0].init().await;
    players[1].init().await;
    players[0].socket.json().await;
    for wrong in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"demand":null}"#,
        r#"{"demand":1,"userId":1}"#,
        r#"{"demand":"open","userId":1}"#,
        r#"{"demand":"ping"}"#,
        r#"{"demand":"init"}"#,
        r#"{"demand":"init","deviceId":"one too many"}"#,
        r#"{"demand":"survey","userId":99}"#,
        r#"{"demand":"survey","userId":"x"}"#,
        r#"{"demand":"choice","userId":1,"good":0,"t":0}"#,
        r#"{"demand":"choice","userId":1,"good":2,"t":0}"#,
        r#"{"demand":"choice","userId":1,"good":1,"t":1}"#,
        r#"{"demand":"training_choice","userId":1,"good":1,"t":1}"#,
    ] {
        let mut other = Player::connect(&router, 9).await;
        other.socket.say(wrong).await;
        assert_eq!(other.socket.hear().await, died(), "{wrong}");
    }
    let mut binary = Player::connect(&router, 9).await;
    binary.socket.say(br#"{"demand":"init","deviceId":"tablet-0"}"#.to_vec()).await;
    assert_eq!(binary.socket.hear().await, died());
    for player in &mut players {
        player.silent().await;
    }
    let ask = players[0].choice(1, 0);
    assert_eq!(players[0].ask(ask).await["messageId"], 3, "what was refused has no number");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_game_nobody_waits_in_vain() {
    let router = Setup::new().config(|config| config.ganomics = Some(Ganomics::default())).start().await;
    let mut player = Player::connect(&router, 0).await;
    player.say(&json!({"demand": "init", "deviceId": "d"})).await;
    assert_eq!(player.socket.hear().await, died());
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_groups_are_told_are_messages_like_all_others() {
    let router = setup("types = 2").binding("open", crate::harness::OPEN).start().await;
    let mut native = router.client("native").await;
    native.subscribe("ganomics/#").await;
    let mut player = Player::connect(&router, 0).await;
    player.init().await;
    let told = native.message().await;
    assert_eq!(
        (&told["topic"], &told["data"], &told["from"]),
        (&json!("ganomics/group/1/welcome"), &json!({"wait": true, "progress": 50}), &json!("tablet"))
    );
    native.publish("ganomics/group/1/welcome", json!("all in vain")).await;
    assert_eq!(player.socket.json().await, "all in vain");
    native.message().await;
    let answer = native.publish("ganomics/ask", json!({"demand": "open"})).await;
    assert_eq!(answer["outcome"], "invalid", "a native client hears why: {answer}");
    let answer = native.publish("ganomics/room", json!({})).await;
    assert_eq!(answer["outcome"], "invalid", "a room is open: {answer}");
    assert!(native.drain().await.is_empty(), "answers go to the asker's inbox alone");
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_kill_9() {
    let setup = Setup::new().binding("ganomics", &binding("stock:ganomics", "types = 2\nt_max = 50"));
    setup.write_config("[ganomics]\nlisten = \"127.0.0.1:0\"\n");
    let (mut number, mut users) = (0, Vec::new());
    for t in 0..4 {
        let child = setup.spawn().await;
        let mut players = Player::connect_all(&child.reach, 2).await;
        for player in &mut players {
            let reply = player.init().await;
            number += 1;
            let wanted = json!({"messageId": number, "t": t, "score": t});
            assert_eq!(part(&reply, &["messageId", "t", "score"]), wanted);
        }
        let now: Vec<u64> = players.iter().map(|player| player.user).collect();
        assert!(users.is_empty() || users == now, "{users:?} are {now:?} now");
        users = now;
        if t == 0 {
            assert_eq!(players[0].socket.json().await["wait"], false);
        }
        let ask = players[0].choice(1, t);
        players[0].ask(ask).await;
        let ask = players[1].choice(1, t);
        let reply = players[1].ask(ask).await;
        number += 2;
        assert_eq!(part(&reply, &["messageId", "success"]), json!({"messageId": number, "success": true}));
        child.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_brings_nobody_where_it_may_not_emit() {
    let bound = binding("stock:ganomics", "types = 2");
    for emit in ["ganomics/user/#", "ganomics/group/#", "ganomics/group/+/welcome\", \"ganomics/user/#"] {
        let text = bound.replace("emit = [\"ganomics/#\"]", &format!("emit = [\"{emit}\"]"));
        let setup = Setup::new().binding("ganomics", &text);
        let router = setup.config(|config| config.ganomics = Some(Ganomics::default())).start().await;
        let mut player = Player::connect(&router, 0).await;
        player.say(&json!({"demand": "init", "deviceId": "d"})).await;
        assert_eq!(player.socket.hear().await, died(), "{emit}");
        router.stop().await;
    }
}

/// The game as a component of other bytes.
fn version(number: u8) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plugins/ganomics.wasm");
    let mut bytes = std::fs::read(path).expect("run `cargo xtask plugins` first");
    // A section that nobody reads: its name, and a number.
    bytes.extend([0, 3, 1, b'n', number]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_in_the_middle_of_a_round_loses_nothing() {
    const PERIODS: u64 = 60;
    let setup = Setup::new().binding("ganomics", &binding("game", &format!("types = 2\nt_max = {PERIODS}")));
    setup.folders.replace("game.wasm", &version(0));
    let router = setup.config(|config| config.ganomics = Some(Ganomics::default())).start().await;
    let mut players = Player::connect_all(&router, 2).await;
    players[0].init().await;
    players[1].init().await;
    players[0].socket.json().await;
    let (begun, mut periods) = tokio::sync::watch::channel(0);
    let play = async {
        let mut heard: Vec<u64> = Vec::new();
        for t in 0..PERIODS {
            for at in [0, 1] {
                let ask = players[at].choice(1, t);
                heard.push(players[at].ask(ask).await["messageId"].as_u64().unwrap());
            }
            let own = json!({"wait": false, "progress": 100, "success": true, "end": t + 1 == PERIODS, "score": t + 1, "t": t});
            hear(&mut players[..1], &own).await;
            begun.send_replace(t);
        }
        heard
    };
    let swap = async {
        for number in 1..=4 {
            within("the round goes on", periods.wait_for(|t| *t >= u64::from(number) * PERIODS / 6))
                .await
                .unwrap();
            router.folders.replace("game.wasm", &version(number));
            let wanted = component::version(&component::digest(&version(number)));
            router.until_plugin("ganomics", |plugin| plugin["version"] == *wanted).await;
        }
    };
    let (heard, ()) = tokio::join!(play, swap);
    let wanted: Vec<u64> = (3..3 + 2 * PERIODS).collect();
    assert_eq!(heard, wanted, "each answer once, in order");
    for player in &mut players {
        player.silent().await;
    }
    router.stop().await;
}

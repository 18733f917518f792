//! The rules, demand by demand.

mod bounds;

use super::*;
use weir_plugin::contract::packed::{self, tag};
use weir_plugin::serde_json::{Value, json};
use weir_plugin::testing::{self, Host, Stopped};

struct Game(Host<Ganomics>);

/// What a demand led to: what others are told, by topic, the reply, and the groups that are left and joined.
#[derive(Debug)]
struct Led {
    told: Vec<(String, Value)>,
    reply: Value,
    leaves: Vec<String>,
    joins: Vec<String>,
}

impl Game {
    fn new(config: Value) -> Self {
        Self(Host::new(config).unwrap().grant_emit("ganomics/#"))
    }

    fn say(&mut self, session: &str, text: impl ToString) -> Result<Led, Stopped> {
        let message = testing::message("ganomics/ask", text.to_string()).session(session).build();
        let mut became = self.0.apply(&message)?;
        let last = became.pop().expect("a reply");
        assert_eq!(last.topic(), format!("$inbox/{session}"), "the reply is the last");
        let patterns = |wanted: u8| {
            let meta = last.meta();
            let all =
                packed::fields(meta.as_bytes()).map(Result::unwrap).filter(|(found, _)| *found == wanted);
            all.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap()).collect()
        };
        Ok(Led {
            told: became.iter().map(|m| (m.topic().to_owned(), m.json().unwrap())).collect(),
            reply: last.json().unwrap(),
            leaves: patterns(tag::LEAVE),
            joins: patterns(tag::JOIN),
        })
    }

    fn ask(&mut self, body: Value) -> Led {
        self.say("s", &body).unwrap()
    }

    fn refused(&mut self, body: impl ToString) -> String {
        match self.say("s", body.to_string()) {
            Err(Stopped::Refused(refusal)) => refusal.path,
            other => panic!("{}: {other:?}", body.to_string()),
        }
    }

    /// Seats devices `d0`, `d1`, …; returns their users' ids.
    fn seat(&mut self, count: usize) -> Vec<u64> {
        (0..count)
            .map(|at| id(&self.ask(json!({"demand": "init", "deviceId": format!("d{at}")})).reply))
            .collect()
    }

    /// The number of a device's tablet.
    fn number(&self, device: &str) -> Option<u64> {
        let stored = self.0.state(tablet::stored(device))?;
        Some(weir_plugin::serde_json::from_slice::<tablet::Tablet>(&stored).unwrap().number)
    }

    fn choose(&mut self, user: u64, good: u64, t: u64) -> Led {
        self.ask(json!({"demand": "choice", "userId": user, "good": good, "t": t}))
    }
}

fn id(reply: &Value) -> u64 {
    reply["userId"].as_u64().unwrap()
}

fn part(body: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), body[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn the_first_init_opens_a_room_and_the_last_one_unblocks_the_others() {
    let mut game = Game::new(json!({"types": 3}));
    let first = game.ask(json!({"demand": "init", "deviceId": "d0", "whatever": [1]}));
    assert_eq!(first.told, [("ganomics/group/1/welcome".to_owned(), json!({"wait": true, "progress": 33}))]);
    assert_eq!(
        first.reply,
        json!({
            "demand": "init", "messageId": 1, "pseudo": "Ada", "userId": 1, "step": "training", "choiceMade": false,
            "trainingChoiceMade": false, "score": 0, "nGood": 3, "t": 0, "tMax": 20, "goodInHand": 0,
            "goodDesired": -2, "trainingGoodInHand": 0, "trainingGoodDesired": -2, "trainingTMax": 40,
            "trainingT": 0, "trainingScore": 0, "wait": true, "progress": 33,
        })
    );
    assert_eq!(first.joins, ["ganomics/group/1/closed", "ganomics/user/1", "ganomics/group/1/welcome"]);
    let again = game.ask(json!({"demand": "init", "deviceId": "d0"}));
    assert_eq!((again.told, id(&again.reply), &again.reply["messageId"]), (first.told, 1, &json!(2)));
    game.ask(json!({"demand": "init", "deviceId": 5}));
    let last = game.ask(json!({"demand": "init", "deviceId": "d2"}));
    assert_eq!(
        part(&last.reply, &["wait", "progress", "userId"]),
        json!({"wait": false, "progress": 100, "userId": 3})
    );
    let topics: Vec<_> = last.told.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(topics, ["ganomics/user/1", "ganomics/user/2"]);
    assert_eq!((&last.told[0].1["wait"], &last.told[0].1["pseudo"]), (&json!(false), &json!("Ada")));
    assert!(last.told[0].1.get("demand").is_none() && last.told[0].1.get("messageId").is_none());
    assert_eq!(game.refused(json!({"demand": "init", "deviceId": "d3"})), "/deviceId", "too many players");
}

#[test]
fn survey_and_training_go_by_their_own_groups() {
    let mut game =
        Game::new(json!({"types": 3, "skip_survey": false, "skip_training": false, "training_t_max": 2}));
    let users = game.seat(3);
    let survey =
        |user: u64| json!({"demand": "survey", "userId": user.to_string(), "age": "31", "sex": "female"});
    let first = game.ask(survey(users[0]));
    assert_eq!(part(&first.reply, &["wait", "progress"]), json!({"wait": true, "progress": 33}));
    assert_eq!(first.told[0].0, "ganomics/group/1/survey");
    assert_eq!(first.joins, ["ganomics/group/1/survey"]);
    game.ask(survey(users[1]));
    let last = game.ask(survey(users[2]));
    assert_eq!(last.told[0].1, json!({"wait": false, "progress": 100}), "the end is told likewise");
    for t in 0..2 {
        let ask = json!({"demand": "training_choice", "userId": users[0], "good": 1 + t % 2, "t": t});
        let made = game.ask(ask.clone());
        let keys = ["wait", "trainingProgress", "trainingT", "trainingEnd"];
        let wanted = json!({"wait": false, "trainingProgress": 100, "trainingT": t, "trainingEnd": t == 1});
        assert_eq!(part(&made.reply, &keys), wanted);
        assert!(made.told.is_empty());
        assert_eq!(made.joins, ["ganomics/group/1/training"]);
        let again = game.ask(ask);
        let result = ["trainingSuccess", "trainingScore"];
        assert_eq!(part(&again.reply, &result), part(&made.reply, &result), "it is stored");
    }
    let done = game.ask(json!({"demand": "training_done", "userId": users[0]}));
    assert_eq!(done.told[0].0, "ganomics/group/1/training-done");
    assert_eq!(done.joins, ["ganomics/group/1/training-done", "ganomics/group/1/training"]);
    assert_eq!(part(&done.reply, &["wait", "progress"]), json!({"wait": true, "progress": 33}));
    let back = game.ask(json!({"demand": "init", "deviceId": "d0"}));
    assert_eq!(back.reply["step"], "game", "who comes back goes on");
}

#[test]
fn a_period_ends_when_all_have_chosen() {
    let mut game = Game::new(json!({"types": 3, "t_max": 2}));
    let users = game.seat(3);
    let first = game.choose(users[0], 1, 0);
    assert_eq!(
        first.reply,
        json!({"demand": "choice", "messageId": 4, "wait": true, "progress": 33, "success": -2, "end": false,
            "score": 0, "t": 0})
    );
    let told = json!({"wait": true, "progress": 33, "t": 0});
    assert_eq!(first.told, [("ganomics/group/1/game-t-0".to_owned(), told)]);
    assert_eq!(first.joins, ["ganomics/group/1/game-t-0", "ganomics/group/1/game"]);
    let again = game.choose(users[0], 2, 0);
    assert_eq!(part(&again.reply, &["wait", "progress"]), json!({"wait": true, "progress": 33}));
    let back = game.ask(json!({"demand": "init", "deviceId": "d0"}));
    assert_eq!(
        part(&back.reply, &["choiceMade", "goodDesired"]),
        json!({"choiceMade": true, "goodDesired": 1})
    );
    game.choose(users[1], 2, 0);
    // User n makes n - 1 and consumes the one before: the first wants 2, the second 2, the third 0.
    let last = game.choose(users[2], 2, 0);
    assert_eq!(
        part(&last.reply, &["wait", "success", "score", "t"]),
        json!({"wait": false, "success": true, "score": 0, "t": 0})
    );
    assert_eq!(last.told.len(), 2, "each of the others hears its own");
    let first = &last.told[0];
    assert_eq!(first.0, format!("ganomics/user/{}", users[0]));
    assert_eq!(
        part(&first.1, &["success", "score", "end"]),
        json!({"success": true, "score": 1, "end": false})
    );
    assert_eq!(last.told[1].1["success"], false);
    let stored = game.choose(users[0], 1, 0);
    assert_eq!(
        part(&stored.reply, &["wait", "success", "score"]),
        json!({"wait": false, "success": true, "score": 1})
    );
    let standing = |game: &mut Game, at: usize| {
        let back = game.ask(json!({"demand": "init", "deviceId": format!("d{at}")})).reply;
        (back["t"].as_u64().unwrap(), back["goodInHand"].as_u64().unwrap(), back["score"].as_u64().unwrap())
    };
    assert_eq!(standing(&mut game, 0), (1, 0, 1), "it has consumed, and made its own good again");
    assert_eq!(standing(&mut game, 2), (1, 2, 0), "it holds a good of the third kind");
    assert_eq!(game.refused(json!({"demand": "choice", "userId": users[2], "good": 2, "t": 1})), "/good");
    game.choose(users[0], 1, 1);
    game.choose(users[1], 1, 1);
    let end = game.choose(users[2], 1, 1);
    assert_eq!((&end.reply["end"], &end.reply["success"]), (&json!(true), &json!(true)));
    assert!(end.leaves.contains(&"ganomics/group/1/game-t-0".to_owned()));
    let next = game.ask(json!({"demand": "init", "deviceId": "d0"}));
    assert_eq!(next.told[0].0, "ganomics/group/2/welcome", "the room is closed: a new one opens");
}

#[test]
fn everything_stands_in_the_state() {
    let mut game = Game::new(json!({"types": 3, "t_max": 3}));
    let users = game.seat(3);
    for t in 0..2 {
        for user in &users {
            game.0.restart();
            game.choose(*user, 1, t);
        }
    }
    game.0.restart();
    let back = game.ask(json!({"demand": "init", "deviceId": "d1"}));
    assert_eq!(
        part(&back.reply, &["userId", "t", "messageId"]),
        json!({"userId": 2, "t": 2, "messageId": 10})
    );
}

#[test]
fn a_pass_that_runs_again_comes_out_the_same() {
    let mut game = Game::new(json!({"types": 3, "training_t_max": 64}));
    let user = game.seat(1)[0];
    let mut successes = 0;
    let mut hand = 0;
    for t in 0..64 {
        game.0.conflict_once(b"messages", &1_000_i64.to_le_bytes());
        let want = if hand == 1 || hand == 2 { 1 } else { 1 + t % 2 };
        let made = game.ask(json!({"demand": "training_choice", "userId": user, "good": want, "t": t}));
        let success = made.reply["trainingSuccess"] == true;
        successes += u32::from(success);
        if success {
            hand = if want == 1 { 0 } else { want };
        }
        assert_eq!(made.reply["messageId"], 1_001, "it ran twice");
    }
    assert!((16..=48).contains(&successes), "half of them, by lot: {successes}");
}

#[test]
fn the_newest_flavour_tells_nobody_anything_unasked() {
    let mut game = Game::new(json!({"flavour": "newest", "types": 3, "training_t_max": 2}));
    let users = game.seat(3);
    let last = game.ask(json!({"demand": "init", "deviceId": "d2"}));
    assert!(last.told.is_empty() && last.reply.get("messageId").is_none());
    assert_eq!(last.joins, ["ganomics/group/1/closed"], "its end alone");
    assert_eq!((&last.reply["wait"], &last.reply["demand"]), (&json!(false), &json!("init")));
    let made = game.ask(json!({"demand": "training_choice", "userId": users[0], "good": 1, "t": 0}));
    assert_eq!((&made.reply["t"], made.reply.get("trainingT")), (&json!(0), None));
    // Here everybody consumes the good behind its own.
    let wants = [(users[0], 1, true), (users[1], 2, true), (users[2], 1, false)];
    for (user, good, _) in wants {
        assert!(game.choose(user, good, 0).told.is_empty());
    }
    for (user, good, success) in wants {
        let reply = game.choose(user, good, 0).reply;
        assert_eq!((&reply["wait"], &reply["success"]), (&json!(false), &json!(success)));
    }
    for nobody in [json!({"demand": "survey"}), json!({"demand": "choice", "deviceId": "", "userId": null})] {
        assert_eq!(game.refused(nobody), "/userId");
    }
}

#[test]
fn what_is_wrong_is_refused_and_leaves_no_trace() {
    let mut game = Game::new(json!({"types": 3}));
    let user = game.seat(3)[0];
    let pairs = game.0.state_len();
    let long = json!({"demand": "survey", "userId": 1, "sex": "x".repeat(65)}).to_string();
    for (wrong, path) in [
        ("{", ""),
        ("[]", ""),
        ("{}", "/demand"),
        (r#"{"demand":""}"#, "/demand"),
        (r#"{"demand":"open"}"#, "/demand"),
        (r#"{"demand":"init"}"#, "/deviceId"),
        (r#"{"demand":"survey"}"#, "/userId"),
        (r#"{"demand":"survey","userId":99}"#, "/userId"),
        (r#"{"demand":"survey","userId":"x"}"#, "/userId"),
        (long.as_str(), "/sex"),
        (r#"{"demand":"choice","userId":1,"good":0,"t":0}"#, "/good"),
        (r#"{"demand":"choice","userId":1,"good":3,"t":0}"#, "/good"),
        (r#"{"demand":"choice","userId":1,"good":-1,"t":0}"#, "/good"),
        (r#"{"demand":"choice","userId":1,"good":1}"#, "/t"),
        (r#"{"demand":"choice","userId":1,"good":1,"t":1}"#, "/t"),
        (r#"{"demand":"choice","userId":1,"good":1,"t":20}"#, "/t"),
        (r#"{"demand":"training_choice","userId":1,"good":0,"t":0}"#, "/good"),
        (r#"{"demand":"training_choice","userId":1,"good":1,"t":1}"#, "/t"),
    ] {
        let found = game.refused(wrong);
        assert!(found == path || path.is_empty(), "{wrong}: {found}");
    }
    assert_eq!((user, game.0.state_len()), (1, pairs));
    assert_eq!(game.choose(user, 1, 0).reply["messageId"], 4, "what was refused has no number");
}

#[test]
fn a_room_may_be_an_operators_and_a_device_may_have_a_number() {
    let mut game = Game::new(json!({"auto_room": false}));
    assert_eq!(game.refused(json!({"demand": "init", "deviceId": "d"})), "");
    let open = |game: &mut Game, body: Value| {
        game.0
            .apply(&testing::message_json("ganomics/room", &body).from("service", "desk").build())
            .map(|_| ())
    };
    assert!(matches!(open(&mut game, json!({"types": 1})), Err(Stopped::Refused(_))));
    assert_eq!(open(&mut game, json!({"types": "5", "t_max": 7})), Ok(()));
    assert!(matches!(open(&mut game, json!({})), Err(Stopped::Refused(_))), "one is open");
    let reply = game.ask(json!({"demand": "init", "deviceId": "d"})).reply;
    assert_eq!(part(&reply, &["nGood", "tMax"]), json!({"nGood": 5, "tMax": 7}));
    let bind = testing::message_json("ganomics/identity", &json!({"deviceId": "d", "tabletNumber": "12"}));
    let became = game.0.apply(&bind.session("s").build()).unwrap();
    assert_eq!((became[0].topic(), became[0].payload()), ("$inbox/s", &b"Done!"[..]));
    assert_eq!(game.number("d"), Some(12));
}

#[test]
fn a_trial_has_an_answer_to_everything() {
    let mut game = Game::new(json!({"trial": true}));
    for demand in ["init", "survey", "training_choice", "training_done", "choice"] {
        let led = game.ask(json!({"demand": demand, "t": 2}));
        assert_eq!((&led.reply["demand"], &led.reply["wait"]), (&json!(demand), &json!(false)));
        assert!(led.told.is_empty());
    }
    assert_eq!(game.refused(json!({"demand": "other"})), "/demand");
}

#[test]
fn what_the_configuration_may_not_say() {
    for (config, path) in [
        (json!({"types": 1}), "/types"),
        (json!({"types": 20, "players_per_type": 11}), "/players_per_type"),
        (json!({"t_max": 0}), "/t_max"),
        (json!({"training_t_max": 1_001}), "/training_t_max"),
        (json!({"flavour": "old"}), "/flavour"),
        (json!({"rooms": 0}), "/rooms"),
        (json!({"tablets": 10_001}), "/tablets"),
        (json!({"room_idle_s": 0}), "/room_idle_s"),
        (json!({"tablet_kept_s": 0}), "/tablet_kept_s"),
        (json!({"flavor": "seed"}), "/flavor"),
    ] {
        assert_eq!(Host::<Ganomics>::new(config).unwrap_err().path, path);
    }
}

//! What is over goes: by its time, by number, and when the state is full.

use std::time::Duration;

use super::*;
use weir_plugin::{Level, Time};

/// A clock for messages.
struct Clock(Time);

impl Clock {
    fn new() -> Self {
        Self(Time::from_micros(1_800_000_000_000_000))
    }

    fn pass(&mut self, seconds: u64) {
        self.0 = self.0.after(Duration::from_secs(seconds));
    }
}

impl Game {
    fn at(&mut self, clock: &Clock, body: Value) -> Result<Vec<weir_plugin::Message>, Stopped> {
        self.0
            .apply(&testing::message("ganomics/ask", body.to_string()).session("s").received(clock.0).build())
    }

    fn reply(&mut self, clock: &Clock, body: Value) -> Value {
        self.at(clock, body).unwrap().pop().expect("a reply").json().unwrap()
    }

    fn init(&mut self, clock: &Clock, device: &str) -> Value {
        self.reply(clock, json!({"demand": "init", "deviceId": device}))
    }

    fn pick(&mut self, clock: &Clock, user: u64, t: u64) -> Value {
        self.reply(clock, json!({"demand": "choice", "userId": user, "good": 1, "t": t}))
    }

    /// A whole game of two players with so many periods; returns their users' ids.
    fn round(&mut self, clock: &Clock, periods: u64) -> [u64; 2] {
        let users = ["d0", "d1"].map(|device| id(&self.init(clock, device)));
        for t in 0..periods {
            for user in users {
                self.pick(clock, user, t);
            }
        }
        users
    }

    fn bind(&mut self, clock: &Clock, device: &str, number: u64) {
        let body = json!({"deviceId": device, "tabletNumber": number});
        let message =
            testing::message_json("ganomics/identity", &body).session("s").received(clock.0).build();
        assert_eq!(self.0.apply(&message).unwrap()[0].payload(), b"Done!");
    }

    fn desk(&mut self, clock: &Clock, body: Value) -> Result<Vec<String>, Stopped> {
        let message = testing::message_json("ganomics/room", &body).from("service", "desk").received(clock.0);
        Ok(self.0.apply(&message.build())?.iter().map(|message| message.topic().to_owned()).collect())
    }

    fn lines(&self, what: &str) -> usize {
        self.0.logs().iter().filter(|(_, line)| line.contains(what)).count()
    }
}

const UNKNOWN: &str = "/userId";

#[test]
fn ten_thousand_games_leave_no_more_than_the_last_few() {
    let mut game = Game::new(json!({"types": 2, "t_max": 1, "rooms": 5}));
    let clock = Clock::new();
    for _ in 0..8 {
        game.round(&clock, 1);
    }
    let (pairs, bytes) = (game.0.state_len(), game.0.state_bytes());
    let mut last = [0; 2];
    for _ in 8..10_000 {
        last = game.round(&clock, 1);
    }
    assert_eq!(game.0.state_len(), pairs);
    // Numbers have become longer.
    assert!(game.0.state_bytes() < bytes + 2_000, "{bytes} {}", game.0.state_bytes());
    let reply = game.pick(&clock, last[0], 0);
    assert_eq!(part(&reply, &["end", "success", "score"]), json!({"end": true, "success": true, "score": 1}));
    assert_eq!(reply["messageId"], 40_001, "no number was left out");
    assert_eq!(game.lines("`rooms` are kept"), 1, "the log is not filled");
}

#[test]
fn ten_thousand_tablets_leave_no_more_than_were_heard_last() {
    let mut game = Game::new(json!({"tablets": 20}));
    let mut clock = Clock::new();
    game.bind(&clock, "known", 7);
    let mut most = 0;
    for number in 0..10_000 {
        clock.pass(10);
        game.bind(&clock, &format!("d{number}"), number);
        if number % 10 == 0 {
            game.bind(&clock, "known", 7);
        }
        most = most.max(game.0.state_len());
    }
    assert!(most <= 20 + 4, "the tablets, their row, the reserve, a note of the log: {most}");
    assert_eq!(
        (game.number("known"), game.number("d9999"), game.number("d9982")),
        (Some(7), Some(9_999), Some(9_982))
    );
    assert_eq!((game.number("d9979"), game.number("d0")), (None, None));
    assert!(game.lines("`tablets` are kept") <= 28, "one line an hour");
}

#[test]
fn a_tablet_that_says_nothing_for_its_time_is_forgotten() {
    let mut game = Game::new(json!({"flavour": "newest", "tablet_kept_s": 1_000}));
    let mut clock = Clock::new();
    for device in ["a", "b", "c"] {
        game.init(&clock, device);
    }
    assert_eq!(["a", "b", "c"].map(|device| game.number(device)), [Some(1), Some(2), Some(3)]);
    clock.pass(600);
    game.init(&clock, "b");
    game.bind(&clock, "c", 9);
    clock.pass(600);
    game.bind(&clock, "d", 4);
    assert_eq!(["a", "b", "c", "d"].map(|device| game.number(device)), [None, Some(2), Some(9), Some(4)]);
    clock.pass(1_000);
    game.init(&clock, "a");
    assert_eq!(["a", "b", "c", "d"].map(|device| game.number(device)), [Some(4), None, None, None]);
}

#[test]
fn a_finished_game_is_remembered_for_its_time() {
    let mut game = Game::new(json!({"types": 2, "t_max": 2, "room_kept_s": 1_000}));
    let mut clock = Clock::new();
    let users = game.round(&clock, 2);
    clock.pass(999);
    game.init(&clock, "d0");
    let reply = game.pick(&clock, users[0], 0);
    assert_eq!(
        part(&reply, &["success", "score", "end"]),
        json!({"success": true, "score": 1, "end": false})
    );
    clock.pass(1);
    let pairs = game.0.state_len();
    let reply = game.init(&clock, "d0");
    // The room, and of each of two players itself, its seat and its periods.
    assert_eq!(game.0.state_len(), pairs - 7);
    assert_eq!(reply["userId"], 3, "the open room is another, and stays");
    let gone = game.at(&clock, json!({"demand": "choice", "userId": users[0], "good": 1, "t": 0}));
    assert!(matches!(gone, Err(Stopped::Refused(refusal)) if refusal.path == UNKNOWN));
}

#[test]
fn a_room_in_which_nobody_says_anything_is_closed() {
    for flavour in ["seed", "newest"] {
        let mut game = Game::new(json!({"flavour": flavour, "types": 2, "room_idle_s": 1_000}));
        let mut clock = Clock::new();
        let users = ["d0", "d1"].map(|device| id(&game.init(&clock, device)));
        for t in 0..3 {
            clock.pass(900);
            game.pick(&clock, users[0], t);
            game.pick(&clock, users[1], t);
        }
        clock.pass(900);
        let full = game.at(&clock, json!({"demand": "init", "deviceId": "d2"}));
        assert!(matches!(full, Err(Stopped::Refused(_))), "who is not in it does not keep it open");
        clock.pass(101);
        let pairs = game.0.state_len();
        let became = game.at(&clock, json!({"demand": "init", "deviceId": "d2"})).unwrap();
        assert_eq!(became[0].topic(), "ganomics/group/1/closed", "{flavour}");
        let reply: Value = became.last().unwrap().json().unwrap();
        assert_eq!(part(&reply, &["userId", "wait", "t"]), json!({"userId": 3, "wait": true, "t": 0}));
        let fresh = 3 + usize::from(flavour == "newest");
        assert_eq!(game.0.state_len(), pairs - 7 + fresh, "the old one has left nothing");
        assert_eq!(game.lines("a room is closed before its game is over"), 1);
    }
}

#[test]
fn without_auto_room_an_idle_room_waits_for_an_operator() {
    let mut game = Game::new(json!({"auto_room": false, "types": 2, "room_idle_s": 1_000}));
    let mut clock = Clock::new();
    assert_eq!(game.desk(&clock, json!({"types": 2})).unwrap(), ["ganomics/room"]);
    let user = game.init(&clock, "d0")["userId"].clone();
    clock.pass(999);
    assert!(matches!(game.desk(&clock, json!({"types": 3})), Err(Stopped::Refused(_))), "it is open");
    clock.pass(1_000);
    assert_eq!(game.init(&clock, "d0")["userId"], user, "there is no other");
    clock.pass(1_001);
    assert!(matches!(game.desk(&clock, json!({"types": 1})), Err(Stopped::Refused(_))), "that is no room");
    assert_eq!(game.desk(&clock, json!({"types": 3})).unwrap(), ["ganomics/room", "ganomics/group/1/closed"]);
    assert_eq!(game.init(&clock, "d0")["nGood"], 3);
}

#[test]
fn an_operator_closes_a_room_with_all_that_is_its_own() {
    let mut game = Game::new(json!({"types": 20, "players_per_type": 10, "t_max": 3}));
    let clock = Clock::new();
    assert!(matches!(game.desk(&clock, json!({"close": true})), Err(Stopped::Refused(_))), "none is open");
    game.init(&clock, "d0");
    game.desk(&clock, json!({"close": true})).unwrap();
    let before = game.0.state_len();
    let users: Vec<u64> = (0..200).map(|at| id(&game.init(&clock, &format!("d{at}")))).collect();
    for user in &users {
        game.pick(&clock, *user, 0);
    }
    for wrong in [json!(false), json!(2), json!(null)] {
        let refused = game.desk(&clock, json!({"close": wrong}));
        assert!(matches!(refused, Err(Stopped::Refused(refusal)) if refusal.path == "/close"));
    }
    assert!(matches!(game.desk(&clock, json!({"types": 2})), Err(Stopped::Refused(_))), "one is open");
    assert_eq!(
        game.desk(&clock, json!({"close": true})).unwrap(),
        ["ganomics/room", "ganomics/group/2/closed"]
    );
    assert_eq!(game.0.state_len(), before);
    for demand in ["survey", "training_done"] {
        let gone = game.at(&clock, json!({"demand": demand, "userId": users[5]}));
        assert!(matches!(gone, Err(Stopped::Refused(refusal)) if refusal.path == UNKNOWN));
    }
    assert_eq!(game.desk(&clock, json!({"types": 2})).unwrap(), ["ganomics/room"]);
    assert_eq!(game.init(&clock, "d0")["nGood"], 2);
}

#[test]
fn the_largest_games_fit_and_go_a_part_at_a_time() {
    let mut game = Game::new(json!({"types": 20, "players_per_type": 10, "t_max": 1, "rooms": 1}));
    let clock = Clock::new();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let users: Vec<u64> = (0..200).map(|at| id(&game.init(&clock, &format!("d{at}")))).collect();
        for user in users {
            game.pick(&clock, user, 0);
        }
        sizes.push(game.0.state_len());
    }
    // A note that a line was written comes with the first one that goes.
    assert!(sizes[2] <= sizes[1] + 1, "two of three stand: {sizes:?}");
}

#[test]
fn a_full_state_locks_nobody_out() {
    let config = json!({"types": 2, "t_max": 4, "rooms": 1_000, "tablets": 10_000});
    let mut game = Game::new(config);
    game.0 = game.0.state_quota(80_000).log_level(Level::Debug);
    let clock = Clock::new();
    for number in 0..1_000 {
        game.bind(&clock, &format!("d-{number}"), number);
    }
    assert!(game.number("d-999").is_some() && game.number("d-0").is_none());
    let mut last = [0; 2];
    for _ in 0..300 {
        last = game.round(&clock, 4);
        assert!(game.0.state_bytes() <= 80_000);
    }
    assert_eq!(game.pick(&clock, last[1], 3)["score"], 4);
    assert_eq!(game.lines("the state is full"), 1);
}

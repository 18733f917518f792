//! `choice`: what a player wants in a period of the game.

use serde_json::{Value, json};
use weir_plugin::Result;

use super::training::period;
use crate::answer::{self, Answer, group};
use crate::ask::{Ask, refusal};
use crate::market;
use crate::room::Room;
use crate::user::{Choice, Step, Table, User};

pub(super) fn choice(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let mut user = User::asking(ask)?;
    let mut room = Room::load(user.room)?;
    let t = period(ask, room.t_max)?;
    if Choice::load(Table::Game, user.id, t)?.is_none() {
        if t != room.t {
            return Err(refusal("t", format!("period {} is being played", room.t)).into());
        }
        choose(ask, &room, &mut user, t)?;
    }
    let mut users = room.users()?;
    let made = users.iter().map(|user| Choice::load(Table::Game, user.id, t));
    let made = made.collect::<Result<Vec<_>>>()?;
    let progress = room.progress(made.iter().flatten().count());
    let all: Option<Vec<Choice>> = made.into_iter().collect();
    match all.filter(|_| room.is_full()) {
        None => unresolved(&room, &user, t, progress, answer),
        Some(mut choices) => {
            if t == room.t {
                market::settle(&mut room, &mut users, &mut choices)?;
            }
            resolved(&room, &user, t, &users, &choices, answer);
        }
    }
    answer.join(group(room.id, &format!("game-t-{t}")));
    if let Some(before) = t.checked_sub(1) {
        answer.leave(group(room.id, &format!("game-t-{before}")));
    }
    answer.leave(group(room.id, "training-done"));
    answer.leave(group(room.id, "survey"));
    answer.join(group(room.id, "game"));
    Ok(())
}

fn choose(ask: &Ask, room: &Room, user: &mut User, t: u32) -> Result<()> {
    let desired = user.good(ask, room)?;
    let hand = user.game.hand;
    if desired == hand {
        return Err(refusal("good", "this good is in hand already").into());
    }
    Choice { hand, desired, success: None, score: user.game.score }.save(Table::Game, user.id, t)?;
    // Who plays need not have said that the training is done.
    if user.step < Step::Game {
        user.step = Step::Game;
        user.save()?;
    }
    Ok(())
}

fn unresolved(room: &Room, user: &User, t: u32, progress: u64, answer: &mut Answer) {
    let told = json!({"wait": true, "progress": progress, "t": t});
    answer.tell(group(room.id, &format!("game-t-{t}")), told);
    answer.reply(json!({
        "wait": true,
        "progress": progress,
        "success": crate::user::NONE,
        "end": false,
        "score": user.game.score,
        "t": t,
    }));
}

fn resolved(room: &Room, user: &User, t: u32, users: &[User], choices: &[Choice], answer: &mut Answer) {
    let result = |choice: &Choice| -> Value {
        json!({
            "wait": false,
            "progress": 100,
            "success": choice.success(),
            "end": t + 1 == room.t_max,
            "score": choice.score,
            "t": t,
        })
    };
    for (other, choice) in users.iter().zip(choices) {
        if other.id == user.id {
            answer.reply(result(choice));
        } else {
            answer.tell(answer::user(other.id), result(choice));
        }
    }
}

//! `choice`: what a player wants in a period of the game.

use serde_json::{Value, json};
use weir_plugin::Result;

use super::training::period;
use crate::answer::{self, Answer, group};
use crate::ask::{Ask, refusal};
use crate::history::{History, Past, Table};
use crate::market;
use crate::room::Room;
use crate::user::{NONE, Step, User};

pub(super) fn choice(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let mut user = User::asking(ask)?;
    let mut room = Room::heard(&user, ask.at())?;
    let t = period(ask, room.t_max)?;
    if t > room.t {
        return Err(refusal("t", format!("period {} is being played", room.t)).into());
    }
    if t == room.t && user.wants.is_none() {
        choose(ask, &room, &mut user)?;
    }
    let mut users = room.users()?;
    let made = users.iter().filter(|user| user.wants.is_some()).count();
    if t < room.t {
        resolved(&room, &user, t, &past(&users, t)?, answer);
    } else if made == users.len() && room.is_full() {
        let results = market::settle(&mut room, &mut users, ask.at())?;
        let results: Vec<_> = users.iter().map(|user| user.id).zip(results).collect();
        resolved(&room, &user, t, &results, answer);
    } else {
        unresolved(&room, &user, t, room.progress(made), answer);
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

fn choose(ask: &Ask, room: &Room, user: &mut User) -> Result<()> {
    let desired = user.good(ask, room)?;
    if desired == user.game.hand {
        return Err(refusal("good", "this good is in hand already").into());
    }
    user.wants = Some(desired);
    // Who plays need not have said that the training is done.
    user.step = user.step.max(Step::Game);
    user.save()
}

/// What came of a period that is over, by user.
fn past(users: &[User], t: u32) -> Result<Vec<(u64, Past)>> {
    let mut all = Vec::with_capacity(users.len());
    for user in users {
        all.extend(History::load(user.id)?.at(Table::Game, t).map(|past| (user.id, past)));
    }
    Ok(all)
}

fn unresolved(room: &Room, user: &User, t: u32, progress: u64, answer: &mut Answer) {
    let told = json!({"wait": true, "progress": progress, "t": t});
    answer.tell(group(room.id, &format!("game-t-{t}")), told);
    answer.reply(json!({
        "wait": true,
        "progress": progress,
        "success": NONE,
        "end": false,
        "score": user.game.score,
        "t": t,
    }));
}

fn resolved(room: &Room, user: &User, t: u32, results: &[(u64, Past)], answer: &mut Answer) {
    let result = |past: &Past| -> Value {
        json!({
            "wait": false,
            "progress": 100,
            "success": past.success,
            "end": t + 1 == room.t_max,
            "score": past.score,
            "t": t,
        })
    };
    for (other, past) in results {
        if *other == user.id {
            answer.reply(result(past));
        } else {
            answer.tell(answer::user(*other), result(past));
        }
    }
}

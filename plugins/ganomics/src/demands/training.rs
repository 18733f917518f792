//! `training_choice` and `training_done`: each player for itself, until all are done.

use serde_json::json;
use weir_plugin::Result;

use super::standing;
use crate::answer::{Answer, group};
use crate::ask::{Ask, refusal};
use crate::history::{History, Past, Table};
use crate::lots::Lots;
use crate::room::Room;
use crate::user::{Step, User};

pub(super) fn choice(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let mut user = User::asking(ask)?;
    let room = Room::heard(&user, ask.at())?;
    let t = period(ask, room.training_t_max)?;
    let mut history = History::load(user.id)?;
    let past = match history.at(Table::Training, t) {
        Some(past) => past,
        None if t == user.training_t => exchange(ask, &room, &mut user, &mut history)?,
        None => return Err(refusal("t", format!("period {} is next", user.training_t)).into()),
    };
    let period = if answer.is_newest() { "t" } else { "trainingT" };
    answer.reply(json!({
        "wait": false,
        "trainingSuccess": past.success,
        "trainingScore": past.score,
        "trainingProgress": 100,
        period: t,
        "trainingEnd": t + 1 == room.training_t_max,
    }));
    answer.leave(group(room.id, "survey"));
    answer.join(group(room.id, "training"));
    Ok(())
}

/// With nobody: it succeeds by lot, half of the time.
fn exchange(ask: &Ask, room: &Room, user: &mut User, history: &mut History) -> Result<Past> {
    let desired = user.good(ask, room)?;
    if desired == user.training.hand {
        return Err(refusal("good", "this good is in hand already").into());
    }
    let success = Lots::of(room.seed, &[user.id, u64::from(user.training_t)]).draw() >> 63 == 1;
    let past = user.exchange(Table::Training, desired, success, history);
    user.training_t += 1;
    history.save(user.id)?;
    user.save()?;
    Ok(past)
}

pub(super) fn done(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let mut user = User::asking(ask)?;
    let room = Room::heard(&user, ask.at())?;
    user.step = user.step.max(Step::Game);
    user.save()?;
    let (wait, progress) = standing(&room, Step::Game)?;
    let body = json!({"wait": wait, "progress": progress});
    answer.tell(group(room.id, "training-done"), body.clone());
    answer.reply(body);
    answer.leave(group(room.id, "survey"));
    answer.join(group(room.id, "training-done"));
    answer.join(group(room.id, "training"));
    Ok(())
}

/// The period that the demand names.
pub(super) fn period(ask: &Ask, most: u32) -> Result<u32> {
    let t = u32::try_from(ask.wanted("t")?).ok().filter(|t| *t < most);
    t.ok_or_else(|| refusal("t", format!("0 to {} are accepted", most - 1)).into())
}

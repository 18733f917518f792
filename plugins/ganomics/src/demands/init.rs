//! `init`: a tablet takes its seat, or finds itself again.

use serde_json::{Value, json};
use weir_plugin::{Message, Result, state};

use crate::answer::{self, Answer, group};
use crate::ask::{Ask, refusal};
use crate::room::Room;
use crate::user::{Choice, NONE, Step, Table, User};
use crate::{Config, tablet};

pub(super) fn init(config: &Config, ask: &Ask, message: &Message, answer: &mut Answer) -> Result<()> {
    let device = ask.device()?;
    let mut room = match Room::open()? {
        Some(room) => room,
        None if config.auto_room => Room::create(config, message)?,
        None => return Err(refusal("", "no room is open").into()),
    };
    let mut user = match User::of_device(&room, &device)? {
        Some(user) => user,
        None if room.is_full() => return Err(refusal("deviceId", "the room has all its players").into()),
        None => User::create(&mut room, &device, answer.is_newest())?,
    };
    let first = first_step(config);
    if user.step < first {
        user.step = first;
        user.save()?;
    }
    if answer.is_newest() {
        number_tablet(&device)?;
    }
    let progress = room.progress(room.players.len());
    let wait = !room.is_full();
    if wait {
        answer.tell(group(room.id, "welcome"), json!({"wait": true, "progress": progress}));
    } else {
        for other in room.users()?.iter().filter(|other| other.id != user.id && is_waiting(other, first)) {
            answer.tell(answer::user(other.id), standing(&room, other, false, progress)?);
        }
    }
    answer.reply(standing(&room, &user, wait, progress)?);
    answer.join(answer::user(user.id));
    answer.leave(group(room.id, "survey"));
    answer.join(group(room.id, "welcome"));
    Ok(())
}

/// Where players go on from the welcome.
fn first_step(config: &Config) -> Step {
    match (config.skip_survey, config.skip_training) {
        (true, _) => Step::Training,
        (false, true) => Step::Game,
        (false, false) => Step::Survey,
    }
}

/// Who may not know that the room is full.
fn is_waiting(user: &User, first: Step) -> bool {
    user.step == first && user.training_t == 0
}

/// All that a tablet has to know.
fn standing(room: &Room, user: &User, wait: bool, progress: u64) -> Result<Value> {
    let made = Choice::load(Table::Game, user.id, room.t)?;
    let desired = made.as_ref().map_or(NONE, |choice| user.seen(choice.desired));
    Ok(json!({
        "pseudo": user.pseudo,
        "userId": user.id,
        "step": user.step,
        "choiceMade": made.is_some(),
        "trainingChoiceMade": false,
        "score": user.game.score,
        "nGood": room.types,
        "t": room.t,
        "tMax": room.t_max,
        "goodInHand": user.seen(user.game.hand),
        "goodDesired": desired,
        "trainingGoodInHand": user.seen(user.training.hand),
        "trainingGoodDesired": NONE,
        "trainingTMax": room.training_t_max,
        "trainingT": user.training_t,
        "trainingScore": user.training.score,
        "wait": wait,
        "progress": progress,
    }))
}

/// A device that nobody has bound gets the next number.
fn number_tablet(device: &str) -> Result<()> {
    if state::get(tablet(device))?.is_none() {
        state::set(tablet(device), state::increment("tablets", 1)?.to_string())?;
    }
    Ok(())
}

//! `init`: a tablet takes its seat, or finds itself again.

use serde_json::{Value, json};
use weir_plugin::{Message, Result};

use crate::Config;
use crate::answer::{self, Answer, group};
use crate::ask::{Ask, refusal};
use crate::book::Book;
use crate::room::Room;
use crate::tablet::{self, Number};
use crate::user::{NONE, Step, User};

pub(super) fn init(config: &Config, ask: &Ask, message: &Message, answer: &mut Answer) -> Result<()> {
    let device = ask.device()?;
    if let Some(idle) = Book::tidy(config, ask.at(), config.auto_room)? {
        answer.close(&idle);
    }
    let mut room = match Book::load()?.open()? {
        Some(room) => room,
        None if config.auto_room => Book::enter(config, message)?,
        None => return Err(refusal("", "no room is open").into()),
    };
    let mut user = match User::of_device(&room, &device)? {
        Some(user) => user,
        None if room.is_full() => return Err(refusal("deviceId", "the room has all its players").into()),
        None => User::create(&mut room, &device, answer.is_newest())?,
    };
    room.hear(ask.at())?;
    let first = first_step(config);
    if user.step < first {
        user.step = first;
        user.save()?;
    }
    let number = if answer.is_newest() { Number::Next } else { Number::Own };
    tablet::heard(config, &device, number, ask.at())?;
    let progress = room.progress(room.players.len());
    let wait = !room.is_full();
    if wait {
        answer.tell(group(room.id, "welcome"), json!({"wait": true, "progress": progress}));
    } else {
        for other in room.users()?.iter().filter(|other| other.id != user.id && is_waiting(other, first)) {
            answer.tell(answer::user(other.id), standing(&room, other, false, progress));
        }
    }
    answer.reply(standing(&room, &user, wait, progress));
    answer.stay(&room);
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
fn standing(room: &Room, user: &User, wait: bool, progress: u64) -> Value {
    let desired = user.wants.map_or(NONE, |good| user.seen(good));
    json!({
        "pseudo": user.pseudo,
        "userId": user.id,
        "step": user.step,
        "choiceMade": user.wants.is_some(),
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
    })
}

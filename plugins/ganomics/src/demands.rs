//! The five demands. Each may be repeated, and does nothing the second time but answer.

mod choice;
mod init;
mod training;

use serde_json::json;
use weir_plugin::{Message, Result};

use crate::Config;
use crate::answer::{Answer, group};
use crate::ask::{Ask, refusal};
use crate::room::Room;
use crate::user::{Step, User};

pub(crate) fn answer(config: &Config, ask: &Ask, message: &Message, answer: &mut Answer) -> Result<()> {
    match ask.demand() {
        "init" => init::init(config, ask, message, answer),
        "survey" => survey(ask, answer),
        "training_choice" => training::choice(ask, answer),
        "training_done" => training::done(ask, answer),
        "choice" => choice::choice(ask, answer),
        _ => {
            let known = "known are init, survey, training_choice, training_done and choice";
            Err(refusal("demand", format!("there is no such demand: {known}")).into())
        }
    }
}

/// Age and sex, the first time.
fn survey(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let mut user = User::asking(ask)?;
    let room = Room::heard(&user, ask.at())?;
    if user.age.is_none() && user.sex.is_empty() {
        user.age = ask.number("age")?;
        user.sex = ask.text("sex")?;
    }
    user.step = user.step.max(Step::Training);
    user.save()?;
    let (wait, progress) = standing(&room, Step::Training)?;
    let body = json!({"wait": wait, "progress": progress});
    answer.tell(group(room.id, "survey"), body.clone());
    answer.reply(body);
    answer.join(group(room.id, "survey"));
    Ok(())
}

/// Whether somebody is not there yet, and how many are, in percent.
fn standing(room: &Room, step: Step) -> Result<(bool, u64)> {
    let there = room.users()?.iter().filter(|user| user.step >= step).count();
    Ok((there < room.size as usize, room.progress(there)))
}

//! Answers to all demands without a game, for trying out a tablet.

use serde_json::json;
use weir_plugin::Result;

use crate::answer::Answer;
use crate::ask::{Ask, refusal};
use crate::user::NONE;

pub(crate) fn answer(ask: &Ask, answer: &mut Answer) -> Result<()> {
    let t = ask.number("t")?.unwrap_or_default();
    let period = if answer.is_newest() { "t" } else { "trainingT" };
    answer.reply(match ask.demand() {
        "init" => json!({
            "pseudo": "Trial", "userId": 1, "step": "survey", "choiceMade": false, "trainingChoiceMade": false,
            "score": 0, "nGood": 3, "t": 0, "tMax": 3, "goodInHand": 0, "goodDesired": NONE,
            "trainingGoodInHand": 0, "trainingGoodDesired": NONE, "trainingTMax": 3, "trainingT": 0,
            "trainingScore": 0, "wait": false, "progress": 100,
        }),
        "survey" | "training_done" => json!({"wait": false, "progress": 100}),
        "training_choice" => json!({
            "wait": false, "trainingSuccess": true, "trainingScore": t.saturating_add(1), "trainingProgress": 100,
            period: t, "trainingEnd": t >= 2,
        }),
        "choice" => json!({
            "wait": false, "progress": 100, "success": true, "end": t >= 2, "score": t.saturating_add(1), "t": t,
        }),
        _ => return Err(refusal("demand", "there is no such demand").into()),
    });
    Ok(())
}

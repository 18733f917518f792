//! Answers, the same over WebSocket (with `id`, in a frame) and HTTP (without).

use bytes::Bytes;

use super::fields;
use super::payload::{put_message, put_place};
use super::request::{Fault, Id};
use crate::gateway::json::{self, Object};
use crate::gateway::ws::frame;
use crate::ingress::{HistoryPage, Present, QueryFailure, QueryPage, Subscribed, Unanswered};
use crate::message::{Accepted, Message, Outcome, Places, now_us};

/// Puts what `write` writes into a frame that answers `id`.
pub(super) fn framed(id: &Id, write: impl FnOnce(&mut Object<'_>)) -> Bytes {
    frame::text(192, |out| {
        let mut object = Object::begin(out);
        object.raw("id", id.as_str());
        write(&mut object);
        object.end();
    })
}

/// The same as the body of an HTTP answer.
pub(super) fn body(write: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    let mut object = Object::begin(&mut out);
    write(&mut object);
    object.end();
    out
}

/// Whether there is nothing to mend and nothing to repeat.
pub(super) fn is_ok(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. } | Outcome::Filtered { .. })
}

/// What became of a publish, or why something else was refused.
pub(super) fn outcome(object: &mut Object<'_>, outcome: &Outcome) {
    object.flag("ok", is_ok(outcome));
    object.text("outcome", outcome.as_str());
    match outcome {
        Outcome::Accepted { level, messages, note } => {
            object.text("level", level.as_str());
            json::put_array(object.key("messages"), messages, accepted);
            object.text_if_any("note", note.as_deref().unwrap_or_default());
        }
        Outcome::Invalid(refusal) => {
            object.text_if_any("reason", &refusal.reason);
            object.text_if_any("path", &refusal.path);
        }
        Outcome::RateLimited { retry_after_ms } => {
            object.text("reason", &outcome.reason());
            object.number("retry_after_ms", *retry_after_ms);
        }
        refused => object.text_if_any("reason", &refused.reason()),
    }
}

fn accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    let mut object = Object::begin(out);
    object.text("topic", &accepted.topic);
    put_place(&mut object, accepted.place.as_ref());
    object.end();
}

/// The request itself was wrong.
pub(super) fn fault(object: &mut Object<'_>, fault: &Fault) {
    object.flag("ok", false);
    object.text("outcome", "invalid");
    object.text("reason", &fault.reason);
}

/// A subscription stands.
pub(super) fn subscribed(object: &mut Object<'_>, pattern: &str, subscribed: &Subscribed) {
    object.flag("ok", true);
    object.text("topic", pattern);
    object.flag("new", subscribed.new);
    put_places(object, "places", &subscribed.places);
    if let Some(recovered) = subscribed.recovered {
        put_recovered(object, recovered, &subscribed.oldest);
    }
}

/// Where a reader stands: `{"LOG":{"epoch":1,"offset":7}}`.
pub(super) fn put_places(object: &mut Object<'_>, key: &'static str, places: &Places) {
    let mut of_logs = Object::begin(object.key(key));
    for (log, (epoch, offset)) in &places.0 {
        let mut place = Object::begin(of_logs.any_key(log));
        place.number("epoch", *epoch);
        place.number("offset", *offset);
        place.end();
    }
    of_logs.end();
}

/// Whether nothing is missing behind the places that were asked for; if not, where reading begins.
pub(super) fn put_recovered(object: &mut Object<'_>, recovered: bool, oldest: &Places) {
    object.flag("recovered", recovered);
    if !recovered {
        put_places(object, "oldest", oldest);
    }
}

/// A subscription is gone.
pub(super) fn unsubscribed(object: &mut Object<'_>, pattern: &str, removed: bool) {
    object.flag("ok", true);
    object.text("topic", pattern);
    object.flag("removed", removed);
}

/// Who is present at a topic.
pub(super) fn presence(object: &mut Object<'_>, topic: &str, present: &Present) {
    object.flag("ok", true);
    object.text("topic", topic);
    object.number("count", number(present.count));
    json::put_array(object.key("members"), &present.members, |out, member| {
        let mut object = Object::begin(out);
        object.text("name", &member.name);
        object.text("origin", &member.origin);
        object.number("connections", number(member.connections));
        object.number("since_us", member.since_us);
        object.end();
    });
    object.flag("more", present.count > present.members.len());
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The reply to a request, or why there is none.
pub(super) fn replied(object: &mut Object<'_>, replied: &Result<Message, Unanswered>) {
    let word = match replied {
        Ok(reply) => {
            object.flag("ok", true);
            object.text("outcome", "accepted");
            let mut inner = Object::begin(object.key("reply"));
            put_message(&mut inner, reply, None);
            return inner.end();
        }
        Err(Unanswered::Refused(refused)) => return outcome(object, refused),
        Err(Unanswered::Busy { .. }) => "overloaded",
        Err(Unanswered::Nobody(_)) => "unanswered",
        Err(Unanswered::Stopping) => "shutting-down",
    };
    object.flag("ok", false);
    object.text("outcome", word);
    if let Err(why) = replied {
        object.text("reason", &why.to_string());
    }
}

/// Alive.
pub(super) fn pong(object: &mut Object<'_>) {
    object.flag("ok", true);
    object.number("time_us", now_us());
}

/// A page of messages.
pub(super) fn history(object: &mut Object<'_>, page: &HistoryPage) {
    object.flag("ok", true);
    json::put_array(object.key("messages"), &page.messages, |out, stored| {
        let mut object = Object::begin(out);
        put_message(&mut object, &stored.message, Some(&stored.place));
        object.end();
    });
    put_places(object, "next", &page.next);
    object.flag("more", page.more);
    put_recovered(object, page.recovered, &page.oldest);
}

/// A storage plugin's answer.
pub(super) fn query(object: &mut Object<'_>, page: &QueryPage) {
    object.flag("ok", true);
    json::put_array(object.key("items"), &page.items, |out, item| match json::as_value(item.as_bytes()) {
        Some(value) => out.extend_from_slice(value.as_bytes()),
        // Checked before, but a plugin wrote it: what is no value is shown as the text that it is.
        None => json::put_text(out, item),
    });
    match &page.next {
        Some(cursor) => object.text("next", &fields::encode_cursor(cursor)),
        None => object.raw("next", "null"),
    }
}

/// Why a storage plugin has no answer.
pub(super) fn query_failure(object: &mut Object<'_>, failure: &QueryFailure) {
    object.flag("ok", false);
    let (word, path) = match failure {
        QueryFailure::NoPlugin(..) | QueryFailure::NotFound => ("not-found", ""),
        QueryFailure::Denied => ("denied", ""),
        QueryFailure::Invalid { path, .. } => ("invalid", &**path),
        QueryFailure::Unavailable(_) => ("unavailable", ""),
        QueryFailure::Failed => ("plugin-failed", ""),
    };
    object.text("outcome", word);
    object.text("reason", &failure.to_string());
    object.text_if_any("path", path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Level, Place, Refusal};
    use serde_json::{Value, json};

    fn written(result: &Outcome) -> Value {
        serde_json::from_slice(&body(|object| outcome(object, result))).unwrap()
    }

    #[test]
    fn outcomes_as_documented() {
        let place = Place { log: "default".into(), epoch: 1, offset: 7 };
        let messages = vec![
            Accepted { topic: "a/b".into(), place: Some(place), routed: None },
            Accepted { topic: "$x".into(), place: None, routed: None },
        ];
        let accepted = Outcome::Accepted { level: Level::Logged, messages, note: None };
        assert_eq!(
            written(&accepted),
            json!({"ok": true, "outcome": "accepted", "level": "logged", "messages": [
                {"topic": "a/b", "log": "default", "epoch": 1, "offset": 7}, {"topic": "$x"}]})
        );
        assert_eq!(
            written(&Outcome::Filtered { reason: String::new() }),
            json!({"ok": true, "outcome": "filtered"})
        );
        let refusal = Refusal { reason: "no".into(), path: "/a".into(), disconnect: false };
        assert_eq!(
            written(&Outcome::Invalid(refusal)),
            json!({"ok": false, "outcome": "invalid", "reason": "no", "path": "/a"})
        );
        assert_eq!(written(&Outcome::RateLimited { retry_after_ms: 250 })["retry_after_ms"], 250);
        assert_eq!(written(&Outcome::TimedOut)["ok"], false);
    }

    #[test]
    fn query_items_cannot_forge() {
        let page =
            QueryPage { items: vec!["{\"a\":1}".into(), "1],\"ok\":[2".into()], next: Some(vec![255]) };
        let value: Value = serde_json::from_slice(&body(|object| query(object, &page))).unwrap();
        assert_eq!(value, json!({"ok": true, "items": [{"a": 1}, "1],\"ok\":[2"], "next": "_w"}));
    }
}

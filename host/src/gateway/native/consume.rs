//! Durable consumers on the wire: `subscribe` with `consumer` or `group`, `ack`, `unsubscribe`.

use super::answer;
use super::event::{self, consumer_key};
use super::fields;
use super::keys::{Key, Keys};
use super::request::{Fault, Id};
use super::socket::Native;
use crate::durable::{ACK_WAIT_MS, Ack, Asked, EXPIRES_AFTER_MS, MAX_IN_FLIGHT, Made, Request};
use crate::gateway::json::Object;
use crate::ingress;
use crate::message::Outcome;

const SUBSCRIBE: [Key; 10] = [
    Key::Action,
    Key::Id,
    Key::Topic,
    Key::Consumer,
    Key::Group,
    Key::AckWaitMs,
    Key::MaxInFlight,
    Key::ExpiresAfterMs,
    Key::Since,
    Key::Retained,
];
const UNSUBSCRIBE: [Key; 5] = [Key::Action, Key::Id, Key::Consumer, Key::Group, Key::Delete];
const ACK: [Key; 9] = [
    Key::Action,
    Key::Id,
    Key::Consumer,
    Key::Group,
    Key::Log,
    Key::Epoch,
    Key::Offset,
    Key::Offsets,
    Key::UpTo,
];

/// An end of reading.
#[derive(Debug)]
pub(super) struct Leave {
    pub(super) name: String,
    pub(super) shared: bool,
    pub(super) delete: bool,
}

/// Whether a consumer or a group is meant.
pub(super) fn is_meant(keys: &Keys<'_>) -> bool {
    keys.get(Key::Consumer).or(keys.get(Key::Group)).is_some()
}

/// `consumer` or `group`: the name, and whether it is a group.
fn name(keys: &Keys<'_>) -> Result<(String, bool), Fault> {
    match (fields::text(keys, Key::Consumer)?, fields::text(keys, Key::Group)?) {
        (Some(name), None) => Ok((name.into_owned(), false)),
        (None, Some(name)) => Ok((name.into_owned(), true)),
        (None, None) => Err(Fault::new("`consumer` or `group` is missing: it is a string".into())),
        (Some(_), Some(_)) => Err(Fault::new("`consumer` and `group` are given: one is accepted".into())),
    }
}

/// A `subscribe` that names a consumer or a group.
pub(super) fn subscribe(keys: &Keys<'_>) -> Result<Request, Fault> {
    keys.only(&SUBSCRIBE)?;
    let (name, shared) = name(keys)?;
    if fields::flag(keys, Key::Retained)? {
        let reason = "`retained` is not accepted with `consumer` or `group`, which read the log: subscribe without \
                      them to get retained messages";
        return Err(Fault::new(reason.into()));
    }
    Ok(Request {
        name,
        shared,
        pattern: fields::required(keys, Key::Topic)?.into_owned(),
        options: Asked {
            ack_wait_ms: fields::number(keys, Key::AckWaitMs, ACK_WAIT_MS)?,
            max_in_flight: fields::number(keys, Key::MaxInFlight, MAX_IN_FLIGHT)?,
            expires_after_ms: fields::number(keys, Key::ExpiresAfterMs, EXPIRES_AFTER_MS)?,
        },
        since: fields::since(keys)?.unwrap_or_default(),
    })
}

/// An `unsubscribe` that names a consumer or a group.
pub(super) fn unsubscribe(keys: &Keys<'_>) -> Result<Leave, Fault> {
    keys.only(&UNSUBSCRIBE)?;
    let (name, shared) = name(keys)?;
    Ok(Leave { name, shared, delete: fields::flag(keys, Key::Delete)? })
}

/// An `ack`.
pub(super) fn ack(keys: &Keys<'_>) -> Result<Ack, Fault> {
    keys.only(&ACK)?;
    let (name, shared) = name(keys)?;
    let number = |key| fields::number(keys, key, 0..=u64::MAX);
    let missing = |key: Key| Fault::new(format!("`{}` is missing: it is a whole number", key.name()));
    let offsets = match (number(Key::Offset)?, fields::numbers(keys, Key::Offsets)?) {
        (Some(offset), None) => vec![offset],
        (None, Some(offsets)) => offsets,
        (None, None) => return Err(missing(Key::Offset)),
        (Some(_), Some(_)) => {
            return Err(Fault::new("`offset` and `offsets` are given: one is accepted".into()));
        }
    };
    Ok(Ack {
        name,
        shared,
        log: fields::required(keys, Key::Log)?.into_owned(),
        epoch: number(Key::Epoch)?.ok_or_else(|| missing(Key::Epoch))?,
        offsets,
        up_to: fields::flag(keys, Key::UpTo)?,
    })
}

impl Native {
    /// Reads a consumer from now on.
    pub(super) async fn consume(&self, id: Option<Id>, request: &Request) {
        let (ingress, session) = (self.visit.ingress(), self.visit.session());
        let done = ingress.consume(session, request).await;
        self.tell(id, done, |object, made| {
            object.text("topic", &request.pattern);
            object.text(consumer_key(request.shared), &request.name);
            object.flag("new", made.is_some());
            if let Some(Made { recovered: Some(recovered), oldest }) = made {
                answer::put_recovered(object, recovered, &oldest);
            }
        });
    }

    /// Reads it no more.
    pub(super) async fn leave(&self, id: Option<Id>, leave: &Leave) {
        let Leave { name, shared, delete } = leave;
        let done = self.visit.ingress().leave(self.visit.session(), name, *shared, *delete).await;
        self.tell(id, done, |object, removed| {
            object.text(consumer_key(*shared), name);
            object.flag("removed", removed);
        });
    }

    /// Acknowledges. Nothing waits for the disk but the answer.
    pub(super) fn ack(&self, id: Option<Id>, ack: &Ack) {
        let saved: Option<crate::durable::Saved> = id.map(|id| {
            let expected = self.connection.expect();
            let saved = move |result: Result<u64, crate::durable::Refused>| {
                expected.answer(match result {
                    Ok(acked) => answer::framed(&id, |object| acknowledged(object, acked)),
                    Err(refused) => {
                        let outcome = ingress::refused(refused);
                        answer::framed(&id, |object| answer::outcome(object, &outcome))
                    }
                });
            };
            Box::new(saved) as crate::durable::Saved
        });
        if let Err(outcome) = self.visit.ingress().ack(self.visit.session(), ack, saved) {
            self.refuse(id, &outcome);
        }
    }

    fn tell<T>(&self, id: Option<Id>, done: Result<T, Outcome>, write: impl FnOnce(&mut Object<'_>, T)) {
        match (done, id) {
            (Ok(done), Some(id)) => self.say(answer::framed(&id, |object| {
                object.flag("ok", true);
                write(object, done);
            })),
            (Ok(_), None) => {}
            (Err(outcome), id) => self.refuse(id, &outcome),
        }
    }

    fn refuse(&self, id: Option<Id>, outcome: &Outcome) {
        let frame = match id {
            Some(id) => Some(answer::framed(&id, |object| answer::outcome(object, outcome))),
            None => event::refusal(outcome),
        };
        frame.into_iter().for_each(|frame| self.say(frame));
    }
}

fn acknowledged(object: &mut Object<'_>, acked: u64) {
    object.flag("ok", true);
    object.number("acked", acked);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Keys<'_> {
        serde_json::from_str(text).unwrap()
    }

    fn reason<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().reason
    }

    #[test]
    fn options_have_their_ranges() {
        let of = |more: &str| format!(r#"{{"action":"subscribe","topic":"a","group":"g"{more}}}"#);
        let request = subscribe(&keys(&of(r#","ack_wait_ms":100,"max_in_flight":10000"#))).unwrap();
        assert!(request.shared && request.name == "g" && request.options.max_in_flight == Some(10_000));
        for (more, range) in [
            (r#","ack_wait_ms":99"#, "from 100 to 3600000"),
            (r#","ack_wait_ms":3600001"#, "from 100 to 3600000"),
            (r#","max_in_flight":0"#, "from 1 to 10000"),
            (r#","max_in_flight":10001"#, "from 1 to 10000"),
            (r#","expires_after_ms":999"#, "from 1000 to 2592000000"),
            (r#","expires_after_ms":2592000001"#, "from 1000 to 2592000000"),
        ] {
            let reason = reason(subscribe(&keys(&of(more))));
            assert!(reason.ends_with(range), "{reason}");
        }
        assert!(reason(subscribe(&keys(&of(r#","consumer":"c""#)))).ends_with("one is accepted"));
        assert!(
            reason(subscribe(&keys(&of(r#","retained":true"#)))).starts_with("`retained` is not accepted")
        );
        assert!(subscribe(&keys(&of(r#","retained":false"#))).is_ok());
    }

    #[test]
    fn an_ack_says_what_exactly() {
        let of = |more: &str| format!(r#"{{"action":"ack","consumer":"c"{more}}}"#);
        let one = ack(&keys(&of(r#","log":"l","epoch":1,"offset":7"#))).unwrap();
        let expected =
            Ack { name: "c".into(), log: "l".into(), epoch: 1, offsets: vec![7], ..Ack::default() };
        assert_eq!(one, expected);
        let many = ack(&keys(&of(r#","log":"l","epoch":1,"offsets":[7,8],"up_to":true"#))).unwrap();
        assert!(many.offsets == [7, 8] && many.up_to);
        for (more, wrong) in [
            ("", "`offset` is missing"),
            (r#","offset":1,"offsets":[1]"#, "`offset` and `offsets`"),
            (r#","offset":1"#, "`log` is missing"),
            (r#","offset":1,"log":"l""#, "`epoch` is missing"),
            (r#","offset":-1"#, "`offset` must be"),
            (r#","offsets":["1"]"#, "`offsets` must be"),
        ] {
            let reason = reason(ack(&keys(&of(more))));
            assert!(reason.starts_with(wrong), "{reason}");
        }
    }
}

//! The books: what each sender published, what the router said to it, and what came of it.
//!
//! Accepted is a promise: such a message is delivered once, and in the order in which it was sent. Whatever else
//! was sent is not delivered at all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use parking_lot::Mutex;

use crate::client::Answer;
use crate::witness::Sent;

/// Messages of a sender that are remembered one by one; what happens to older ones is counted, and no longer
/// told apart. A sender has far fewer under way.
const REMEMBERED: usize = 4_096;

/// The books of all senders.
pub(super) struct Ledger(Mutex<Books>);

struct Books {
    senders: BTreeMap<String, Sender>,
    /// Malformed publishes that were refused.
    refused: u64,
    /// Publishes sent twice whose repetition was recognised.
    recognised: u64,
    /// What must not happen, and how often it did.
    wrong: BTreeMap<String, u64>,
    /// Sound publishes that the router turned away, by outcome: not lost, since it said so.
    turned_away: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Sender {
    messages: BTreeMap<u64, Fate>,
    /// Everything up to this number was forgotten.
    forgotten: u64,
    latest_delivered: u64,
    accepted: u64,
    delivered: u64,
    /// Accepted, not delivered, and forgotten.
    given_up: u64,
}

#[derive(Clone, Copy, Default)]
struct Fate {
    answer: Verdict,
    delivered: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Due,
    Accepted,
    TurnedAway,
}

/// The sums of the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Messages in publishes that were accepted.
    pub(super) accepted: u64,
    /// Of these, those that were delivered.
    pub(super) delivered: u64,
    /// Accepted and not delivered.
    pub(super) lost: u64,
    /// Without an answer.
    pub(super) unanswered: u64,
    /// Malformed publishes that were refused.
    pub(super) refused: u64,
    /// Repeated publishes that were recognised as such.
    pub(super) recognised: u64,
    /// What must not happen, and how often it did.
    pub(super) wrong: BTreeMap<String, u64>,
    /// Sound publishes that were turned away, by outcome.
    pub(super) turned_away: BTreeMap<String, u64>,
}

impl Tally {
    /// Whether everything that was promised has happened.
    pub(super) fn settled(&self) -> bool {
        self.lost == 0 && self.unanswered == 0
    }
}

impl Ledger {
    /// Empty books of these senders. Messages of others are wrong.
    pub(super) fn new(senders: &[&str]) -> Self {
        let senders = senders.iter().map(|name| ((*name).to_owned(), Sender::default())).collect();
        let (wrong, turned_away) = (BTreeMap::new(), BTreeMap::new());
        Self(Mutex::new(Books { senders, refused: 0, recognised: 0, wrong, turned_away }))
    }

    /// Messages are about to be sent.
    pub(super) fn sent(&self, sender: &str, messages: RangeInclusive<u64>, sent: Sent) {
        let mut books = self.0.lock();
        if sent == Sent::Repeated {
            return;
        }
        if let Some(sender) = books.senders.get_mut(sender) {
            for message in messages {
                sender.messages.insert(message, Fate::default());
            }
            sender.forget();
        }
    }

    /// The router's answer to them.
    pub(super) fn answered(&self, sender: &str, messages: RangeInclusive<u64>, sent: Sent, answer: &Answer) {
        let books = &mut *self.0.lock();
        match (sent, answer.outcome.as_str()) {
            (Sent::Sound, _) | (Sent::Malformed, "accepted") => {}
            (Sent::Malformed, "invalid") => books.refused += 1,
            (Sent::Repeated, "filtered") => books.recognised += 1,
            (Sent::Repeated, "accepted") => books.wrong("a repeated publish was accepted once more"),
            (Sent::Malformed | Sent::Repeated, _) => books.turned_away(answer),
        }
        if sent == Sent::Repeated {
            return;
        }
        if sent == Sent::Malformed && answer.accepted() {
            books.wrong("a malformed publish was accepted");
        } else if sent == Sent::Sound && !answer.accepted() {
            books.turned_away(answer);
        }
        let mut leaked = 0;
        let Some(sender) = books.senders.get_mut(sender) else { return };
        for message in messages {
            let Some(fate) = sender.messages.get_mut(&message) else { continue };
            if answer.accepted() {
                fate.answer = Verdict::Accepted;
                sender.accepted += 1;
            } else {
                fate.answer = Verdict::TurnedAway;
                leaked += u64::from(fate.delivered);
            }
        }
        for _ in 0..leaked {
            books.wrong(LEAKED);
        }
    }

    /// A message reached the one for whom it is.
    pub(super) fn delivered(&self, sender: &str, message: u64) {
        let books = &mut *self.0.lock();
        let fault = match books.senders.get_mut(sender) {
            None => Some("a message of a sender that nobody knows"),
            Some(sender) => sender.delivered(message).err(),
        };
        if let Some(fault) = fault {
            books.wrong(fault);
        }
    }

    /// The sums, as of now.
    pub(super) fn tally(&self) -> Tally {
        let books = self.0.lock();
        let mut tally = Tally {
            refused: books.refused,
            recognised: books.recognised,
            wrong: books.wrong.clone(),
            turned_away: books.turned_away.clone(),
            ..Tally::default()
        };
        for sender in books.senders.values() {
            let waiting = |verdict| {
                let waits = |fate: &&Fate| fate.answer == verdict && !fate.delivered;
                sender.messages.values().filter(waits).count() as u64
            };
            let due = sender.messages.values().filter(|fate| fate.answer == Verdict::Due).count();
            tally.accepted += sender.accepted;
            tally.delivered += sender.delivered;
            tally.lost += sender.given_up + waiting(Verdict::Accepted);
            tally.unanswered += due as u64;
        }
        tally
    }
}

/// The worst of all: the router told the sender one thing and the receiver another.
const LEAKED: &str = "a message that was turned away was delivered";

impl Books {
    fn wrong(&mut self, what: &str) {
        *self.wrong.entry(what.to_owned()).or_default() += 1;
    }

    /// Outcomes are a closed set, so this stays small.
    fn turned_away(&mut self, answer: &Answer) {
        *self.turned_away.entry(answer.outcome.clone()).or_default() += 1;
    }
}

impl Sender {
    fn delivered(&mut self, message: u64) -> Result<(), &'static str> {
        let Some(fate) = self.messages.get_mut(&message) else {
            let forgotten = message <= self.forgotten;
            return Err(if forgotten {
                "a message came much too late"
            } else {
                "a message that was never sent"
            });
        };
        if std::mem::replace(&mut fate.delivered, true) {
            return Err("a message was delivered twice");
        }
        let verdict = fate.answer;
        self.delivered += 1;
        let in_order = message > self.latest_delivered;
        self.latest_delivered = self.latest_delivered.max(message);
        match verdict {
            Verdict::TurnedAway => Err(LEAKED),
            _ if !in_order => Err("a message was delivered out of order"),
            _ => Ok(()),
        }
    }

    /// Lets go of the oldest messages.
    fn forget(&mut self) {
        while self.messages.len() > REMEMBERED {
            let Some((number, fate)) = self.messages.pop_first() else { return };
            self.forgotten = number;
            self.given_up += u64::from(fate.answer == Verdict::Accepted && !fate.delivered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: &str) -> Answer {
        Answer { outcome: outcome.into(), ..Answer::default() }
    }

    /// Publishes messages of a device, and delivers them as given.
    fn after(sent: u64, delivered: &[u64]) -> Tally {
        let ledger = Ledger::new(&["device"]);
        for message in 1..=sent {
            ledger.sent("device", message..=message, Sent::Sound);
            ledger.answered("device", message..=message, Sent::Sound, &answer("accepted"));
        }
        for message in delivered {
            ledger.delivered("device", *message);
        }
        ledger.tally()
    }

    fn faults(tally: &Tally) -> Vec<(&str, u64)> {
        tally.wrong.iter().map(|(what, often)| (what.as_str(), *often)).collect()
    }

    #[test]
    fn all_in_order_is_well() {
        let tally = after(4, &[1, 2, 3, 4]);
        assert_eq!((tally.accepted, tally.delivered, tally.lost), (4, 4, 0));
        assert!(tally.settled() && tally.wrong.is_empty());
    }

    #[test]
    fn a_gap_is_a_loss() {
        for delivered in [&[1, 2, 4][..], &[2, 3, 4], &[1, 2, 3]] {
            let tally = after(4, delivered);
            assert_eq!((tally.accepted, tally.delivered, tally.lost), (4, 3, 1), "{delivered:?}");
            assert!(!tally.settled() && tally.wrong.is_empty());
        }
    }

    #[test]
    fn twice_is_once_too_often() {
        for delivered in [&[1, 2, 2, 3][..], &[1, 2, 3, 1]] {
            let tally = after(3, delivered);
            assert_eq!(faults(&tally), [("a message was delivered twice", 1)], "{delivered:?}");
            assert_eq!((tally.delivered, tally.lost), (3, 0));
        }
    }

    #[test]
    fn late_is_out_of_order_and_not_lost() {
        let tally = after(4, &[1, 3, 2, 4]);
        assert_eq!(faults(&tally), [("a message was delivered out of order", 1)]);
        assert_eq!((tally.delivered, tally.lost), (4, 0));
    }

    #[test]
    fn a_delivery_may_overtake_the_answer_but_not_replace_it() {
        let ledger = Ledger::new(&["device"]);
        ledger.sent("device", 1..=2, Sent::Sound);
        ledger.delivered("device", 1);
        ledger.delivered("device", 2);
        assert_eq!((ledger.tally().unanswered, ledger.tally().settled()), (2, false));
        ledger.answered("device", 1..=1, Sent::Sound, &answer("accepted"));
        assert_eq!((ledger.tally().unanswered, ledger.tally().wrong.len()), (1, 0));
        ledger.answered("device", 2..=2, Sent::Sound, &answer("timed-out"));
        assert_eq!(faults(&ledger.tally()), [(LEAKED, 1)]);
    }

    #[test]
    fn what_was_turned_away_is_not_lost_and_must_not_arrive() {
        let ledger = Ledger::new(&["device"]);
        ledger.sent("device", 1..=1, Sent::Sound);
        ledger.answered("device", 1..=1, Sent::Sound, &answer("overloaded"));
        let tally = ledger.tally();
        assert_eq!((tally.accepted, tally.lost, tally.turned_away["overloaded"]), (0, 0, 1));
        ledger.delivered("device", 1);
        assert_eq!(faults(&ledger.tally()), [(LEAKED, 1)]);
    }

    #[test]
    fn malformed_ones_must_be_refused() {
        let ledger = Ledger::new(&["sensor"]);
        for (message, outcome) in [(1, "invalid"), (2, "accepted"), (3, "overloaded")] {
            ledger.sent("sensor", message..=message, Sent::Malformed);
            ledger.answered("sensor", message..=message, Sent::Malformed, &answer(outcome));
        }
        let tally = ledger.tally();
        assert_eq!((tally.refused, tally.turned_away["overloaded"]), (1, 1));
        assert_eq!(faults(&tally), [("a malformed publish was accepted", 1)]);
    }

    #[test]
    fn repetitions_count_once() {
        let ledger = Ledger::new(&["sensor"]);
        ledger.sent("sensor", 1..=5, Sent::Sound);
        ledger.answered("sensor", 1..=5, Sent::Sound, &answer("accepted"));
        ledger.sent("sensor", 1..=5, Sent::Repeated);
        ledger.answered("sensor", 1..=5, Sent::Repeated, &answer("filtered"));
        (1..=5).for_each(|message| ledger.delivered("sensor", message));
        let tally = ledger.tally();
        assert_eq!((tally.accepted, tally.delivered, tally.recognised), (5, 5, 1));
        assert!(tally.settled() && tally.wrong.is_empty());
        ledger.answered("sensor", 1..=5, Sent::Repeated, &answer("accepted"));
        assert_eq!(faults(&ledger.tally()), [("a repeated publish was accepted once more", 1)]);
    }

    #[test]
    fn nobody_else_is_heard() {
        let ledger = Ledger::new(&["device"]);
        ledger.delivered("stranger", 1);
        ledger.delivered("device", 7);
        assert_eq!(
            faults(&ledger.tally()),
            [("a message of a sender that nobody knows", 1), ("a message that was never sent", 1)]
        );
    }

    #[test]
    fn long_runs_take_bounded_room_and_forget_no_loss() {
        let ledger = Ledger::new(&["device"]);
        let many = REMEMBERED as u64 * 3;
        for message in 1..=many {
            ledger.sent("device", message..=message, Sent::Sound);
            ledger.answered("device", message..=message, Sent::Sound, &answer("accepted"));
            if message != 5 {
                ledger.delivered("device", message);
            }
        }
        assert!(ledger.0.lock().senders["device"].messages.len() <= REMEMBERED);
        assert_eq!((ledger.tally().lost, ledger.tally().delivered), (1, many - 1));
        ledger.delivered("device", 5);
        assert_eq!(faults(&ledger.tally()), [("a message came much too late", 1)]);
    }
}

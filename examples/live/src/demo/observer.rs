//! What the demo sees of the traffic, and what it holds against it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value;

use super::folder::Unit;
use super::ledger::{Ledger, Tally};
use super::{DEVICE, PAGE, SENSOR};
use crate::client::Answer;
use crate::device::Command;
use crate::page::{Arrival, Body, Histogram, Screen};
use crate::witness::{Sent, Witness};

/// Rounding aside, an amount must be right to this share of itself.
const ROUNDING: f64 = 0.001;

/// Commands that are remembered until they are confirmed.
const UNCONFIRMED: usize = 100;

/// Looks on.
pub(super) struct Observer {
    ledger: Ledger,
    seen: Mutex<Seen>,
    screen: Arc<Screen>,
    memory_total: f64,
    begin: Instant,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Unit in which each sender's readings come now, and how often it changed.
    pub(super) units: BTreeMap<String, (Unit, u64)>,
    /// The last payload of each topic.
    pub(super) latest: BTreeMap<String, Value>,
    /// Commands that the device confirmed.
    pub(super) confirmed: u64,
    /// What must not happen, and how often it did.
    pub(super) wrong: BTreeMap<&'static str, u64>,
    /// From the device to the page.
    pub(super) latency: Histogram,
    /// Commands that the device has not confirmed yet.
    given: BTreeMap<u64, Command>,
    /// What the device last said of its settings.
    settings: Option<(u64, bool)>,
}

impl Observer {
    /// Knows how much memory this machine has, so that it can tell a wrong conversion from a right one.
    pub(super) fn new(screen: Arc<Screen>, memory_total: u64) -> Self {
        Self {
            ledger: Ledger::new(&[DEVICE, SENSOR, PAGE]),
            seen: Mutex::default(),
            screen,
            memory_total: memory_total as f64,
            begin: Instant::now(),
        }
    }

    /// The sums so far.
    pub(super) fn tally(&self) -> Tally {
        self.ledger.tally()
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// Commands that the device confirmed so far.
    pub(super) fn confirmed(&self) -> u64 {
        self.seen.lock().confirmed
    }

    /// The unit in which a sender's readings come now.
    pub(super) fn unit(&self, sender: &str) -> Option<Unit> {
        self.seen.lock().units.get(sender).map(|(unit, _)| *unit)
    }
}

impl Witness for Observer {
    fn sent(&self, sender: &str, messages: RangeInclusive<u64>, sent: Sent) {
        self.ledger.sent(sender, messages, sent);
    }

    fn answered(&self, sender: &str, messages: RangeInclusive<u64>, sent: Sent, answer: &Answer) {
        self.ledger.answered(sender, messages, sent, answer);
    }

    fn delivered(&self, sender: &str, message: u64) {
        self.ledger.delivered(sender, message);
    }

    fn commanded(&self, number: u64, command: Command) {
        let given = &mut self.seen.lock().given;
        given.insert(number, command);
        if given.len() > UNCONFIRMED {
            given.pop_first();
        }
    }

    fn arrived(&self, arrival: &Arrival<'_>) {
        self.seen.lock().take(arrival, self.memory_total);
    }

    fn foreign(&self, _topic: &str, _sender: &str) {
        self.seen.lock().wrong("a message came that is no reading");
    }

    fn note(&self, text: &str) {
        self.screen.say(text);
    }

    fn status(&self) -> String {
        let tally = self.ledger.tally();
        format!(
            "{:.0} s: {} messages in, {} delivered, {} malformed publishes refused, {} repeated ones recognised",
            self.begin.elapsed().as_secs_f64(),
            tally.accepted,
            tally.delivered,
            tally.refused,
            tally.recognised,
        )
    }
}

impl Seen {
    fn take(&mut self, arrival: &Arrival<'_>, memory_total: f64) {
        let body = arrival.body;
        let expected = [
            format!("page/devices/{DEVICE}/readings"),
            format!("page/devices/{DEVICE}/state"),
            format!("page/sensors/{SENSOR}/readings"),
        ];
        if !expected.iter().any(|topic| topic == arrival.topic) {
            self.wrong("a message came by a topic that the transforms do not send to");
            return;
        }
        self.latest.insert(arrival.topic.to_owned(), arrival.data.clone());
        if body.by.as_deref() != Some(arrival.sender) {
            self.wrong("a message does not say who sent it");
        }
        if arrival.sender == DEVICE {
            self.follow(body);
            if let Some(us) = arrival.latency_us {
                self.latency.add(us);
            }
        }
        if body.command.is_none() {
            self.measure(arrival.sender, body, memory_total);
        }
    }

    /// The device confirms each command, and its readings tell that it obeys.
    fn follow(&mut self, body: &Body) {
        let told = body.interval_ms.zip(body.blink);
        if let Some(number) = body.command {
            self.confirmed += 1;
            self.settings = told;
            let follows = |command: Command| {
                command.interval_ms.is_none_or(|ms| body.interval_ms == Some(ms))
                    && command.blink.is_none_or(|blink| body.blink == Some(blink))
            };
            if !self.given.remove(&number).is_some_and(follows) {
                self.wrong("the device confirmed something else than it was told");
            }
        } else if self.settings.is_some() && self.settings != told {
            self.wrong("the device confirmed a command and did not obey it");
        }
    }

    /// Whether the amounts are right in the unit that the reading names.
    fn measure(&mut self, sender: &str, body: &Body, memory_total: f64) {
        let Some(unit) = body.unit.as_deref().and_then(Unit::named) else {
            self.wrong("a reading without a unit");
            return;
        };
        let bytes = body.memory_total.unwrap_or(0.0) * unit.bytes();
        if (bytes - memory_total).abs() > memory_total * ROUNDING {
            self.wrong("an amount is wrong in the unit that its reading names");
        }
        let (before, changes) = self.units.entry(sender.to_owned()).or_insert((unit, 0));
        if *before != unit {
            *before = unit;
            *changes += 1;
        }
    }

    fn wrong(&mut self, what: &'static str) {
        *self.wrong.entry(what).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: f64 = 4_294_967_296.0;

    /// Lets messages arrive, each a topic, a sender and a payload.
    fn seen(messages: &[(&str, &str, Value)]) -> Seen {
        let mut seen = Seen::default();
        seen.given.insert(1, Command { interval_ms: Some(50), blink: None });
        for (topic, sender, data) in messages {
            let body: Body = serde_json::from_value(data.clone()).unwrap();
            seen.take(&Arrival { topic, sender, latency_us: Some(10), body: &body, data }, TOTAL);
        }
        seen
    }

    fn reading(unit: &str, total: f64, interval_ms: u64) -> (&'static str, &'static str, Value) {
        let data = serde_json::json!({
            "by": DEVICE, "unit": unit, "memory_total": total, "interval_ms": interval_ms, "blink": false
        });
        ("page/devices/device-1/readings", DEVICE, data)
    }

    fn confirmation(interval_ms: u64) -> (&'static str, &'static str, Value) {
        let data =
            serde_json::json!({"by": DEVICE, "command": 1, "interval_ms": interval_ms, "blink": false});
        ("page/devices/device-1/state", DEVICE, data)
    }

    #[test]
    fn changes_of_the_unit_are_counted() {
        let mib = || reading("MiB", 4_096.0, 100);
        let gib = || reading("GiB", 4.0, 100);
        let seen = seen(&[mib(), mib(), gib(), gib(), mib()]);
        assert_eq!(seen.units[DEVICE], (Unit::Mebi, 2));
        assert_eq!((seen.latency.count(), seen.wrong.len()), (5, 0));
        assert_eq!(seen.latest["page/devices/device-1/readings"]["unit"], "MiB");
    }

    #[test]
    fn amounts_must_suit_their_unit() {
        assert!(seen(&[reading("GiB", 4_096.0, 100)]).wrong.keys().any(|what| what.contains("amount")));
        assert!(seen(&[reading("B", TOTAL, 100)]).wrong.keys().any(|what| what.contains("without a unit")));
    }

    #[test]
    fn a_device_must_obey_what_it_confirms() {
        let obeying = seen(&[reading("GiB", 4.0, 100), confirmation(50), reading("GiB", 4.0, 50)]);
        assert_eq!((obeying.confirmed, obeying.wrong.len()), (1, 0));
        let lazy = seen(&[confirmation(50), reading("GiB", 4.0, 100)]);
        assert!(lazy.wrong.keys().any(|what| what.contains("did not obey")), "{lazy:?}");
        let deaf = seen(&[confirmation(100), reading("GiB", 4.0, 100)]);
        assert!(deaf.wrong.keys().any(|what| what.contains("than it was told")), "{deaf:?}");
        let twice = seen(&[confirmation(50), confirmation(50)]);
        assert!(twice.wrong.keys().any(|what| what.contains("than it was told")), "{twice:?}");
    }

    #[test]
    fn topics_and_senders_are_known() {
        let (_, sender, data) = reading("GiB", 4.0, 100);
        assert_eq!(seen(&[("page/elsewhere", sender, data.clone())]).wrong.len(), 1);
        let liar = seen(&[("page/devices/device-1/readings", SENSOR, data)]);
        assert!(liar.wrong.keys().any(|what| what.contains("who sent it")));
    }
}
